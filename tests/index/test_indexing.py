"""What may be indexed together, and what an index keeps of a table."""

from pathlib import Path

import pytest
import torch

from ssl_dml.index.indexing import begun, check_same_model, check_weights, source_of
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.threshold_file import Threshold, Unknown, write_threshold
from ssl_dml.types import ConfigError

WEIGHTS = {"digest": "ab" * 32, "path": "runs/a"}
NAMES = "far far_low far_high binomial_low binomial_high tar tar_low tar_high ece"
MEASURES = dict.fromkeys(NAMES.split(), 0.5)


def table(folder, *, rows=3, **changes):
    info = TableInfo(**{"rows": 0, "dim": 2, "weights": WEIGHTS, **changes})
    batch = TableBatch(
        names=[f"{i}.png" for i in range(rows)],
        labels=torch.full((rows,), -1),
        embeddings=torch.randn(rows, info.dim),
    )
    return write_table(folder, info, [batch])


@pytest.mark.parametrize(
    ("change", "words"),
    [({"dim": 3}, "has dim 3"), ({"pool": "gem"}, "has pool gem"), ({"views": "flip"}, "has views"),
     ({"weights": {"digest": "cd" * 32, "path": "runs/b"}}, "not by runs/b")],
)  # fmt: skip
def test_what_cannot_be_compared_is_named(tmp_path, change, words):
    own = table(tmp_path / "own").info
    check_same_model(tmp_path / "index", own, table(tmp_path / "same"))
    with pytest.raises(ConfigError, match=words):
        check_same_model(tmp_path / "index", own, table(tmp_path / "other", **change))


def test_weights_are_told_apart_by_their_digest_alone(tmp_path):
    info = table(tmp_path / "t").info
    check_weights(tmp_path, info, "moved/elsewhere", WEIGHTS["digest"])
    with pytest.raises(ConfigError, match="cosines between two models mean nothing"):
        check_weights(tmp_path, info, "runs/a", "cd" * 32)


def test_a_source_that_is_there_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    found = [source_of(TableInfo(rows=0, dim=1, data={"source": s})) for s in ("images", "gone")]
    assert found == [str(tmp_path / "images"), "gone"]
    assert source_of(TableInfo(rows=0, dim=1)) == ""


@pytest.mark.parametrize(("gallery_rows", "unknown"), [(3, 0.6), (2, None)])
def test_an_index_begins_with_the_thresholds_of_its_table(tmp_path, gallery_rows, unknown):
    stored = table(tmp_path / "t")
    assert begun(stored, 10**6, 0).threshold is None
    found = Threshold(
        digest=WEIGHTS["digest"], pool=None, views=None, dim=2, threshold=0.75, far=0.01,
        confidence=0.95, identities=40, rows=80, measures=MEASURES, cosines=[-1.0, 1.0],
        same=[0.0, 0.9],
        unknown=Unknown(threshold=0.6, fpir=0.05, identities=60, gallery_rows=gallery_rows),
    )  # fmt: skip
    write_threshold(stored.folder, found)
    manifest = begun(stored, 10**6, 0)
    assert (manifest.threshold, manifest.unknown) == (0.75, unknown)
