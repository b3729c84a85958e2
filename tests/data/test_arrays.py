import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dml.config import ConfigError
from ssl_dml.data.arrays import NpzArrays, TableArrays

RNG = np.random.default_rng(0)


def table(column, labels=None):
    values = {"sequence": column} | ({} if labels is None else {"label": labels})
    return datasets.Dataset(pa.table(values))


def opened(data, column="sequence"):
    return TableArrays(data, ("f", "s"), "x.parquet", column=column, label_column="label")


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int16(), pa.uint8()])
@pytest.mark.parametrize("large", [False, True])
def test_lists_of_one_channel(kind, large):
    rows = [[1, 2, 3], [4, 5]]
    form = pa.large_list(kind) if large else pa.list_(kind)
    recordings = opened(table(pa.array(rows, form), ["b", "a"]))
    assert recordings.lengths == [3, 2]
    assert recordings.channels == 1
    assert recordings.labels == [1, 0]
    assert recordings.read(0, 1, 3).tolist() == [[2, 3]]
    assert recordings.name(1) == "x.parquet, row 1"


@pytest.mark.parametrize(
    "form",
    [
        pa.list_(pa.list_(pa.float32())),
        pa.list_(pa.list_(pa.float32()), 2),
        pa.list_(pa.list_(pa.float32(), 3), 2),
    ],
)
def test_lists_of_channels(form):
    rows = RNG.normal(size=(4, 2, 3)).astype(np.float32)
    recordings = opened(table(pa.array(rows.tolist(), form)))
    assert (recordings.channels, recordings.lengths) == (2, [3] * 4)
    assert recordings.labels is None
    np.testing.assert_array_equal(recordings.read(3, 0, 9), rows[3])


def test_arrays_of_datasets_through_parquet(tmp_path):
    rows = RNG.normal(size=(3, 2, 5)).astype(np.float32)
    features = datasets.Features({"sequence": datasets.Array2D((2, 5), "float32")})
    data = datasets.Dataset.from_dict({"sequence": list(rows)}, features=features)
    data.to_parquet(tmp_path / "x.parquet")
    for one in (data, datasets.Dataset.from_parquet(str(tmp_path / "x.parquet"))):
        np.testing.assert_array_equal(opened(one).read(2, 1, 4), rows[2][:, 1:4])


def test_rows_that_were_selected_keep_their_order():
    recordings = opened(table([[1.0], [2.0], [3.0]]).select([2, 0]))
    assert [recordings.read(i, 0, 1).item() for i in range(2)] == [3.0, 1.0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[[1.0, 2.0], [3.0]]], "has channels of different lengths"),
        ([None], "is not a list of numbers"),
        ([["a"]], "is not a list of numbers"),
        ([1.0], "is not a list of numbers"),
        ([[[[1.0]]]], "is not a list of numbers"),
    ],
)
def test_what_is_no_sequence_has_no_length_and_is_said_on_reading(rows, words):
    column = pa.array(rows, pa.list_(pa.float32())) if rows == [None] else pa.array(rows)
    recordings = opened(table(column))
    assert recordings.lengths == [0]
    with pytest.raises(ValueError, match=words):
        recordings.read(0, 0, 1)


def test_an_empty_list_and_a_missing_value_are_left_to_decoding():
    recordings = opened(table(pa.array([[], [1.0, None]], pa.list_(pa.float64()))))
    assert recordings.read(0, 0, 1).size == 0
    assert np.isnan(recordings.read(1, 0, 2)).tolist() == [[False, True]]


def test_a_missing_column_and_an_empty_table_are_named():
    with pytest.raises(ConfigError, match=r"column 'audio' is not a column .* has sequence"):
        opened(table([[1.0]]), "audio")
    with pytest.raises(ConfigError, match=r"'x.parquet' is empty"):
        opened(table(pa.array([], pa.list_(pa.float32()))))


@pytest.mark.parametrize("shape", [(6, 5), (6, 1, 5), (6, 3, 5)])
def test_npz(tmp_path, shape):
    x = RNG.normal(size=shape)
    np.savez(tmp_path / "a.npz", x=x, y=np.array(list("bababb")))
    recordings = NpzArrays(tmp_path / "a.npz")
    assert recordings.lengths == [5] * 6
    assert recordings.channels == (1 if len(shape) == 2 else shape[1])
    assert (recordings.labels, recordings.class_names) == ([1, 0, 1, 0, 1, 1], ["a", "b"])
    np.testing.assert_array_equal(recordings.read(4, 1, 3), x.reshape(6, -1, 5)[4, :, 1:3])
    assert recordings.name(4).endswith("a.npz, sequence 4")


