"""Search across conditions, such as cameras: which rows a query does not find."""

from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.evaluation.search import Excluded
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError, shown

LeaveOut = Literal["value", "value_of_class"]


def across_values(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None,
    column: str | None,
    *,
    only: Any = None,  # noqa: ANN401 - whatever the column holds
    leave_out: LeaveOut = "value",
) -> tuple[EmbeddingTable | None, Excluded | None]:
    """The rows that search, and numbers of rows of which those of its own no query finds.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        column: Name of a column of both; None to leave out nothing.
        only: Search only for rows with this value.
        leave_out: Of the rows with the query's value, all, or those of its class.

    Raises:
        ConfigError: If a table lacks the column, or no query has the value.

    >>> rows, labels = torch.eye(3), torch.tensor([5, 5, 6])
    >>> table = EmbeddingTable(embeddings=rows, labels=labels, columns={"camera": [1, 2, 1]})
    >>> across_values(table, None, "camera")
    (None, (tensor([0, 1, 0]), tensor([0, 1, 0])))
    >>> across_values(table, None, "camera", leave_out="value_of_class")[1][0]
    tensor([0, 1, 2])
    """
    if column is None:
        if only is not None:
            raise ConfigError(f"only {shown(only)} needs across, the column that has the value")
        return query, None
    queries = gallery if query is None else query
    values = [values_of(table, column) for table in (gallery, queries)]
    if only is not None:
        kept = [i for i, value in enumerate(values[1]) if value == str(only)]
        if not kept:
            raise ConfigError(f"no query has {shown(only)} in its column {column}")
        query = queries = queries.at(torch.tensor(kept))
        values[1] = [str(only)] * len(kept)
    number = {value: i for i, value in enumerate(dict.fromkeys([*values[0], *values[1]]))}
    own, others = (torch.tensor([number[value] for value in each]) for each in values)
    if leave_out == "value_of_class":
        labels = torch.cat([gallery.labels, queries.labels])
        both = numbered(labels, torch.cat([own, others]))
        own, others = both[: len(own)], both[len(own) :]
    return query, (own, others)


def values_of(table: EmbeddingTable, column: str) -> list[str]:
    """The values of a column, as text.

    Raises:
        ConfigError: If the table has no such column.
    """
    if column not in table.columns:
        known = ", ".join(table.columns) or "none"
        raise ConfigError(
            f"the samples have no column {shown(column)}, only {known}; "
            "a table of samples may have further columns"
        )
    return [str(value) for value in table.columns[column]]


def numbered(one: Int[Tensor, " rows"], two: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """A number for each pair of two numbers, from 0.

    >>> numbered(torch.tensor([7, 7, 9]), torch.tensor([1, 0, 1]))
    tensor([1, 0, 2])
    """
    first, second = (each.unique(return_inverse=True)[1] for each in (one, two))
    return (first * (int(second.max()) + 1) + second).unique(return_inverse=True)[1]
