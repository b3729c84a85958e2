import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.memory import MemoryBank


def test_starts_with_random_unit_vectors():
    bank = MemoryBank(100, 8)
    assert_close(bank.embeddings.norm(dim=1), torch.ones(100))
    assert bank.embeddings.unique(dim=0).shape == (100, 8)


def test_update_known_value():
    bank = MemoryBank(2, 3, momentum=0.5).double()
    rows = [[0.8, 0.1, 0.1], [0.1, 0.9, 0.2]]
    bank.embeddings.copy_(F.normalize(torch.tensor(rows, dtype=torch.float64), dim=1))
    new = F.normalize(torch.tensor([[0.9, 0.1, 0.2], [-0.1, 0.7, 0.4]], dtype=torch.float64), dim=1)
    bank.update(torch.arange(2), new)
    expected = [
        [0.9787157892610743, 0.11559232589349457, 0.16956950800661227],
        [-0.007768232361228397, 0.9327424282927953, 0.3604597301064873],
    ]
    assert_close(bank.embeddings, torch.tensor(expected, dtype=torch.float64))


def test_update_leaves_other_rows_and_earlier_copies_alone():
    bank = MemoryBank(5, 4)
    before, copy = bank.embeddings.clone(), bank.rows(torch.tensor([1]))
    bank.update(torch.tensor([1, 3]), F.normalize(torch.randn(2, 4), dim=1))
    assert_close(bank.embeddings[[0, 2, 4]], before[[0, 2, 4]], rtol=0, atol=0)
    assert_close(copy, before[[1]], rtol=0, atol=0)
    assert not torch.equal(bank.embeddings[[1, 3]], before[[1, 3]])


def test_opposite_vectors_do_not_make_nan():
    bank = MemoryBank(1, 2)
    bank.update(torch.tensor([0]), -bank.embeddings.clone())
    assert bank.embeddings.isfinite().all()


def test_state_dict_carries_it():
    bank, other = MemoryBank(5, 4), MemoryBank(5, 4)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(bank.embeddings, other.embeddings)


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_refuses_a_momentum_outside_0_to_1(momentum):
    with pytest.raises(ValueError, match=f"bank_momentum must be from 0 to 1, got {momentum}"):
        MemoryBank(2, 2, momentum=momentum)
