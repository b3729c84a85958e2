import pytest
import torch

from ssl_dml.padding import part_statistics, unpadded_lengths


def test_padding_is_found_in_stored_and_normalized_sequences():
    torch.manual_seed(0)
    lengths = torch.tensor([1, 17, 99, 100])
    stored = torch.randint(1, 9000, (4, 2, 100), dtype=torch.int16)
    stored = stored.where(torch.arange(100) < lengths[:, None, None], 0)
    assert unpadded_lengths(stored).tolist()[:2] == [1, 17]
    assert unpadded_lengths((stored.float() - 100) / 7).tolist() == [1, 17, 100, 100]


def test_a_single_zero_at_the_end_is_no_padding():
    assert unpadded_lengths(torch.tensor([[[1.0, 2.0, 0.0]]])).tolist() == [3]
    assert unpadded_lengths(torch.zeros(2, 1, 5)).tolist() == [5, 5]
    assert unpadded_lengths(torch.zeros(2, 1, 1)).tolist() == [1, 1]


@pytest.mark.parametrize("parts", [1, 2, 5, 9])
def test_parts_have_the_mean_and_variance_of_the_steps_they_touch(parts):
    values = torch.randn(6, 7, 2, dtype=torch.float64)
    lengths = torch.tensor([1, 2, 3, 5, 6, 7])
    means, variances = part_statistics(values, lengths, parts)
    for row, length in enumerate(lengths.tolist()):
        for part in range(parts):
            # step t lasts from t to t + 1; the part from the one fraction of the length to the next
            start, end = length * part / parts, length * (part + 1) / parts
            touched = [t for t in range(length) if t < end - 1e-9 and t + 1 > start + 1e-9]
            own = values[row, touched]
            torch.testing.assert_close(means[row, part], own.mean(0))
            torch.testing.assert_close(variances[row, part], own.var(0, correction=0))
