"""The page in a browser, at the widths of a phone and of a desktop."""

import base64
import threading
from pathlib import Path

import pytest
import uvicorn
from PIL import Image

from ssl_dml.serve import Access, build_app, listen
from ssl_dml.serve.running import address, configuration

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
TRANSFER = """([data, name, type]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type }));
  return transfer;
}"""
PASTE = """(clipboardData) =>
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }))"""


@pytest.fixture(scope="module")
def server(site):
    with listen("127.0.0.1", 0) as listening:
        own = uvicorn.Server(configuration(build_app(site, Access(host="127.0.0.1"))))
        thread = threading.Thread(target=own.run, args=([listening],))
        thread.start()
        yield address(listening)
        own.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, server, request):
    """The page at a width; it must ask for nothing elsewhere, and nothing may fail in it."""
    width = getattr(request, "param", 1280)
    context = browser.new_context(viewport={"width": width, "height": 844})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on(
        "request", lambda asked: asked.url.startswith((server, "data:")) or wrong.append(asked.url)
    )
    page.goto(server)
    expect(cards(page)).to_have_count(24)
    yield page
    fits = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
    expected = [text for text in wrong if "status of 400" in text]
    assert wrong == expected[:1]
    assert fits


slow = pytest.mark.slow
both = pytest.mark.parametrize("opened", [390, pytest.param(1280, marks=slow)], indirect=True)


def cards(page):
    return page.locator("#results .card")


def first(page):
    return page.locator("#results .go").first


def transfer(page, path, kind="image/png"):
    data = base64.b64encode(path.read_bytes()).decode()
    return page.evaluate_handle(TRANSFER, [data, path.name, kind])


def terms(page):
    """Whether each image of the query is liked, once the results are drawn."""
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    return page.locator("#terms .sign").all_text_contents()


def name_of(card):
    return card.locator(".name").text_content()


@both
def test_images_are_chosen_added_turned_and_removed(opened, images):
    page = opened
    expect(page.get_by_role("status")).to_have_text("Add an image, or begin with one of these.")
    page.get_by_label("Choose images").set_input_files(images / "cold/blue/45.png")
    expect(page.get_by_role("status")).to_contain_text("24 results; similarity from 1.000")
    assert name_of(cards(page).first) == "45.png"
    expect(page.get_by_text("by the calibrated model")).to_have_count(1)
    expect(page.get_by_text("unknown: no match")).to_have_count(0)
    page.get_by_role("button", name="Add cold/blue/44.png to the query").click()
    expect(page.locator("#terms li")).to_have_count(2)
    page.get_by_role("button", name="Not like cold/blue/46.png").click()
    expect(page.locator("#terms li")).to_have_count(3)
    assert terms(page) == ["like this", "like this", "not like this"]
    expect(page.get_by_text("by the calibrated model")).to_have_count(0)
    page.get_by_role("button", name="Remove 45.png from the query").click()
    expect(page.locator("#terms li")).to_have_count(2)
    page.get_by_role("button", name="cold/blue/46.png: not like this; turn around").click()
    expect(page.locator("#terms li.not")).to_have_count(0)
    page.get_by_role("button", name="Start over").click()
    expect(page.locator("#terms li")).to_have_count(0)


def test_an_image_like_none_of_the_index_is_unknown(opened, tmp_path):
    Image.new("RGB", (24, 24), "white").save(tmp_path / "white.png")
    opened.get_by_label("Choose images").set_input_files(tmp_path / "white.png")
    expect(opened.get_by_role("status")).to_contain_text("unknown: no match reaches 0.9000. 24")
    assert opened.locator("#results li").first.text_content() == "unknown: no match reaches 0.9000"
    expect(opened.get_by_text("threshold 0.900: none is the same")).to_have_count(1)
    expect(cards(opened)).to_have_count(24)


@both
@slow
def test_a_result_leads_on_and_back(opened):
    page, image = opened, opened.locator("#terms img")
    cards(page).nth(3).locator(".go").click()
    expect(cards(page).first.locator(".score")).to_be_visible()
    begun, leading = name_of(cards(page).first), image.get_attribute("title")
    first(page).click()
    expect(image).not_to_have_attribute("title", leading)
    expect(cards(page).first.locator(".name")).not_to_have_text(begun)
    page.go_back()
    expect(cards(page).first.locator(".name")).to_have_text(begun)
    page.reload()
    expect(cards(page).first.locator(".name")).to_have_text(begun)
    expect(image).to_have_attribute("title", leading)


