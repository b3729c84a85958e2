import pytest
from benchmarks import class_table, classes


@pytest.mark.slow
def test_the_table_of_real_steps(capsys):
    class_table([10_500, 11_000], largest=20_000, rate=0.1, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["10,500", "11,000"]
    assert lines[1].split()[-1] == "1.00"
    assert [line.split()[1] for line in lines[5:7]] == ["0.10", "1.00"]
    assert 0 < float(lines[7].split()[-1]) < 1


def test_errors():
    with pytest.raises(ValueError, match="classes must be above 10000, got"):
        class_table([100])
    with pytest.raises(OSError, match=r"3 classes, fraction 2\.0: .*sample_rate must be above 0"):
        classes.measure(3, 2.0, rounds=1)
