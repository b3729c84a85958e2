"""Worker of test_without_float64: every head on a device without float64, as MPS is."""

import copy

import pretend
import torch
from torch.testing import assert_close

from ssl_dml import heads, losses, margins, mining

DIM, CLASSES = 5, 4


def parts(module, contract):
    """What a package offers that keeps a contract, by name."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name: part
        for name, part in found.items()
        if isinstance(part, type) and issubclass(part, contract) and part is not contract
    }


def every_head():
    """Each head, loss, miner and margin with its defaults, by name."""
    made = {
        name: head(DIM, CLASSES)
        for name, head in parts(heads, heads.Head).items()
        if name not in ("MarginSoftmax", "PairHead", "WeightedSum", "Nested")
    }
    for name, loss in parts(losses, losses.PairLoss).items():
        made[name] = heads.PairHead(DIM, CLASSES, loss=loss())
    for name, miner in parts(mining, mining.Miner).items():
        made[name] = heads.PairHead(DIM, CLASSES, loss=losses.Triplet(), miner=miner())
    for name, margin in parts(margins, margins.Margin).items():
        made[name] = heads.MarginSoftmax(DIM, CLASSES, margin=margin())
    made["Nested"] = heads.Nested(DIM, CLASSES, head=heads.ProxyNCA, dims=[2, DIM])
    return made


def value_and_gradient(head, rows, device):
    """Of a training step on a device, and the buffers after it, on the CPU."""
    head, rows = copy.deepcopy(head).to(device), rows.to(device, copy=True).requires_grad_()
    labels = torch.arange(CLASSES).repeat(2).to(device)
    loss = head(rows, labels[:, None].float() if head.continuous else labels).loss
    loss.backward()
    return loss.detach().cpu(), rows.grad.cpu(), [buffer.cpu() for buffer in head.buffers()]


def main():
    """Compare each step on the device with that on the CPU; name those that fail."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pretend.install(float64=False)
    rows, made, failed = torch.randn(2 * CLASSES, DIM), every_head(), []
    for name, head in made.items():
        expected = value_and_gradient(head, rows, "cpu")
        try:
            found = value_and_gradient(head, rows, pretend.NAME)
            assert_close(found, expected)
        except Exception as error:  # one after another
            failed.append(f"{name}: {error!r}")
    print(len(made), "heads; failed:", *failed, sep="\n")
    raise SystemExit(len(failed))


if __name__ == "__main__":
    main()
