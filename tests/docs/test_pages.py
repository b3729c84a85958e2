"""The documentation says what is true: links, lengths, numbers, messages and figures."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TERMS = [
    "self-supervised", "contrastive", "InfoNCE", "baseline", "freeze", "linear probe", "embedding",
    "deep metric learning", "multi-GPU",
]  # fmt: skip


def anchors(path):
    """Headings of a page, by the names that links use."""
    text = path.read_text()
    titles = re.findall(r"^#+ (.*?)(?: \{#([\w-]+)\})?$", text, flags=re.MULTILINE)
    return {name or re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
            for title, name in titles}  # fmt: skip


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("term", TERMS)
def test_the_readme_has_the_words_of_a_search(term):
    assert term.lower() in README.lower()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", page.read_text())
    for link in (first or second for first, second in links):
        if link.startswith("http"):
            continue
        place, _, anchor = link.partition("#")
        if anchor.startswith("only-"):
            anchor = ""
        target = (page.parent / place).resolve() if place else page
        if target.parent.name == "api":
            continue  # made by the site, which checks these
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_error_messages_are_those_of_the_code():
    source = "\n".join(path.read_text() for path in (ROOT / "ssl_dml").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings over several lines
    text = (ROOT / "docs/troubleshooting.md").read_text()
    table = text[text.index("{#messages}") :]
    messages = re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE)
    assert len(messages) > 15
    missing = [message for message in messages if message not in source]
    assert not missing, f"docs/troubleshooting.md explains what nothing says: {missing}"


def test_every_component_is_in_the_guides():
    from ssl_dml import heads, losses, margins, methods, mining

    text = (ROOT / "docs/methods.md").read_text() + (ROOT / "docs/metric_learning.md").read_text()
    bases = [methods.Method, heads.Head, margins.Margin, mining.Miner, losses.PairLoss]
    for package in (methods, heads, margins, mining, losses):
        for name in package.__all__:
            value = getattr(package, name)
            concrete = isinstance(value, type) and value not in [*bases, methods.BankMethod]
            if concrete and issubclass(value, tuple(bases)):
                assert f"`{name}`" in text, f"docs lack {name} of {package.__name__}"


def test_the_figures_are_those_of_their_script():
    drawings = runpy.run_path(str(ROOT / "docs/images/draw.py"))["drawings"]()
    assert len(drawings) == 8
    for name, svg in drawings.items():
        assert (ROOT / "docs/images" / name).read_text() == svg, "run docs/images/draw.py again"


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    markdown = runpy.run_path(str(ROOT / "docs/docstrings.py"))["markdown"]
    assert markdown(".. math:: a\n    + b\n\nThen :class:`X`.") == "$$\na\n+ b\n$$\n\nThen `X`."
    assert markdown("Text.\n\n>>> 1 + 1\n2\n\nMore.").split("\n")[2:6] == [
        "```pycon", ">>> 1 + 1", "2", "```",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    if shutil.which("mkdocs") is None:
        pytest.skip("pip install -e '.[docs]'")
    built = subprocess.run(
        ["mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    losses = (tmp_path / "site/api/losses/index.html").read_text()
    assert "<math" in losses
    assert 'id="ssl_dml.losses.nt_xent' in losses or 'nt_xent"' in losses
    assert ".. math::" not in losses
