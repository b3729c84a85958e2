import pytest
from benchmarks import equal_time_table, toolkit_table
from benchmarks.toolkit_runs import BATCH
from benchmarks.toolkits import KINDS, measure


def test_errors(monkeypatch):
    monkeypatch.setitem(KINDS, "lightly", "no_such_package")
    for table in (toolkit_table, equal_time_table):
        with pytest.raises(ValueError, match="no_such_package is not installed"):
            table(["lightly"])


@pytest.mark.slow
def test_the_rate_of_a_real_run():
    assert measure("ssl_dml", 1) * 600 > BATCH


@pytest.mark.slow
def test_the_accuracy_of_a_short_run(tmp_path):
    equal_time_table(["ssl_dml"], seconds=0.1, seeds=[0], steps=1, output=tmp_path / "t.json")
    assert '"knn_top1": [\n' in (tmp_path / "t.json").read_text()
    assert 0.5 < measure("ssl_dml", 2, seed=0) < 0.9
