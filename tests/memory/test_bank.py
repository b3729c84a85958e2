import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.memory import BankStorage, MemoryBank


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


def of_rank(monkeypatch, rank, world):
    monkeypatch.setattr("ssl_dml.memory.sharded.rank", lambda: rank)
    monkeypatch.setattr("ssl_dml.memory.sharded.world_size", lambda: world)


@pytest.mark.parametrize(("size", "world"), [(10, 3), (9000, 2), (2, 4)])
def test_shares_make_up_the_same_table_as_one_process_has(size, world, monkeypatch):
    parts = []
    for rank in range(world):
        of_rank(monkeypatch, rank, world)
        torch.manual_seed(3)
        parts.append(MemoryBank(size, 4, storage=BankStorage(sharded=True)))
    owned = [index for part in parts for index in part.owned]
    assert owned == list(range(size))
    assert max(len(part.embeddings) for part in parts) == -(-size // world)
    torch.manual_seed(3)
    whole = MemoryBank(size, 4).embeddings
    assert torch.equal(torch.cat([part.embeddings for part in parts]), whole)


def test_an_owner_updates_its_rows_alone(monkeypatch):
    of_rank(monkeypatch, 1, 2)
    part = MemoryBank(6, 2, momentum=0.0, storage=BankStorage(sharded=True))
    before = part.embeddings.clone()
    new = F.normalize(torch.randn(3, 2), dim=1)
    part.update(torch.tensor([0, 5, 3]), new)
    assert_close(part.embeddings[[2, 0]], new[1:])
    assert torch.equal(part.embeddings[1], before[1])


def test_bfloat16_rows_come_out_in_float32():
    bank = MemoryBank(50, 16, momentum=0.5, storage=BankStorage(dtype="bfloat16")).double()
    assert bank.embeddings.dtype == torch.bfloat16
    indices = torch.arange(20)
    old, new = bank.rows(indices), F.normalize(torch.randn(20, 16), dim=1)
    assert old.dtype == torch.float32
    bank.update(indices, new)
    assert_close(bank.rows(indices), F.normalize(old + new, dim=1), rtol=2**-8, atol=1e-6)


def test_rows_in_main_memory_follow_the_dtype_and_not_the_device():
    bank = MemoryBank(5, 4, storage=BankStorage(device="cpu")).to("meta", torch.float64)
    assert bank.embeddings.dtype == torch.float64
    assert bank.embeddings.device.type == "cpu"
    assert MemoryBank(5, 4).to("meta").embeddings.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_in_main_memory_serve_an_encoder_on_a_gpu(dtype):
    storage = BankStorage(dtype=dtype, device="cpu")
    bank = MemoryBank(9, 4, momentum=0.0, storage=storage).cuda()
    indices = torch.tensor([[8, 0], [3, 3]], device="cuda")
    found = bank.rows(indices)
    assert found.is_cuda and found.dtype == torch.float32
    assert torch.equal(found.cpu(), bank.embeddings[indices.cpu()].float())
    new = F.normalize(torch.randn(2, 4, device="cuda"), dim=1)
    bank.update(torch.tensor([1, 7], device="cuda"), new)
    assert_close(bank.rows(torch.tensor([1, 7], device="cuda")), new, rtol=2**-8, atol=1e-6)
