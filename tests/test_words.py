"""Retired words stay out of code and text: one meaning a word, in American spelling.

docs/glossary.md says what the words of the project mean.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPELLING = "American spelling"
FIELD = "the word of the field"
NAMES = "renamed"
# What is not to be written: what to write instead, and why.
RETIRED = {
    r"colour\w*": ("color", SPELLING),
    r"centre\w*|centring": ("center", SPELLING),
    r"neighbour\w*": ("neighbor", SPELLING),
    r"behaviour\w*": ("behavior", SPELLING),
    r"favour\w*|honour\w*": ("favor, honor", SPELLING),
    r"labell(?:ed|ing)": ("labeled, labeling", SPELLING),
    r"licence\w*": ("license", SPELLING),
    r"grey\w*": ("gray", SPELLING),
    r"analys(?:e|ed|ing)": ("analyze", SPELLING),
    r"(?:un)?(?:normal|synchron|optim|initial|general|minim|maxim|standard|recogn|organ|penal"
    r"|serial|summar|random|categor|regular|priorit|visual|final|solar|real)is(?:e|ed|es|er|ing"
    r"|ation)": ("-ize", SPELLING),
    r"pictures?": ("image, or figure for a drawing", FIELD),
    r"sounds?": ("audio", FIELD),
    r"facts": ("metadata", FIELD),
    r"peers?": ("process group; other libraries by their name", FIELD),
    r"ALONE": ("SINGLE_PROCESS", NAMES),
    r"ClassWeights": ("MarginSoftmax", NAMES),
    r"RowTable|open_rows|train_open_rows": ("PartialFC, attach_partial_fc", NAMES),
    r"head_rate|backbone_rate|frozen_epochs": (
        "finetune.head_lr_scale, backbone_lr_scale, freeze_epochs",
        NAMES,
    ),
    r"comparisons": ("pair_masks", NAMES),
}
# Words that mean something else there.
ALLOWED = {
    "picture": r"README\.md",  # an element of HTML
    "sound": r".*/speech\.py",  # of a language
    "sounds": r".*/speech\.py",
    "peer": r".*benchmarks/.*",  # another library
    "peers": r".*benchmarks/.*",
}
PLACES = ("ssl_dml", "scripts", "configs", "docs", "README.md", "CONTRIBUTING.md", "mkdocs.yml")
SUFFIXES = {".py", ".yaml", ".yml", ".md", ".ipynb", ".css"}
FILES = sorted(
    path
    for place in PLACES
    for path in [ROOT / place, *(ROOT / place).rglob("*")]
    if path.is_file() and path.suffix in SUFFIXES
)


def retired(text, where):
    """Where a text has a retired word, and the word to use."""
    for pattern, (better, reason) in RETIRED.items():
        for found in re.finditer(rf"(?<![A-Za-z])(?:{pattern})(?![a-z])", text):
            line = text.count("\n", 0, found.start()) + 1
            if not re.fullmatch(ALLOWED.get(found[0], ""), where):
                yield f"{where}:{line}: {found[0]!r}: write {better} ({reason})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word(path):
    found = list(retired(path.read_text(), str(path.relative_to(ROOT))))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    ["a colour", "sub_centres", "two pictures", "normalised", "the sound", "train_open_rows(m)"],
)
def test_a_retired_word_is_found(text):
    found = list(retired(f"first line\n{text}\n", "x.py"))
    assert len(found) == 1
    assert found[0].startswith("x.py:2: ")


@pytest.mark.parametrize("text", ["color", "raise", "precise", "an image", "factor", "revised"])
def test_other_words_pass(text):
    assert not list(retired(text, "x.py"))
