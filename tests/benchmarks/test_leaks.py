"""What a leak is worth is counted by the answers of a kNN with and without a copy."""

import pytest
from benchmarks import leak_table
from benchmarks.leaks import answers


@pytest.mark.slow
def test_a_copy_helps_and_the_interval_of_what_it_is_worth_covers(capsys):
    plain, leaked = answers("fashion_mini")
    assert 0.7 < plain.double().mean() < 0.85
    assert (leaked | ~plain).all()  # a copy only helps
    assert leaked.double().mean() > plain.double().mean() + 0.02
    (found,) = leak_table(samples=[300], shares=[0.1], draws=20)
    true = 0.1 * float(leaked.double().mean() - plain.double().mean())
    assert found["true"] == pytest.approx(true)
    assert found["covers"] >= 0.8
    assert "covered in" in capsys.readouterr().out
