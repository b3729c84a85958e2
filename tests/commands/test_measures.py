import inspect
from typing import get_args, get_type_hints

import pytest

from ssl_dml.commands.evaluate import EvaluateConfig
from ssl_dml.commands.measures import MEASURES, shown_results


def test_each_evaluator_has_a_measure():
    assert set(get_args(get_type_hints(EvaluateConfig)["evaluator"])) == set(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_takes_what_it_is_given(name):
    measure = MEASURES[name]
    arguments = inspect.signature(measure.function).parameters
    assert measure.given - {"compute"} <= set(arguments)
    assert measure.shared == ("compute" in arguments)
    query = arguments["query"].default
    assert (query is inspect.Parameter.empty) == (measure.rows == "probe")


def test_an_interval_stands_beside_its_measure():
    lines = shown_results({"knn_low": 0.1, "knn": 0.2, "knn_high": 0.3, "k": 5.0}).splitlines()
    assert [line.split()[0] for line in lines] == ["knn", "k"]
    assert lines[0].endswith("0.2000  (95% interval 0.1000 to 0.3000)")
