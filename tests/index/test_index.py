import itertools
import json
import re
import shutil
import threading

import numpy as np
import pytest
import torch
from faults import Disk, forked
from filelock import FileLock
from indexes import DIGEST, clustered, stored
from torch.testing import assert_close

from ssl_dml.index.index import Index, build_index
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError

KINDS = ("exact", "hnsw", "ivf", "pq", "bits")


def reference(gallery, queries, k):
    """Cosines and rows in float64, by numpy alone."""
    gallery, queries = (x.double().numpy() for x in (gallery, queries))
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    cosines = queries @ gallery.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosines, order, axis=1), order


@pytest.fixture
def index(tmp_path):
    return build_index(stored(tmp_path / "table"), tmp_path / "index", memory=10**9)


def test_the_nearest_rows_are_those_of_numpy(index):
    queries = clustered(40, seed=5)
    scores, ids = index.search(queries, 7)
    cosines, rows = reference(clustered(300), queries, 7)
    assert ids.tolist() == rows.tolist()
    assert_close(scores, torch.from_numpy(cosines).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_what_is_near_and_gives_exact_cosines(tmp_path, kind):
    table = stored(tmp_path / "table", rows=3000)
    index = build_index(table, tmp_path / "index", memory=10**9, kind=kind)
    queries = clustered(50, seed=5)
    scores, ids = index.search(queries, 10)
    rows = reference(clustered(3000), queries, 10)[1]
    found = np.mean(
        [len({*a} & {*b}) / 10 for a, b in zip(ids.tolist(), rows.tolist(), strict=True)]
    )
    assert found > 0.93
    assert index.info.kind == kind
    assert index.info.recall >= (1.0 if kind == "exact" else 0.95)
    own = np.stack(reference(clustered(3000), queries, 3000))
    for i, near in enumerate(ids.tolist()):
        place = {row: cosine for cosine, row in zip(own[0, i], own[1, i], strict=True)}
        assert_close(scores[i], torch.tensor([place[j] for j in near]).float(), rtol=0, atol=2e-3)
    assert len({*ids[0].tolist()}) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_row_is_never_found_and_the_others_are(tmp_path, kind):
    table = stored(tmp_path / "table", rows=1200)
    index = build_index(table, tmp_path / "index", memory=10**9, kind=kind)
    queries = clustered(1200)[:5]
    before = index.search(queries, 12)[1]
    gone = [row.path for row in index.rows(before[0, :6].tolist())]
    assert index.remove(gone) == 6
    after = index.search(queries, 12)[1]
    assert not {*before[0, :6].tolist()} & {*after.flatten().tolist()}
    assert after.shape == (5, 12)
    assert (after >= 0).all()
    assert Index.open(index.folder).info.rows == 1194


@pytest.mark.parametrize("kind", KINDS)
def test_more_neighbors_than_rows_are_all_rows(tmp_path, kind):
    table = stored(tmp_path / "table", rows=200)
    index = build_index(table, tmp_path / "index", memory=10**9, kind=kind)
    ids = index.search(clustered(2, seed=1), 500)[1]
    assert sorted(ids[0].tolist()) == list(range(200))


def test_a_row_says_where_it_is_from(index):
    row = index.rows([4])[0]
    assert (row.id, row.path, row.label, row.class_name) == (4, "bee/4.png", 1, "bee")
    assert index.info.rows == 300
    assert index.info.table.weights["digest"] == DIGEST
    assert index.thumbnail(4) == b""
    with pytest.raises(ValueError, match="id must be from 0 to 299, got 300"):
        index.rows([300])


def test_rows_are_looked_up_and_what_they_are_of_is_listed(index):
    unit = torch.nn.functional.normalize(clustered(300), dim=1)
    assert_close(index.embeddings([7, 299, 7]), unit[[7, 299, 7]], rtol=0, atol=1e-6)
    assert index.embeddings([]).shape == (0, 32)
    assert index.folders() == ["ant", "bee", "cat"]
    index.remove([f"cat/{i}.png" for i in range(2, 300, 3)] + ["ant/0.png"])
    assert index.labels() == [1, 0]
    assert index.folders() == ["ant", "bee"]


def test_folders_are_listed_with_those_above(tmp_path):
    names = ["a/b/c/1.png", "a/d.png", "top.png", "é/2.png"]
    batch = TableBatch(names=names, labels=torch.full((4,), -1), embeddings=torch.eye(4))
    table = write_table(tmp_path / "table", TableInfo(rows=4, dim=4), [batch])
    index = build_index(table, tmp_path / "index", memory=10**9)
    assert index.folders() == ["a", "a/b", "a/b/c", "é"]
    assert index.labels() == [-1]


def test_a_search_is_among_a_class_or_a_folder(index):
    queries = clustered(5, seed=3)
    cosines, rows = reference(clustered(300)[1::3], queries, 4)
    for among in (index.where(label=1), index.where(folder="bee"), index.where(folder="bee/")):
        scores, ids = index.search(queries, 4, among=among)
        assert ids.tolist() == (1 + 3 * rows).tolist()
        assert_close(scores, torch.from_numpy(cosines).float(), rtol=0, atol=1e-6)
    assert not index.where(folder="be").any()


def test_added_rows_are_found_under_new_ids(index, tmp_path):
    words = index.add(stored(tmp_path / "more", rows=40, seed=8, first=1000))
    assert words.startswith("40 rows added; exact search: 340 rows")
    everything = torch.cat([clustered(300), clustered(40, seed=8)])
    queries = clustered(9, seed=2)
    for one in (index, Index.open(index.folder)):
        assert one.search(queries, 5)[1].tolist() == reference(everything, queries, 5)[1].tolist()
        assert one.rows([300, 339])[1].path == "ant/1039.png"


@pytest.mark.parametrize("kind", KINDS[1:])
def test_rows_are_added_to_every_kind(tmp_path, kind):
    table = stored(tmp_path / "table", rows=1200)
    index = build_index(table, tmp_path / "index", memory=10**9, kind=kind)
    for i in range(3):
        index.add(stored(tmp_path / f"{i}", rows=30, seed=i + 1, first=5000 + 30 * i))
    assert index.info.segments == 2
    assert (index.info.kind, index.info.rows) == (kind, 1290)
    for i in range(3):
        ids = Index.open(index.folder).search(clustered(30, seed=i + 1), 1)[1][:, 0]
        assert ids.tolist() == list(range(1200 + 30 * i, 1230 + 30 * i))


def test_many_small_additions_are_one_segment_and_keep_their_ids(index, tmp_path):
    for i in range(4):
        index.add(stored(tmp_path / f"{i}", rows=3, seed=10 + i, first=1000 * (i + 1)))
    index.remove(["bee/4.png", "ant/2000.png"])
    index.add(stored(tmp_path / "last", rows=3, seed=20, first=9000))
    assert index.info.segments == 1
    assert index.info.rows == 313
    assert [row.path for row in index.rows([5, 301, 306, 314])] == [
        "cat/5.png", "bee/1001.png", "ant/3000.png", "cat/9002.png",
    ]  # fmt: skip
    assert 4 not in index.search(clustered(300)[4:5], 313)[1]


def test_a_row_of_the_same_path_and_source_takes_the_place_of_the_earlier(index, tmp_path):
    words = index.add(stored(tmp_path / "again", rows=2, seed=9, first=299))
    assert "1 of them take the place of earlier rows" not in words  # ant/299.png was cat/299.png
    words = index.add(stored(tmp_path / "same", rows=2, seed=9, first=0))
    assert "2 rows added; 2 of them take the place of earlier rows" in words
    assert len(index.find(["ant/0.png"])) == 1
    words = index.add(stored(tmp_path / "other", rows=2, data={"source": "elsewhere"}))
    assert "take the place" not in words
    assert len(index.find(["ant/0.png"])) == 2
    assert [row.source for row in index.rows(index.find(["ant/0.png"]).tolist())] == [
        "",
        "elsewhere",
    ]


def test_classes_of_another_table_are_told_by_their_names(index, tmp_path):
    index.add(stored(tmp_path / "more", rows=3, first=500, class_names=["dog", "cat", "bee"]))
    assert [row.class_name for row in index.rows([300, 301, 302])] == ["dog", "cat", "bee"]
    assert [row.label for row in index.rows([300, 301, 302])] == [3, 2, 1]
    assert index.info.table.class_names == ["ant", "bee", "cat", "dog"]
    assert index.where(label=2).sum() == 101


def test_a_reader_keeps_what_it_opened(index, tmp_path):
    reader = Index.open(index.folder)
    queries = clustered(300)[:3]
    before = reader.search(queries, 3)
    index.add(stored(tmp_path / "more", rows=40, first=1000))
    index.remove([reader.rows([0])[0].path])
    build_index(stored(tmp_path / "other", rows=50, seed=4), index.folder, memory=10**9)
    after = reader.search(queries, 3)
    assert torch.equal(before[1], after[1])
    assert reader.rows([299])[0].path == "cat/299.png"
    assert Index.open(index.folder).info.rows == 50


def test_readers_that_open_while_others_write_always_find_a_whole_index(index, tmp_path):
    tables = [stored(tmp_path / f"{i}", rows=50, seed=i, first=1000 * i) for i in range(8)]
    found, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            opened = Index.open(index.folder)
            opened.search(clustered(2), 3)
            found.append(opened.info.rows)

    reader = threading.Thread(target=read)
    reader.start()
    for table in tables[1:]:
        build_index(table, index.folder, memory=10**9)
        index.add(tables[0])
    stop.set()
    reader.join()
    assert {*found} <= {300, 350, 50, 100}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"digest": "f" * 64, "path": "runs/other"}},
         r"embedded by runs/mine \(digest 1234567890ab\), and not by runs/other \(digest f{12}\)"),
        ({"views": "flip"}, "has views flip, and .* None: embed it the same way"),
        ({"pool": "gem"}, "has pool gem, and .* None: embed it the same way"),
        ({"inputs": {"size": 7}}, "has inputs {'size': 7}"),
    ],
)  # fmt: skip
def test_a_table_of_another_model_is_refused_by_name(index, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        index.add(stored(tmp_path / "other", **changes))
    assert Index.open(index.folder).info.rows == 300


def test_what_cannot_be_searched_with_is_refused(index):
    with pytest.raises(ValueError, match=r"queries have 3 values; rows of .* have 32"):
        index.search(torch.ones(1, 3), 3)
    with pytest.raises(ValueError, match="NaN"):
        index.search(torch.full((1, 32), torch.nan), 3)
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(torch.ones(1, 32), 0)


def test_a_path_that_is_not_there_removes_nothing(index):
    with pytest.raises(ConfigError, match=r"has no row with the path 'dog/1.png'"):
        index.remove(["bee/1.png", "dog/1.png"])
    with pytest.raises(ConfigError, match="would be empty"):
        index.remove([row.path for row in index.rows(range(300))])
    assert index.info.rows == 300


def test_two_writers_are_one_too_many(index, tmp_path):
    table = stored(tmp_path / "more", first=900)
    with FileLock(index.folder / "index.lock"):
        for write in (
            lambda: index.add(table),
            lambda: index.remove(["bee/1.png"]),
            lambda: build_index(table, index.folder, memory=10**9),
        ):
            with pytest.raises(ConfigError, match="is being written by another process"):
                write()
        assert Index.open(index.folder).info.rows == 300


def test_only_an_index_is_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("all my work")
    with pytest.raises(ConfigError, match=r"holds 'thesis.tex' and is no index"):
        build_index(stored(tmp_path / "table"), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_rows_that_are_not_finite_are_refused_by_name(tmp_path):
    rows = clustered(30)
    rows[20, 3] = torch.inf
    table = stored(tmp_path / "table", embeddings=rows)
    with pytest.raises(ConfigError, match=r"the embedding of 'cat/20.png' holds NaN or infinity"):
        build_index(table, tmp_path / "index")
    with pytest.raises(ConfigError, match="is no index"):
        Index.open(tmp_path / "index")


def test_an_index_of_another_version_or_damaged_is_refused(index):
    path = index.folder / "index.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "format": 9}))
    with pytest.raises(ConfigError, match="is of format 9, and this version reads 1; build"):
        Index.open(index.folder)
    path.write_text(json.dumps(values))
    (index.folder / "00000.rows").write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"00000.rows has 5 bytes instead of 38,400; build"):
        Index.open(index.folder)
    path.unlink()
    with pytest.raises(ConfigError, match=r"is no index: it has no index.json"):
        Index.open(index.folder)


def written(index, table, disk=None, *, build=False):
    """Add in a process of its own, on a disk: its exit code, and what it said."""
    log, folder = index.folder.with_name("log"), index.folder

    def work(_):
        torch.set_num_threads(1)
        build_index(table, folder, memory=10**9) if build else Index.open(folder).add(table)

    return forked(work, [], log, disk), log.read_text()


def disturbed(tmp_path, build, changes):
    """Write on a disk that fails, or is gone with the process, at each of some changes."""
    index = build_index(stored(tmp_path / "table"), tmp_path / "index", memory=10**9)
    more = stored(tmp_path / "more", rows=40, first=1000)
    whole, seen = shutil.copytree(index.folder, tmp_path / "whole"), set()
    queries, later = clustered(3), 40 if build else 340
    expected = index.search(queries, 3)[1]
    for at, kind in itertools.product(changes, ("kill", "full")):
        shutil.rmtree(index.folder)
        shutil.copytree(whole, index.folder)
        code, said = written(index, more, Disk(at, kind), build=build)
        opened = Index.open(index.folder)
        seen.add((code, opened.info.rows))
        if opened.info.rows == 300:
            assert torch.equal(opened.search(queries, 3)[1], expected)
        if code == 1:
            assert re.fullmatch(r"error: .*index cannot be written: .*No space left.*\n", said)
        if kind == "kill" and code == 0:
            break
        code, said = written(index, more, build=build)
        assert code == 0, said
        assert Index.open(index.folder).info.rows == later
        files = [path.name for path in index.folder.iterdir()]
        assert not [name for name in files if name.endswith(".part")]
        assert len(files) <= 9
    return at, seen


def test_a_kill_or_a_full_disk_leaves_the_earlier_index(tmp_path):
    _, seen = disturbed(tmp_path, False, (4, 14))
    assert seen == {(-9, 300), (1, 300)}


@pytest.mark.slow
@pytest.mark.parametrize("build", [False, True])
def test_a_kill_or_a_full_disk_at_every_change_leaves_an_index(tmp_path, build):
    last, seen = disturbed(tmp_path, build, range(1, 999))
    later = 40 if build else 340
    assert 20 < last < 999
    assert {(-9, 300), (-9, later), (1, 300), (0, later)} <= seen
    assert {rows for _, rows in seen} == {300, later}
