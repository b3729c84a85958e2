from ssl_dml.training import Best

VALUES = [3.0, 2.0, 3.0, 4.0]


def test_remembers_the_first_of_the_best_values():
    best = Best("recall_at_1")
    found = [best.improved({"recall_at_1": value}, step) for step, value in enumerate(VALUES)]
    assert found == [True, False, False, True]
    low = Best("label_distance_at_1", lowest=True)
    found = [low.improved({"label_distance_at_1": -v}, step) for step, v in enumerate(VALUES)]
    assert found == [True, False, False, True]
    again = Best("recall_at_1")
    again.load_state_dict(best.state_dict())
    assert (again.value, again.step) == (4, 3)
    assert not again.improved({"recall_at_1": 4.0}, 5)
