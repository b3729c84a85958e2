from dataclasses import replace

import pytest
from benchmarks.scale import METHODS, Size, cost, scale_table
from benchmarks.scale_run import run_here

SIZE = Size(
    processes=2, batch=8, parameters=100, channels=4, sample=12, dim=3, rows=50, queue=20,
    negatives=6, classes=10, sampled=5, grid=18,
)  # fmt: skip


def test_by_hand():
    # 100 gradients; 4 x 4 sums of batch norms; 16 keys of 3 numbers, once
    # forward, once back, and twice their gradients.
    found = cost(METHODS["SimCLR, DCL"], SIZE)
    assert found.sent == 4 * 100 + 4 * 16 + 4 * 16 * 3 * 4
    assert found.kept == 4 * 300
    # 100 gradients, 20 rows of class weights with theirs and their momentum.
    found = cost(METHODS["ArcFace"], SIZE)
    assert found.kept == 4 * 3 * (100 + 30)


def test_gradients_alone_do_not_grow():
    many = [replace(SIZE, parameters=10**6, sample=10**5, processes=count) for count in (8, 64)]
    few, more = (cost(METHODS["NPID"], size).sent for size in many)
    images = [cost(METHODS["MoCo v2"], size).sent for size in many]
    assert few < more < 1.2 * few
    assert images[1] > 3 * images[0]  # each key is encoded elsewhere


def test_a_split_bank_is_kept_in_parts():
    whole, split = (cost(METHODS[name], SIZE) for name in ("NPID", "NPID, bank split"))
    assert whole.kept - split.kept == 4 * 50 * 3 / 2
    assert split.sent > whole.sent


def test_the_table(capsys, tmp_path):
    scale_table(check=[], folder=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(METHODS)
    assert (tmp_path / "table.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SimCLR, DCL", "ArcFace, classes split"])
def test_what_a_real_run_sends(name, tmp_path):
    method = METHODS[name]
    seen = run_here(method.config, method.options, processes=2, folder=tmp_path / "run")
    model = cost(method, Size(**seen["size"]))
    assert seen["sent"] == pytest.approx(model.sent, rel=0.15)  # and the frames of the network
    assert seen["kept"] == pytest.approx(model.kept, rel=0.05)


@pytest.mark.slow
def test_errors(tmp_path):
    with pytest.raises(OSError, match="no_such"):
        run_here("pretrain/no_such", [], processes=1, folder=tmp_path / "run")
