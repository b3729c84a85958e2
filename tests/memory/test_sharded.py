"""Rows of a random table, and tables that are split over processes and cut anew."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_dml.memory import BankStorage, MemoryBank
from ssl_dml.memory.sharded import BLOCK, random_rows
from ssl_dml.training import Checkpoints

WORKER = Path(__file__).parents[1] / "distributed" / "bank_checkpoint.py"
SIZE = 11


def table():
    """The rows that the workers save: row i is a function of i alone."""
    rows = torch.arange(SIZE * 3, dtype=torch.float32).view(SIZE, 3).sin()
    return nn.functional.normalize(rows, dim=1)


def restored(folder, **storage):
    model = nn.ModuleDict({"bank": MemoryBank(SIZE, 3, storage=BankStorage(**storage))})
    Checkpoints(folder, keep=1).resume({"model": model}, {}, say=lambda _: None)
    return model["bank"].rows(torch.arange(SIZE))


@pytest.mark.parametrize(
    ("saved", "restored_by"),
    [(2, 2), *(pytest.param(*worlds, marks=pytest.mark.slow) for worlds in [(2, 3), (4, 2)])],
)
def test_a_split_bank_is_cut_anew(saved, restored_by, tmp_path, run_workers):
    run_workers(WORKER, saved, "save", tmp_path)
    names = {path.name for path in (tmp_path / "checkpoints/step_5").iterdir()}
    assert {f"rows_{rank}.pt" for rank in range(saved)} <= names
    run_workers(WORKER, restored_by, "load", tmp_path)
    for rank in range(restored_by):
        assert torch.equal(torch.load(tmp_path / f"rows_{rank}.pt"), table())
    # One process, with the bank split among one or whole.
    for sharded in (False, True):
        assert torch.equal(restored(tmp_path / "checkpoints", sharded=sharded), table())


def save_whole(folder, **storage):
    model = nn.ModuleDict({"bank": MemoryBank(SIZE, 3, storage=BankStorage(**storage))})
    model["bank"].embeddings.copy_(table())
    return Checkpoints(folder, keep=1).save(5, {"model": model}, {})


def test_a_whole_bank_may_be_split_later(tmp_path):
    place = save_whole(tmp_path)
    assert not list(place.glob("rows_*"))
    assert torch.equal(restored(tmp_path, sharded=True), table())


@pytest.mark.parametrize("sharded", [False, True])
def test_a_bank_of_another_size_is_one_line(sharded, tmp_path):
    save_whole(tmp_path, sharded=sharded)
    model = nn.ModuleDict({"bank": MemoryBank(12, 3, storage=BankStorage(sharded=sharded))})
    with pytest.raises(ValueError, match="has 11 rows, and this data set 12 instances") as caught:
        Checkpoints(tmp_path, keep=1).resume({"model": model}, {}, say=lambda _: None)
    assert "\n" not in str(caught.value)


def test_a_damaged_share_is_named(tmp_path):
    path = save_whole(tmp_path, sharded=True) / "rows_0.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"rows_0\.pt differs from what was written"):
        restored(tmp_path, sharded=True)


def test_the_state_of_another_method_does_not_fit(tmp_path):
    Checkpoints(tmp_path, keep=1).save(5, {"model": nn.Linear(2, 2)}, {})
    with pytest.raises(ValueError, match="does not fit this model"):
        restored(tmp_path)


def unit(rows):
    return F.normalize(rows, dim=1)


def test_a_part_is_that_of_the_whole():
    size = BLOCK + 100
    torch.manual_seed(0)
    whole = random_rows(range(size), (3,), unit)
    for part in (range(10), range(BLOCK - 5, BLOCK + 5), range(BLOCK, size), range(0)):
        torch.manual_seed(0)
        assert torch.equal(random_rows(part, (3,), unit), whole[part.start : part.stop])


def test_type_and_finish():
    rows = random_rows(range(8), (2, 4), lambda x: 0 * x, dtype=torch.bfloat16)
    assert rows.dtype == torch.bfloat16
    assert rows.shape == (8, 2, 4)
    assert not rows.any()
