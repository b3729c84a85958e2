"""Worker of test_native_norm: batch norm over two processes, four ways, on this process.

The kernels that CUDA has are given to the CPU here, each written after what torch says of it. So
the toolkit's use of them, torch's own class, the sums of the CPU, and plain batch norm of the whole
batch on one process can be compared in value, gradient and running statistics.
"""

import copy
import os
import sys
from collections import Counter

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules._functions import SyncBatchNorm as TorchSyncBatchNorm
from torch.testing import assert_close

from ssl_dml.backbones.native_norm import has_kernels
from ssl_dml.backbones.norms import SyncBatchNorm, synchronize_batch_norm

EPS, DIM, ROWS = 1e-3, 3, (5, 2)  # samples of each process
CALLS = Counter()


def axes(x):
    """All but the channels."""
    return [axis for axis in range(x.ndim) if axis != 1]


def channels(values, x):
    """Numbers of channels beside a batch."""
    return values.view(1, -1, *[1] * (x.ndim - 2))


def stats(x, eps):
    """Mean and inverse deviation of a batch."""
    CALLS["stats"] += 1
    var, mean = torch.var_mean(
        x.to(torch.promote_types(x.dtype, torch.float32)), axes(x), correction=0
    )
    return mean, (var + eps).rsqrt()


def gather_stats(_, means, scales, running_mean, running_var, momentum, eps, counts):
    """Those of several batches together; the running ones follow."""
    shares = (counts / counts.sum())[:, None]
    mean = (shares * means).sum(0)
    var = (shares * (scales**-2 - eps + (means - mean) ** 2)).sum(0)
    if running_mean is not None:
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * counts.sum() / (counts.sum() - 1) - running_var)
    return mean, (var + eps).rsqrt()


def elements(x, weight, bias, mean, scale, _):
    """The normalized batch."""
    centered = (x - channels(mean, x)) * channels(scale, x)
    if weight is not None:
        centered = centered * channels(weight, x) + channels(bias, x)
    return centered.to(x.dtype)


def backward_reduce(pull, x, mean, scale, *_):
    """Sums over a batch that its gradient needs."""
    total = pull.to(mean.dtype).sum(axes(x))
    along = (pull * (x - channels(mean, x))).sum(axes(x))
    return total, along, along * scale, total.clone()


def backward_elements(pull, x, mean, scale, weight, total, along, counts):
    """Gradient of a batch from the sums over all."""
    CALLS["backward"] += 1
    number = counts.sum()
    own = scale if weight is None else scale * weight
    rest = channels(total / number, x)
    rest = rest + (x - channels(mean, x)) * channels(along / number * scale**2, x)
    return ((pull - rest) * channels(own, x)).to(x.dtype)


KERNELS = {
    "batch_norm_stats": stats,
    "batch_norm_gather_stats_with_counts": gather_stats,
    "batch_norm_elemt": elements,
    "batch_norm_backward_reduce": backward_reduce,
    "batch_norm_backward_elemt": backward_elements,
}


def plain(shape, *, dtype=torch.float64, affine=True, momentum=0.1, statistics=True):
    """Torch's batch norm with weights of its own."""
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    norm = kind(DIM, EPS, momentum, affine, statistics).to(dtype)
    for i, parameter in enumerate(norm.parameters()):
        parameter.data = torch.linspace(0.5, 1.5 + i, DIM, dtype=dtype)
    return norm


