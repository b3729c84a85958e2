from ssl_dml.benchmarking import CHECKS


def test_there_are_ten_each_with_a_title_and_a_function_of_its_own():
    assert list(CHECKS) == list(range(1, 11))
    assert len({check.title for check in CHECKS.values()}) == 10
    assert len({check.function for check in CHECKS.values()}) == 10
