import resource
import signal

import faiss
import numpy as np
import pytest
import torch
from faults import forked
from indexes import clustered, stored

from ssl_dml.index.candidates import candidates, choose, row_bytes
from ssl_dml.index.index import build_index
from ssl_dml.index.segment import Segment
from ssl_dml.types import ConfigError


@pytest.mark.parametrize(
    ("rows", "memory", "kind"),
    [
        (1_000_000, 512e6, "exact"), (1_000_000, 511e6, "ivf"), (1_000_001, 1e12, "hnsw"),
        (2_000_000, 1.2e9, "hnsw"), (2_000_000, 1e9, "ivf"), (5_000_000, 1.4e9, "ivf"),
        (5_000_000, 1e9, "pq"), (5_000_000, 180e6, "bits"), (900, 40_000, "bits"),
    ],
)  # fmt: skip
def test_the_most_exact_kind_that_fits_is_chosen(rows, memory, kind):
    assert choose(rows, 128, int(memory)) == kind


def test_too_little_memory_is_one_line():
    with pytest.raises(ConfigError, match=r"--memory 1.0 MB is too little: even bits of 5,000,000"):
        choose(5_000_000, 128, 10**6)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "pq"])
@pytest.mark.parametrize("dim", [64, 33])
def test_a_row_takes_about_as_much_as_is_said(tmp_path, kind, dim):
    table = stored(tmp_path / "table", embeddings=clustered(4000, dim))
    build_index(table, tmp_path / "index", memory=10**9, kind=kind)
    size = (tmp_path / "index/00000.faiss").stat().st_size / 4000
    lists = 126 * 4 * dim / 4000  # centers, which do not grow with the rows
    assert 0.8 * row_bytes(kind, dim) < size < 1.25 * row_bytes(kind, dim) + lists + 24


def test_the_fewest_bits_that_differ_are_those_of_numpy(tmp_path):
    index = build_index(stored(tmp_path / "t", rows=400), tmp_path / "i", memory=10**9, kind="bits")
    segment = index._segments[0]
    queries = torch.nn.functional.normalize(clustered(6, seed=4), dim=1)
    found = candidates(segment).find(queries, 5, 4)
    rotation = np.fromfile(tmp_path / "i/00000.rotation", np.float32).reshape(32, 256)
    blocks = rotation.reshape(32, 8, 32).transpose(1, 0, 2)
    assert np.allclose(blocks @ blocks.transpose(0, 2, 1), np.eye(32), atol=1e-5)
    signs = segment.embeddings(np.arange(400)).numpy() @ rotation > 0
    differ = ((queries.numpy() @ rotation > 0)[:, None] != signs).sum(axis=2)
    expected = np.sort(differ, axis=1)[:, :20]
    assert np.array_equal(np.take_along_axis(differ, found.numpy(), axis=1), expected)


@pytest.mark.parametrize("damage", [b"", b"no index", None])
def test_a_damaged_or_foreign_file_is_one_line(tmp_path, damage):
    table = stored(tmp_path / "table", rows=1000)
    index = build_index(table, tmp_path / "index", memory=10**9, kind="ivf")
    path = tmp_path / "index/00000.faiss"
    if damage is None:
        faiss.write_index(faiss.index_factory(32, "HNSW8"), str(path))
    else:
        path.write_bytes(damage)
    segment = Segment(tmp_path / "index", index._segments[0].info, 32)
    with pytest.raises(ConfigError, match=r"00000.faiss is (damaged|of another index); build"):
        candidates(segment)


def test_a_disk_that_is_full_for_faiss_is_one_line(tmp_path):
    """The rows still fit, and what faiss writes, which is larger, does not."""
    table = stored(tmp_path / "table", rows=3000)

    def work(_):
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000 * 66, 3000 * 66))
        build_index(table, tmp_path / "index", memory=10**9, kind="ivf")

    code = forked(work, [], tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert code == 1
    assert said.startswith(f"error: {tmp_path / 'index'} cannot be written: ")
    assert "00000.faiss" in said
    assert said.count("\n") == 1
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["index.lock"]
