"""Contrastive methods on nested prefixes of the features."""

from copy import deepcopy

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import info_nce, nt_xent
from ssl_dml.methods import (
    DCL,
    HCL,
    NNCLR,
    NPID,
    MoCo,
    MoCoV3,
    RunInfo,
    SimCLR,
    SupCon,
    nested,
)
from ssl_dml.types import Batch, ConfigError

DIMS = [4, 8, 16]
BUILDERS = {
    "simclr": lambda *parts: SimCLR(*parts, output_dim=5),
    "dcl": lambda *parts: DCL(*parts, output_dim=5),
    "hcl": lambda *parts: HCL(*parts, output_dim=5),
    "supcon": lambda *parts: SupCon(*parts, output_dim=5),
    "moco": lambda *parts: MoCo(*parts, queue_size=12, output_dim=5, parts=2),
    "moco_v3": lambda *parts: MoCoV3(*parts, hidden_dim=7, output_dim=5),
    "nnclr": lambda *parts: NNCLR(*parts, queue_size=12, predictor_dim=7, output_dim=5),
}


def batch():
    views = list(torch.randn(2, 6, 1, 8, 8))
    return Batch(views, torch.tensor([3, 1, 0, 5, 11, 8]), torch.tensor([0, 1, 0, 2, 1, 2]))


@pytest.fixture
def labeled():
    sizes = {"num_instances": 12, "batch_size": 6, "num_batches": 10}
    return RunInfo(**sizes, labeled=True)


def test_simclr_is_the_sum_of_nt_xent_of_each_prefix(flat, run_info):
    method, given = nested(SimCLR(flat, run_info, temperature=0.3, output_dim=5), DIMS), batch()
    features, expected = [flat(view) for view in given.views], 0.0
    for dim, projector in zip(DIMS, method.projector.networks, strict=True):
        both = projector(torch.cat([one[:, :dim] for one in features])).view(2, 6, 5)
        expected += nt_xent(both[0], both[1], temperature=0.3).item()
    assert_close(method(given).loss.item(), expected)


@pytest.mark.parametrize("kind", ["simclr", "moco", "moco_v3", "nnclr"])
def test_the_bound_on_mutual_information_is_the_mean_over_prefixes(flat, run_info, kind):
    method, given = BUILDERS[kind](flat, run_info), batch()
    alone = method(given).logs["mutual_information_limit"]
    loss, logs = nested(method, DIMS)(given)
    scale = 4 * method.temperature if kind == "moco_v3" else 1.0  # 2 t times a sum of two views
    limit = logs["mutual_information_limit"]
    assert_close(limit, alone)
    assert_close(logs["mutual_information"], limit - loss.detach() / scale / len(DIMS))


def test_moco_is_the_sum_of_info_nce_against_the_keys_of_each_prefix(flat, run_info):
    method, given = nested(BUILDERS["moco"](flat, run_info), DIMS), batch()
    before = method.queue.keys.clone()
    loss = method(given).loss
    query, key, expected = flat(given.views[0]), flat(given.views[1]), 0.0
    pairs = zip(method.projector.networks, method.key_projector.networks, strict=True)
    for at, (dim, (ours, theirs)) in enumerate(zip(DIMS, pairs, strict=True)):
        own = before[:, 5 * at : 5 * (at + 1)]
        rows = ours(query[:, :dim]), theirs(key[:, :dim])
        expected += info_nce(*rows, own, temperature=0.07).item()
    assert_close(loss.item(), expected)
    assert method.queue.keys.shape == (12, 15)
    assert not torch.equal(method.queue.keys, before)


@pytest.mark.parametrize("name", BUILDERS)
def test_each_prefix_learns_and_a_shorter_one_alone_moves_what_it_has(name, flat, labeled):
    method = nested(BUILDERS[name](flat, labeled), DIMS)
    state = deepcopy(method.state_dict())
    loss = method(batch()).loss
    loss.backward()
    for projector, dim in zip(method.projector.networks, DIMS, strict=True):
        assert projector[0].in_features == dim
        assert all(p.grad is not None and p.grad.isfinite().all() for p in projector.parameters())
        assert projector[0].weight.grad.abs().sum() > 0
    again = nested(BUILDERS[name](flat, labeled), DIMS)
    again.load_state_dict(state)
    torch.manual_seed(5)
    first = batch()
    other = deepcopy(again)
    assert other(first).loss == again(first).loss


def test_the_whole_alone_is_the_method_itself(flat, run_info):
    plain = SimCLR(flat, run_info, output_dim=5)
    method, given = nested(deepcopy(plain), [16]), batch()
    method.projector.networks[0].load_state_dict(plain.projector.state_dict())
    assert method(given).loss == plain(given).loss


def test_other_methods_and_dimensions_are_refused(flat, run_info):
    with pytest.raises(ConfigError, match=r"such as SimCLR or MoCo, and method is NPID: set it"):
        nested(NPID(flat, run_info, negatives=4), DIMS)
    with pytest.raises(ConfigError, match=r"nested must rise to 16, .* set it to \[4, 8, 16\]"):
        nested(SimCLR(flat, run_info), [4, 8])
