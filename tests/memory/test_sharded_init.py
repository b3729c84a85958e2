import torch
import torch.nn.functional as F

from ssl_dml.memory.sharded_init import BLOCK, random_rows


def unit(rows):
    return F.normalize(rows, dim=1)


def test_a_part_is_that_of_the_whole():
    size = BLOCK + 100
    torch.manual_seed(0)
    whole = random_rows(range(size), (3,), unit)
    for part in (range(10), range(BLOCK - 5, BLOCK + 5), range(BLOCK, size), range(0)):
        torch.manual_seed(0)
        assert torch.equal(random_rows(part, (3,), unit), whole[part.start : part.stop])


def test_type_and_finish():
    rows = random_rows(range(8), (2, 4), lambda x: 0 * x, dtype=torch.bfloat16)
    assert rows.dtype == torch.bfloat16
    assert rows.shape == (8, 2, 4)
    assert not rows.any()
