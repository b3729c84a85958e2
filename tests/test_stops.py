import pytest

from ssl_dml.stops import Interrupted, NonFiniteError


def test_a_run_that_is_not_finite_keeps_its_samples():
    with pytest.raises(ValueError, match="step 3: loss nan") as found:
        raise NonFiniteError("step 3: loss nan", range(2))
    assert found.value.samples == [0, 1]
    assert NonFiniteError("step 3").samples == []


def test_a_run_that_was_stopped_keeps_its_exit_code():
    with pytest.raises(Interrupted, match="stopped at step 3") as found:
        raise Interrupted("stopped at step 3", 143)
    assert found.value.exit_code == 143
    assert not isinstance(found.value, ValueError)
