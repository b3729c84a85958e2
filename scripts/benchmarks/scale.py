"""What each method sends and keeps on W accelerators: a small model, and the same measured here."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.scale_run import BATCH, run_here

FLOAT, LONG = 4, 8  # bytes of a number
ONE_MACHINE, MOST = 8, 4096  # accelerators
RATE = 0.25  # of the classes that the check samples


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of a run.

    Args:
        processes: W.
        batch: Samples of a process.
        parameters: Trained numbers, without class weights that do not go through DDP.
        channels: Channels of all batch norms of a network.
        sample: Numbers of a view.
        dim: Dimension of an embedding.
        rows: Rows of a memory bank.
        queue: Keys of a queue.
        negatives: Negatives of a sample.
        classes: Classes.
        sampled: Classes of a step where they are sampled.
        grid: Numbers that CPC compares, of a sample.
    """

    processes: int
    batch: int
    parameters: int
    channels: int
    sample: int
    dim: int
    rows: int
    queue: int
    negatives: int
    classes: int
    sampled: int
    grid: int

    @property
    def all(self) -> int:
        """Samples of a step."""
        return self.processes * self.batch

    def reduce(self, numbers: float) -> float:
        """Bytes that a process sends in a ring's all-reduce of so many numbers."""
        return 2 * (self.processes - 1) / self.processes * FLOAT * numbers

    def gather(self, numbers: float) -> float:
        """Bytes that it sends in a ring's all-gather, each process having so many numbers."""
        return (self.processes - 1) * FLOAT * numbers

    def ask(self, rows: float) -> float:
        """Bytes of asking for rows of a bank that is split, and of answering."""
        return (self.processes - 1) / self.processes * rows * (LONG + FLOAT * self.dim)

    def ring(self, rows: float, *, learned: bool = True) -> float:
        """Bytes of keys that go round a ring, forward and back; with gradients if they learn."""
        turns = self.processes - 1
        return (2 * turns + learned * self.processes) * FLOAT * rows * self.dim

    def norms(self, trained: int, followed: int = 0) -> float:
        """Batch norm over all processes: sums forward, and back where the network learns."""
        return self.reduce(2 * self.channels * (2 * trained + followed))


class Method(NamedTuple):
    """How a method is run here, and what it costs.

    Attributes:
        config: Its configuration, below ``configs``.
        options: More of the command line.
        sent: Bytes that a process sends in a step beside the gradients of its parameters.
        kept: Numbers that it keeps beside parameters, gradients and momentum.
        whole: Whether class weights are parameters like others.
        moments: Numbers that the optimizer keeps of each parameter.
    """

    config: str
    options: tuple[str, ...]
    sent: Callable[[Size], float]
    kept: Callable[[Size], float] = lambda _: 0
    whole: bool = False
    moments: int = 1


def _bank_update(size: Size) -> float:
    return size.gather(size.batch * (size.dim + LONG / FLOAT))


def _moco(size: Size) -> float:
    # Keys are encoded in another order than queries, so views travel too.
    return size.gather(size.batch * (size.sample + size.dim)) + size.reduce(4 * size.channels)


def _arcface(size: Size) -> float:
    return size.gather(size.batch * (LONG / FLOAT + 2)) + size.norms(1)


def _split(size: Size) -> float:
    # Embeddings go to all and their gradients come back; of each sample a few sums.
    return _bank_update(size) + size.reduce(size.all * (size.dim + 7)) + size.norms(1)


def _cpc(size: Size) -> float:
    return size.gather(size.batch * size.grid) + size.reduce(size.all * size.grid)


METHODS = {
    "SimCLR, DCL": Method("pretrain/default", (), lambda s: s.ring(2 * s.batch) + s.norms(1)),
    "MoCo v2": Method(
        "pretrain/moco_v2",
        ("--method.init_args.symmetric=false",),
        _moco,
        lambda s: s.parameters + s.queue * s.dim,
    ),
    "MoCo v3": Method(
        "pretrain/moco_v3",
        (),
        lambda s: 2 * s.ring(s.batch, learned=False) + s.norms(2, 2),
        lambda s: s.parameters,
    ),
    "NNCLR": Method(
        "pretrain/nnclr",
        (),
        lambda s: 2 * s.ring(s.batch) + s.gather(s.batch * s.dim) + s.norms(2),
        lambda s: s.queue * s.dim,
    ),
    "NPID": Method(
        "pretrain/npid", (), lambda s: _bank_update(s) + s.norms(1), lambda s: s.rows * s.dim
    ),
    "NPID, bank split": Method(
        "pretrain/npid",
        ("--method.init_args.storage.sharded=true", "--method.init_args.draw_for=sample"),
        lambda s: _bank_update(s) + s.norms(1) + s.ask(s.batch * (s.negatives + 2)),
        lambda s: s.rows * s.dim / s.processes,
    ),
    "PIRL": Method(
        "pretrain/pirl", (), lambda s: _bank_update(s) + s.norms(2), lambda s: s.rows * s.dim
    ),
    "CPC": Method("pretrain/cpc_images", (), _cpc, moments=2),
    "ArcFace": Method("finetune/arcface", (), _arcface, whole=True),
    "ArcFace, classes sampled": Method(
        "finetune/arcface",
        (f"--head.init_args.sample_rate={RATE}",),
        lambda s: _arcface(s) + s.reduce(s.sampled * s.dim),
        lambda s: 2 * s.classes * s.dim,
    ),
    "ArcFace, classes split": Method(
        "finetune/arcface",
        ("--head.init_args.sharded=true",),
        _split,
        lambda s: 2 * s.classes * s.dim / s.processes,
    ),
}


