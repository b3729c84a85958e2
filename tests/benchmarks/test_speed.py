import json

import pytest
from benchmarks import speed_table


@pytest.mark.slow
def test_the_table_of_real_runs(capsys, tmp_path):
    output = tmp_path / "table.json"
    speed_table(
        channels=[1], sizes=[12], methods=["SimCLR", "ArcFace"], rounds=1, steps=1, output=output
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if "samples/s" in line]
    assert [line.split(",")[0] for line in lines] == ["SimCLR", "ArcFace"]
    table = json.loads(output.read_text())
    assert all(row["real"] > 0 and row["bare"] > 0 for row in table.values())


def test_errors():
    with pytest.raises(ValueError, match=r"there is no method 'none'; choose of SimCLR, MoCo"):
        speed_table(methods=["none"])