class Theirs(nn.Module):
    """Torch's own synchronized class, whose module refuses the CPU."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        norm = self.norm
        norm.num_batches_tracked += 1
        factor = norm.momentum or 1 / norm.num_batches_tracked.item()
        state = norm.weight, norm.bias, norm.running_mean, norm.running_var
        return TorchSyncBatchNorm.apply(x, *state, norm.eps, factor, dist.group.WORLD, 2)


def train(module, norm, batches, weights):
    """Outputs, gradients of the batches and the parameters, and running statistics."""
    found = []
    for given, weight in zip(batches, weights, strict=True):
        batch = given.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        out = module(batch)
        (out * weight).sum().backward()
        found += [out.detach(), batch.grad]
    sums = [parameter.grad for parameter in norm.parameters()]
    state = [norm.running_mean, norm.running_var, norm.num_batches_tracked]
    return found, sums, state


def compare(rank, native, shape, layout=torch.contiguous_format, **options):
    """Three steps on this process's part, beside those of the whole batch."""
    generator = torch.Generator().manual_seed(1)
    size = sum(ROWS), DIM, *shape
    whole, weights = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64).unbind()
    whole = [(2 * x + 7).contiguous(memory_format=layout) for x in whole]
    mine = slice(0, ROWS[0]) if rank == 0 else slice(ROWS[0], None)
    parts, pulls = [x[mine] for x in whole], [weight[mine] for weight in weights]

    reference = plain(size, **options)
    outs, sums, expected = train(reference, reference, whole, weights)
    given, results = plain(size, **options), []
    ours = SyncBatchNorm(copy.deepcopy(given))
    assert ours.state_dict().keys() == given.state_dict().keys()
    CALLS.clear()
    results.append(train(ours, ours, parts, pulls))
    assert CALLS["stats"] == CALLS["backward"] == (3 if native else 0)
    if native and given.running_mean is not None:
        results.append(train(Theirs(given), given, parts, pulls))
        assert_close(*results, rtol=0, atol=1e-13)  # the same kernels
    found, own_sums, state = results[0]
    assert_close(found, [value[mine] for value in outs])
    assert all(value.is_contiguous(memory_format=layout) for value in found)
    for own, total in zip(own_sums, sums, strict=True):
        dist.all_reduce(own)
        assert_close(own, total)
    assert_close(state, expected)
    assert_close(ours.eval()(parts[0]), reference.eval()(whole[0])[mine])


def autocast(rank):
    """A half-precision batch and float32 weights, as autocast leaves them, beside float32."""
    x = torch.randn(sum(ROWS), DIM, 4, 4, generator=torch.Generator().manual_seed(2))
    x = x.bfloat16().contiguous(memory_format=torch.channels_last)
    mine = slice(0, ROWS[0]) if rank == 0 else slice(ROWS[0], None)
    norms = [plain(x.shape, dtype=torch.float32) for _ in range(2)]
    expected = norms[0](x.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = SyncBatchNorm(norms[1])(x[mine].requires_grad_())
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), expected[mine], rtol=2**-7, atol=2**-7)
    assert_close(norms[1].running_var, norms[0].running_var, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert norms[1].weight.grad.dtype == torch.float32


def without_statistics(rank):
    """A norm without running statistics takes those of the batch, in training of all processes."""
    x = torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(3))
    norm = plain(x[0].shape, dtype=torch.float32, statistics=False)
    ours = SyncBatchNorm(copy.deepcopy(norm))
    assert_close(ours(x[rank]), norm(x.flatten(0, 1)).view_as(x)[rank])
    assert_close(ours.eval()(x[rank]), norm.eval()(x[rank]))


def compiled(rank):
    """A compiled network, without a break, beside the same that is not."""
    torch.manual_seed(4)
    shape = (2 * 3, DIM, 8, 8)
    x = torch.randn(shape)[3 * rank : 3 * rank + 3]
    layers = [nn.Conv2d(DIM, DIM, 3), plain(shape, dtype=torch.float32), nn.ReLU()]
    network = synchronize_batch_norm(nn.Sequential(*layers, *copy.deepcopy(layers)))
    other = copy.deepcopy(network)
    other.compile(backend="aot_eager", fullgraph=True)
    found = []
    for one in (network, other):
        out = one(x)
        out.square().mean().backward()
        found.append((out.detach(), [p.grad for p in one.parameters()], list(one.buffers())))
    assert_close(*found)


CASES = [
    {"shape": ()},
    {"shape": (4, 3)},
    {"shape": (4, 3), "layout": torch.channels_last},
    {"shape": (2, 2), "affine": False},
    {"shape": (), "momentum": None},
]


def main(store, *only):
    """Compare everything by the sums of the CPU, then by the kernels; or compiled networks only."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    library = torch.library.Library("aten", "IMPL")
    for native in (False, True):
        if native:
            for name, kernel in KERNELS.items():
                library.impl(name, kernel, "CPU")
        assert has_kernels("cpu") == native
        if only:
            torch.compiler.reset()
            compiled(rank)
            continue
        for options in CASES:
            compare(rank, native, **options)
        autocast(rank)
        without_statistics(rank)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