class Cost(NamedTuple):
    """Bytes that a process sends in a step, and that it keeps between steps."""

    sent: float
    kept: float


def cost(method: Method, size: Size) -> Cost:
    """What the model says of a method.

    Weights, gradients and what the optimizer has are kept of each parameter. Activations are not
    counted: they depend on the network and the batch of a process, and not on the number of
    processes.
    """
    weights = size.parameters + (size.classes * size.dim if method.whole else 0)
    return Cost(
        size.reduce(weights) + method.sent(size),
        FLOAT * ((2 + method.moments) * weights + method.kept(size)),
    )


def scale_table(
    *,
    batch: int = 128,
    step: float = 0.1,
    inside: float = 300.0,
    between: float = 25.0,
    parameters: int = 28_000_000,
    rows: int = 1_281_167,
    classes: int = 1_000_000,
    check: Sequence[int] = (2, 4),
    folder: Path = Path("runs/scale"),
) -> None:
    """Print what each method sends and keeps on 8 and 64 accelerators, and what was measured here.

    A method stops scaling where it sends for longer than it computes: up to 8 accelerators over
    ``inside``, beyond over ``between``. What overlaps is not taken off.

    Args:
        batch: Samples of an accelerator.
        step: Seconds that it computes in a step.
        inside: Gigabytes a second that an accelerator sends within a machine.
        between: The same between machines.
        parameters: Numbers of the network with projector; the default is ResNet-50's.
        rows: Samples of the data set.
        classes: Classes that ArcFace tells apart.
        check: Numbers of processes of this machine on which the model is checked; empty for none.
        folder: Where runs of the check and ``table.json`` go.

    Raises:
        OSError: If a run of the check fails.
    """
    small = Size(
        processes=8, batch=batch, parameters=parameters, channels=26_560, sample=3 * 224**2,
        dim=128, rows=rows, queue=65_536, negatives=4096, classes=classes,
        sampled=classes // 10, grid=49 * 1024,
    )  # fmt: skip
    found: dict[str, Any] = {}
    print(f"{'':26} {'MB sent a step':>23} {'exponent':>9} {'GB kept':>17} {'scales':>9}")
    print(f"{'accelerators':26} {8:11} {64:11} {'':9} {8:8} {64:8} {'to':>9}")
    for name, method in METHODS.items():
        given = replace(small, dim=512) if "ArcFace" in name else small
        few, many = (cost(method, replace(given, processes=count)) for count in (8, 64))
        last = _scales_to(method, given, step=step, inside=inside, between=between)
        exponent = math.log(many.sent / few.sent, 8)
        found[name] = {"8": few._asdict(), "64": many._asdict(), "scales_to": last}
        shown = f"{last:,}" if last < MOST else "beyond"
        print(
            f"{name:26} {few.sent / 1e6:11,.0f} {many.sent / 1e6:11,.0f} {exponent:9.2f} "
            f"{few.kept / 1e9:8.2f} {many.kept / 1e9:8.2f} {shown:>9}"
        )
    for count in check:
        print(f"\n{count} processes here, batches of {BATCH} over all of them")
        print(f"{'':26} {'MB sent':>10} {'model':>10} {'MB kept':>10} {'model':>10}")
        for name, method in METHODS.items():
            seen = run_here(method.config, method.options, processes=count, folder=folder / "run")
            real, model = Cost(seen["sent"], seen["kept"]), cost(method, Size(**seen["size"]))
            found[name][f"measured on {count}"] = {
                "real": real._asdict(),
                "model": model._asdict(),
            }
            values = (real.sent, model.sent, real.kept, model.kept)
            print(f"{name:26} " + " ".join(f"{value / 1e6:10.2f}" for value in values), flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps(found, indent=1))


def _scales_to(method: Method, size: Size, *, step: float, inside: float, between: float) -> int:
    """The most accelerators, a power of two, that compute for longer than they send."""
    count = 1
    while count < MOST:
        speed = inside if 2 * count <= ONE_MACHINE else between
        if cost(method, replace(size, processes=2 * count)).sent > step * speed * 1e9:
            break
        count *= 2
    return count