def test_the_remedies_for_axes_in_another_order_work(tmp_path):
    x, y = RNG.normal(size=(9, 4)), np.arange(4)
    np.savez(tmp_path / "a.npz", x=x.T, y=y)
    assert NpzArrays(tmp_path / "a.npz").lengths == [9] * 4
    x = RNG.normal(size=(2, 9, 4))
    np.savez(tmp_path / "a.npz", x=np.moveaxis(x, -1, 0), y=y)
    recordings = NpzArrays(tmp_path / "a.npz")
    assert (recordings.channels, recordings.lengths) == (2, [9] * 4)
    np.testing.assert_array_equal(recordings.read(3, 0, 9), x[:, :, 3])


@pytest.mark.parametrize(
    ("shape", "labeled", "said"),
    [
        ((160, 40), False, "x [160, 40] is read as 160 sequences of 40 values; if time is first"),
        ((160, 40), True, None),  # there is a label for each of 160
        ((40, 160), False, None),
        ((40, 40), False, None),
        (
            (5, 160, 2),
            True,
            "5 sequences of 2 values in 160 channels; if time is second, save x.tr",
        ),
        ((5, 2, 160), False, None),
    ],
)
def test_axes_that_may_be_meant_otherwise_are_said(tmp_path, shape, labeled, said):
    arrays = {"x": np.ones(shape)} | ({"y": np.arange(len(np.ones(shape)))} if labeled else {})
    np.savez(tmp_path / "a.npz", **arrays)
    notes = NpzArrays(tmp_path / "a.npz").notes
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def test_cells_whose_time_may_be_first_are_said():
    recordings = opened(table([[[1.0, 2.0]] * 5, [[1.0]]]))
    assert recordings.notes[-1].startswith(
        "cells are read as up to 5 channels of 2 values; if time"
    )
    assert not any("cells" in note for note in opened(table([[[1.0, 2.0]] * 2])).notes)


def test_npz_without_labels(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3)))
    assert NpzArrays(tmp_path / "a.npz").labels is None


@pytest.mark.parametrize(
    ("y", "labels", "classes"),
    [
        ([4, -1, 9], [0, -1, 1], ([1, 0, 2], ["-1", "4", "9"])),
        ([4.0, np.nan, 9.0], [0, -1, 1], ([0, 2, 1], ["4", "9", "nan"])),
        (["b", "", "a"], [1, -1, 0], ([2, 0, 1], ["", "a", "b"])),
    ],
)
def test_missing_labels_of_npz_and_tables_are_classes_if_one_says_so(tmp_path, y, labels, classes):
    np.savez(tmp_path / "a.npz", x=np.ones((3, 5)), y=np.array(y))
    found = NpzArrays(tmp_path / "a.npz")
    assert found.labels == labels
    assert found.notes[0].endswith(
        "; data.missing_labels false makes classes of null, NaN, empty and -1"
    )
    found = NpzArrays(tmp_path / "a.npz", missing_labels=False)
    assert (found.labels, found.class_names) == classes
    assert not found.notes
    given = {"column": "sequence", "label_column": "label", "missing_labels": False}
    rows = TableArrays(table([[1.0]] * 3, y), ("f", "s"), "x.parquet", **given)
    assert (rows.labels, rows.class_names) == classes


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"data": np.ones((2, 3)), "y": np.ones(2)}, "lacks the array x of sequences; it has data"),
        ({"x": np.ones(3)}, r"x must hold numbers as \[N, time\] or .* float64 of shape \[3\]"),
        ({"x": np.array([["a"]])}, "x must hold numbers"),
        ({"x": np.ones((0, 3))}, "x must hold numbers"),
        ({"x": np.ones((2, 3)), "y": np.ones(3)}, "one label for each of 2 sequences"),
        (
            {"x": np.ones((9, 4)), "y": np.ones(4)},
            r"got shape \[4\]; x is \[time, N\] then: save x\.T",
        ),
        ({"x": np.ones((2, 3)), "y": np.ones(4)}, r"got shape \[4\]$"),
        ({"x": np.ones((2, 9, 4)), "y": np.ones(4)}, r"save numpy\.moveaxis\(x, -1, 0\)$"),
        ({"x": np.array([[1], [2, 3]], object)}, "cannot be read"),
    ],
)
def test_npz_of_another_form_is_named(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ConfigError, match=words) as caught:
        NpzArrays(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"no zip at all", b"PK\x03\x04 half"])
def test_npz_that_is_missing_or_damaged_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.npz' cannot be read"):
        NpzArrays(tmp_path / "a.npz")


def test_a_parquet_file_written_by_others(tmp_path):
    pq.write_table(pa.table({"sequence": [[1.0, 2.0], [3.0]]}), tmp_path / "x.parquet")
    data = datasets.Dataset.from_parquet(str(tmp_path / "x.parquet"))
    assert opened(data).lengths == [2, 1]
