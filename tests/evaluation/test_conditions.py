import pytest
import torch

from ssl_dml.evaluation.conditions import across_values, numbered
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


def table(labels, cameras):
    columns = {"camera": cameras}
    return EmbeddingTable(
        embeddings=torch.rand(len(labels), 2), labels=torch.tensor(labels), columns=columns
    )


@pytest.mark.parametrize("leave_out", ["value", "value_of_class"])
def test_rows_of_one_number_are_those_left_out(leave_out):
    gallery, query = table([0, 0, 1, 1], ["a", "b", "a", "c"]), table([1, 0, 5], ["a", "b", "d"])
    found, (own, others) = across_values(gallery, query, "camera", leave_out=leave_out)
    assert found is query
    left_out = {(q, g) for q in range(3) for g in range(4) if others[q] == own[g]}
    expected = {(0, 2), (1, 1)} | ({(0, 0)} if leave_out == "value" else set())
    assert left_out == expected


def test_only_rows_with_a_value_search():
    gallery = table([0, 1, 2], [1, 2, 1])
    query, (own, others) = across_values(gallery, None, "camera", only=1)
    assert query.labels.tolist() == [0, 2]
    assert (own == others[0]).tolist() == [True, False, True]


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no column 'lens', only camera"):
        across_values(table([0], ["a"]), None, "lens")


def test_large_numbers_are_numbered_without_overflow():
    large = torch.tensor([2**62, 2**62, 1])
    assert numbered(large, large).tolist() == [1, 1, 0]
