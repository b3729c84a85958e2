import torch

from ssl_dml.padding import unpadded_lengths


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
