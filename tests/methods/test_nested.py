"""Contrastive methods on nested prefixes of the features."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.backbones import Backbone, SequenceBackbone
from ssl_dml.losses import nt_xent
from ssl_dml.methods import (
    CPC,
    DCL,
    HCL,
    NNCLR,
    NPID,
    PIRL,
    SEED,
    FeatureAlignment,
    MoCo,
    MoCoV3,
    RunInfo,
    SimCLR,
    SupCon,
    nested,
)
from ssl_dml.types import Batch, ConfigError, SequenceSpec

DIMS = [4, 8, 16]
PRETEXTS = ("jigsaw", "rotation")
BUILDERS = {
    "simclr": lambda *parts: SimCLR(*parts[:2], output_dim=5),
    "dcl": lambda *parts: DCL(*parts[:2], output_dim=5),
    "hcl": lambda *parts: HCL(*parts[:2], output_dim=5),
    "supcon": lambda *parts: SupCon(*parts[:2], output_dim=5),
    "moco": lambda *parts: MoCo(*parts[:2], queue_size=12, output_dim=5, parts=2),
    "moco_v3": lambda *parts: MoCoV3(*parts[:2], hidden_dim=7, output_dim=5),
    "nnclr": lambda *parts: NNCLR(*parts[:2], queue_size=12, predictor_dim=7, output_dim=5),
    "npid": lambda *parts: NPID(*parts[:2], negatives=4, output_dim=5, layers=2),
    "npid_full": lambda *parts: NPID(*parts[:2], negatives=None, output_dim=5, proximal=2.0),
    "pirl": lambda *parts: PIRL(*parts[:2], pretexts=PRETEXTS, grid=2, negatives=4, output_dim=5),
    "seed": lambda *parts: SEED(*parts[:2], teacher=parts[2], queue_size=12),
    "alignment": lambda *parts: FeatureAlignment(*parts[:2], teacher=parts[2]),
}


def batch(seed=0):
    """Two views of six samples, with labels."""
    generator = torch.Generator().manual_seed(seed)
    views = list(torch.randn(2, 6, 1, 8, 8, generator=generator))
    return Batch(views, torch.tensor([3, 1, 0, 5, 11, 8]), torch.tensor([0, 1, 0, 2, 1, 2]))


@pytest.fixture
def labeled():
    sizes = {"num_instances": 12, "batch_size": 6, "num_batches": 10}
    return RunInfo(**sizes, labeled=True)


def alone(method, prefix, dim, flat):
    """The same prefix trained by hand: a method on a network that returns these values alone."""
    first = Prefix(flat, dim)
    one = deepcopy(prefix)
    one.backbone = first
    if hasattr(one, "key_backbone"):
        one.key_backbone = first
    if hasattr(one, "teacher"):
        one.teacher = method.teacher
    return one


class Prefix(Backbone):
    """The first values, as they are."""

    def __init__(self, network, dim):
        super().__init__()
        self.network, self.inputs, self.feature_dim = network, network.inputs, dim

    def forward(self, samples):
        return self.network(samples)[:, : self.feature_dim]


@pytest.mark.parametrize("name", BUILDERS)
def test_every_step_is_that_of_methods_that_train_a_prefix_each(name, flat, labeled, teacher):
    """Losses, gradients, banks, queues and Z of three steps, beside one method a prefix."""
    method = nested(BUILDERS[name](flat, labeled, teacher), DIMS)
    whole = BUILDERS[name](flat, labeled, teacher)
    state = {k: v for k, v in method.state_dict().items() if not k.startswith("prefixes.")}
    whole.load_state_dict(state)
    parts = zip(method.prefixes, DIMS, strict=False)
    apart = [*(alone(method, part, dim, flat) for part, dim in parts), whole]
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (method, *apart)]
    for step in range(3):
        given = batch(step)
        loss, logs = method(given)
        losses = []
        for dim, one in zip(DIMS, apart, strict=True):
            own, more = one(given)
            losses.append(own)
            assert_close(logs[f"loss_{dim}"], own.detach())
            suffix = "" if dim == DIMS[-1] else f"_{dim}"
            for key, value in more.items():
                assert_close(logs[f"{key}{suffix}"], value)
        assert_close(loss, sum(losses))
        for one, optimizer in zip((loss, *losses), optimizers, strict=True):
            optimizer.zero_grad()
            one.backward()
            optimizer.step()
    for part, one in zip((*method.prefixes, method), apart, strict=True):
        found = part.state_dict()
        for key, value in one.state_dict().items():
            if not key.startswith(("backbone.", "key_backbone.", "teacher.")):
                assert_close(found[key], value, equal_nan=True)  # full softmax has no Z


def test_npid_prefixes_have_a_bank_and_a_normalizer_of_their_own(flat, run_info):
    """The rows of a bank by hand, as directions of the projected prefix."""
    method, given = nested(NPID(flat, run_info, negatives=4, output_dim=5), DIMS), batch()
    old = [part.bank.embeddings.clone() for part in method.prefixes]
    features = torch.stack([flat(view) for view in given.views])
    method(given)
    for part, dim, before in zip(method.prefixes, DIMS, old, strict=False):
        rows = F.normalize(part.projector(features[:, :, :dim]), dim=2).detach()
        mean = F.normalize(rows.mean(dim=0), dim=1)
        expected = F.normalize((mean + before[given.indices]) / 2, dim=1)
        assert_close(part.bank.embeddings[given.indices], expected)
        assert part.log_z.isfinite()
    assert len({method.log_z.item(), *(part.log_z.item() for part in method.prefixes)}) == 3


def test_encoders_run_once_for_all_prefixes(flat, run_info, teacher):
    method, ran = nested(SEED(flat, run_info, teacher=teacher, queue_size=12), DIMS), []
    for network in (method.backbone, method.teacher):
        network.register_forward_hook(lambda *_: ran.append(1))
    method(batch())
    assert len(ran) == 4  # two views of each
    method.backbone(torch.randn(2, 1, 8, 8))  # a probe keeps nothing
    assert all(record.outputs is None for record in records(method))
    assert all(not part.backbone.rest for part in method.prefixes)


def records(method):
    """What the hooks of the encoders keep."""
    hooks = [*method.backbone._forward_hooks.values(), *method.teacher._forward_hooks.values()]
    return [hook.__self__ for hook in hooks if hasattr(hook, "__self__")]


def test_distributed_training_leaves_every_bank_alone(flat, run_info):
    method = nested(NPID(flat, run_info, negatives=4), DIMS)
    names = [name for name, _ in method.named_buffers() if name.endswith("bank.embeddings")]
    assert sorted(method._ddp_params_and_buffers_to_ignore) == sorted(names)
    assert len(names) == 3


@pytest.mark.parametrize("kind", ["simclr", "moco", "moco_v3", "nnclr"])
def test_the_bound_on_mutual_information_is_of_each_prefix(flat, run_info, teacher, kind):
    method = nested(BUILDERS[kind](flat, run_info, teacher), DIMS)
    logs = method(batch()).logs
    scale = 4 * method.temperature if kind == "moco_v3" else 1.0  # 2 t times a sum of two views
    limit = logs["mutual_information_limit"]
    for name, dim in (("", 16), ("_8", 8), ("_4", 4)):
        own = limit - logs[f"loss_{dim}"] / scale
        assert_close(logs[f"mutual_information{name}"], own)


@pytest.mark.parametrize("name", BUILDERS)
def test_each_prefix_learns_and_a_copy_goes_on_alike(name, flat, labeled, teacher):
    method = nested(BUILDERS[name](flat, labeled, teacher), DIMS)
    state = deepcopy(method.state_dict())
    method(batch()).loss.backward()
    for part, dim in zip((*method.prefixes, method), DIMS, strict=True):
        assert part.projector[0].in_features == dim
        for p in part.projector.parameters():
            assert p.grad is not None
            assert p.grad.isfinite().all()
        assert part.projector[0].weight.grad.abs().sum() > 0
    again = nested(BUILDERS[name](flat, labeled, teacher), DIMS)
    again.load_state_dict(state)
    first, other = batch(5), deepcopy(again)
    assert other(first).loss == again(first).loss


def test_simclr_is_the_sum_of_nt_xent_of_each_prefix(flat, run_info):
    method, given = nested(SimCLR(flat, run_info, temperature=0.3, output_dim=5), DIMS), batch()
    features, expected = [flat(view) for view in given.views], 0.0
    for dim, part in zip(DIMS, (*method.prefixes, method), strict=True):
        both = part.projector(torch.cat([one[:, :dim] for one in features])).view(2, 6, 5)
        expected += nt_xent(both[0], both[1], temperature=0.3).item()
    assert_close(method(given).loss.item(), expected)


def test_the_whole_alone_is_the_method_itself(flat, run_info):
    plain = SimCLR(flat, run_info, output_dim=5)
    method, given = nested(deepcopy(plain), [16]), batch()
    assert method(given).loss == plain(given).loss


def test_other_methods_and_dimensions_are_refused(flat, run_info):
    inputs = SequenceSpec(channels=1, length=800, mean=(0.0,), std=(1.0,))
    network = SequenceBackbone(inputs, width=8, context_dim=8)
    with pytest.raises(ConfigError, match=r"CPC compares latents within the network: set it"):
        nested(CPC(network, run_info, horizon=1), [4, 8])
    with pytest.raises(ConfigError, match=r"nested must rise to 16, .* set it to \[4, 8, 16\]"):
        nested(SimCLR(flat, run_info), [4, 8])
