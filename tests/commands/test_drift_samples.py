import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.commands.drift_samples import check_same, image_of, of_table
from ssl_dml.evaluation.sketch import SKETCH, write_sketch
from ssl_dml.tables import EmbeddingTable, StoredTable, TableInfo
from ssl_dml.types import ConfigError


def stored(folder, rows, digest, source=None, **more):
    """A table of unit rows whose names are images, as a sketch is stored."""
    generator = torch.Generator().manual_seed(rows)
    table = EmbeddingTable(
        embeddings=torch.randn(rows, 4, generator=generator),
        labels=torch.full((rows,), -1),
        names=[f"{i}.png" for i in range(rows)],
    )
    data = {} if source is None else {"source": str(source)}
    weights = {"digest": digest}
    write_sketch(folder, table, TableInfo(rows=rows, dim=4, weights=weights, data=data, **more))
    return StoredTable(folder / SKETCH)


def test_rows_are_drawn_by_the_seed_and_keep_their_names(tmp_path):
    sketch, new = stored(tmp_path / "a", 9, "x"), stored(tmp_path / "b", 40, "x")
    first, again = (of_table(new.folder, sketch, most=8, seed=3) for _ in range(2))
    assert (len(first.table.names), first.total, first.damaged) == (8, 40, ())
    assert list(first.table.names) == list(again.table.names)
    assert list(first.table.names) != list(of_table(new.folder, sketch, most=8, seed=4).table.names)
    whole = new.load()
    places = [list(whole.names).index(name) for name in first.table.names]
    assert torch.equal(first.table.embeddings, whole.embeddings[places])


def test_images_are_found_again_where_they_are(tmp_path):
    pixels = np.full((6, 6), 200, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    table = stored(tmp_path / "t", 3, "x", source=tmp_path)
    assert np.asarray(image_of(table, "0.png").convert("L")).mean() == 200
    assert image_of(table, "1.png") is None
    assert image_of(table, "2.png") is None
    new = of_table(table.folder, table, most=3, seed=0)
    found = dict(zip(new.table.names, new.images(torch.arange(3)), strict=True))
    assert [name for name, image in found.items() if image is not None] == ["0.png"]


def test_a_table_of_other_weights_or_views_is_refused(tmp_path):
    sketch, other = stored(tmp_path / "a", 9, "x"), stored(tmp_path / "b", 9, "y")
    with pytest.raises(ConfigError, match="are of different weights; embed with those of the run"):
        of_table(other.folder, sketch, most=4, seed=0)
    flipped = stored(tmp_path / "c", 9, "x", views="flip")
    with pytest.raises(ConfigError, match="has pool None and views flip; embed without them"):
        check_same(flipped, "x", "the run")
