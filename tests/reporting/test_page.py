import base64
import hashlib
import re
from html.parser import HTMLParser

from ssl_dml.reporting.page import Page, data_script

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\udcff"


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def everything(words):
    page = Page(title=words, subtitle=words)
    page.chapter(words)
    page.section(words)
    page.text(words)
    page.note(words)
    page.pairs({words: words})
    page.table([words], [[words]])
    page.details(words, words)
    page.raw(data_script({"name": words}))
    return page.html(words)


def test_no_text_becomes_an_element():
    parsed = Elements()
    parsed.feed(everything(EVIL))
    plain = Elements()
    plain.feed(everything("plain"))
    assert [tag for tag, _ in parsed.found] == [tag for tag, _ in plain.found]
    assert not any(name.startswith("on") for _, attrs in parsed.found for name in attrs)
    assert everything(EVIL).encode()


def test_the_policy_names_the_pages_own_style_and_script_alone():
    html = everything("plain")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert " style=" not in html
    assert "unsafe" not in policy
    assert not re.findall(r"https?://", html)


def test_the_contents_lead_to_the_chapters():
    html = everything("plain")
    for anchor in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{anchor}"' in html
