import pytest
from benchmarks.tiles import measure, tile_table
from torch.testing import assert_close


@pytest.mark.slow
def test_both_losses_are_measured_and_agree(tmp_path):
    ours, found = measure("tiles", 256, tmp_path)
    theirs, expected = measure("dense", 256, tmp_path)
    assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert ours["seconds"] > 0
    assert theirs["seconds"] > 0


@pytest.mark.slow
def test_the_table_has_a_line_for_each_batch(capsys):
    tile_table([64, 128], peer="dense", largest=64)
    head, first, second = capsys.readouterr().out.splitlines()
    assert "largest difference" in head
    assert first.split()[0] == "64"
    assert "x" in first
    assert "x" not in second


@pytest.mark.slow
def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(OSError, match="tiles at 3 rows: "):
        measure("tiles", 3, tmp_path / "nowhere")