@both
@slow
def test_images_are_dropped_and_pasted(opened, images):
    page = opened
    page.dispatch_event("body", "drop", {"dataTransfer": transfer(page, images / "warm/red/3.png")})
    expect(cards(page).first.locator(".name")).to_have_text("3.png")
    page.evaluate(PASTE, transfer(page, images / "warm/red/5.png"))
    expect(page.locator("#terms li")).to_have_count(2)
    expect(cards(page).first.locator(".name")).to_have_text("4.png")


@both
@slow
def test_results_are_filtered_and_counted(opened):
    page = opened
    page.locator("#class").select_option("blue")
    expect(cards(page)).to_have_count(10)
    first(page).click()
    expect(cards(page)).to_have_count(9)
    page.locator("#class").select_option("any")
    page.locator("#folder").select_option("warm")
    expect(cards(page)).to_have_count(20)
    page.locator("#k").select_option("12")
    expect(cards(page)).to_have_count(12)
    page.locator("#class").select_option("blue")
    expect(page.get_by_role("status")).to_have_text("Nothing found.")


@both
@slow
def test_a_file_that_is_no_image_is_one_sentence(opened, tmp_path):
    page, file = opened, tmp_path / "a.png"
    file.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    page.get_by_label("Choose images").set_input_files(file)
    expect(page.get_by_role("alert")).to_contain_text(
        "a.png: This file is no image that Pillow can read."
    )
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_be_hidden()


@slow
def test_a_file_that_is_too_large_is_not_sent(opened, tmp_path):
    page, file = opened, tmp_path / "a.png"
    with file.open("wb") as sparse:
        sparse.truncate((32 << 20) + 1)
    page.get_by_label("Choose images").set_input_files(file)
    expect(page.get_by_role("alert")).to_contain_text(
        "a.png: has 32.0 MB; at most 32.0 MB are read."
    )


@both
@slow
def test_the_keyboard_does_it_all(opened):
    page, seen = opened, []
    for _ in range(7):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.className || document.activeElement.id"))
    assert seen == ["file", "class", "folder", "k", "go", "also", "unlike"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    expect(cards(page).nth(1).locator(".go")).to_be_focused()
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('#results')).gridTemplateColumns.split(' ').length"
    )
    assert columns == (2 if page.viewport_size["width"] == 390 else 7)
    page.keyboard.press("ArrowDown")
    expect(cards(page).nth(1 + columns).locator(".go")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    expect(first(page)).to_be_focused()
    page.keyboard.press("End")
    expect(cards(page).last.locator(".go")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#terms li")).to_have_count(1)
    expect(first(page)).to_be_focused()
    page.keyboard.press("-")
    expect(page.locator("#terms li.not")).to_have_count(1)
    expect(first(page)).to_be_focused()
    page.keyboard.press("+")
    expect(page.locator("#terms li")).to_have_count(3)
    page.keyboard.press("Escape")
    expect(page.locator("#file")).to_be_focused()


@slow
def test_a_screen_reader_is_told(opened):
    page = opened
    first(page).click()
    expect(page.locator("#terms li")).to_have_count(1)
    assert terms(page) == ["like this"]
    tree = page.locator("main").aria_snapshot()
    for words in (
        *('region "Query"', 'list "Images of the query"', 'list "Results"', "status:"),
        *('combobox "Class"', "similarity 0.9", "Search with this image"),
    ):
        assert words in tree, tree


@pytest.mark.parametrize("scheme", ["light", "dark"])
@slow
def test_text_has_contrast(browser, server, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(server)
    expect(cards(page)).to_have_count(24)
    for selector in ("body", "#status", "#results .where", "#choose"):
        assert contrast(page, selector) >= 4.5, (scheme, selector)
    page.close()


def contrast(page, selector):
    """Of the text with what is behind it, as WCAG has it."""
    colors = page.locator(selector).first.evaluate(
        """(node) => {
          const own = getComputedStyle(node).color;
          const behind = () => getComputedStyle(node).backgroundColor;
          while (behind() === "rgba(0, 0, 0, 0)") node = node.parentElement;
          return [own, behind()];
        }"""
    )
    light = []
    for color in colors:
        parts = [int(part) / 255 for part in color.removeprefix("rgb(").rstrip(")").split(",")]
        linear = [
            part / 12.92 if part <= 0.04 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)
