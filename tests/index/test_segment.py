from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.index.segment import TOUCHED, Segment, SegmentInfo, SegmentWriter
from ssl_dml.types import ConfigError

ROWS, DIM = 50 * TOUCHED + 5, 6


def rows(seed=0):
    return 5 * torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(seed))


def info(kind="exact", row_type="float32", number=3):
    return SegmentInfo(number=number, first=7, rows=ROWS, row_type=row_type, kind=kind)


def written(folder, about):
    with SegmentWriter(folder, about) as writer:
        for own in torch.arange(ROWS).split(1000):
            paths = [f"é/{i}.png" for i in own.tolist()]
            thumbs = [b"x" * (i % 4) for i in own.tolist()]
            writer.write(rows()[own], own % 5 - 1, paths, thumbs)
    return Segment(folder, about, DIM)


@pytest.mark.parametrize(
    ("kind", "row_type", "atol"), [("exact", "float32", 1e-6), ("bits", "float16", 5e-4)]
)
def test_what_was_written_is_read(tmp_path, kind, row_type, atol):
    segment = written(tmp_path, info(kind, row_type))
    unit = F.normalize(rows(), dim=1)
    assert_close(torch.cat([part for _, part in segment.blocks()]), unit, rtol=0, atol=atol)
    some = np.array([[ROWS - 1, 0], [4, 4]])
    assert_close(segment.embeddings(some), unit[some], rtol=0, atol=atol)
    every = np.arange(ROWS)[::-1].copy()
    assert_close(segment.embeddings(every), unit.flip(0), rtol=0, atol=atol)
    assert segment.labels.tolist() == [i % 5 - 1 for i in range(ROWS)]
    assert [segment.path(i) for i in (0, ROWS - 1)] == ["é/0.png", f"é/{ROWS - 1}.png"]
    assert [segment.thumbnail(i) for i in (4, 7)] == [b"", b"xxx"]
    assert segment.paths()[5].as_py() == "é/5.png".encode()


def test_a_copy_is_the_same(tmp_path):
    segment, about = written(tmp_path, info()), info(number=4)
    with SegmentWriter(tmp_path, about) as writer:
        writer.copy(segment)
    same = Segment(tmp_path, about, DIM)
    for part in ("rows", "labels", "paths", "paths_ends", "thumbs", "thumbs_ends"):
        files = [one.info.file(tmp_path, part).read_bytes() for one in (segment, same)]
        assert files[0] == files[1]


@pytest.mark.parametrize("part", ["rows", "labels", "paths", "paths_ends", "thumbs"])
def test_a_file_of_another_length_is_refused(tmp_path, part):
    about = info()
    written(tmp_path, about)
    path = about.file(tmp_path, part)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=rf"00003\.{part} has [\d,]+ bytes instead of"):
        Segment(tmp_path, about, DIM)
    path.unlink()
    with pytest.raises(ConfigError, match=rf"00003\.{part} cannot be read: No such file"):
        Segment(tmp_path, about, DIM)


def test_ends_that_cannot_be_are_refused_or_empty(tmp_path):
    segment = written(tmp_path, info())
    ends = np.fromfile(segment.info.file(tmp_path, "paths_ends"), np.int64)
    ends[3], ends[5] = -(2**60), 2**60
    ends.tofile(segment.info.file(tmp_path, "paths_ends"))
    segment = Segment(tmp_path, segment.info, DIM)
    with pytest.raises(ConfigError, match=r"00003.paths_ends is damaged; build the index again"):
        segment.paths()
    assert segment.path(2) == ""
    assert len(segment.path(4)) <= ends[-1]


def test_a_replaced_segment_is_no_longer_present(tmp_path):
    segment = written(tmp_path, info())
    assert segment.present
    for part in ("rows", "labels", "paths", "paths_ends", "thumbs", "thumbs_ends"):
        path = segment.info.file(tmp_path, part)
        path.rename(path.with_suffix(".kept"))
    assert not segment.present
    written(tmp_path, info())
    assert not segment.present


def mapped():
    """Bytes of files that this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssFile"))


def test_rows_that_were_looked_up_do_not_stay_in_memory(tmp_path):
    count, dim = 200_000, 64
    about = SegmentInfo(number=0, first=0, rows=count, row_type="float16", kind="bits")
    with SegmentWriter(tmp_path, about) as writer:
        values = torch.randn(count, dim)
        writer.write(values, torch.full((count,), -1), [""] * count, [b""] * count)
    segment = Segment(tmp_path, about, dim)
    chosen = np.random.default_rng(0).integers(0, count, (20, 500))
    before = mapped()
    segment.embeddings(chosen)
    assert mapped() - before < 5_000_000  # of 25.6 MB
