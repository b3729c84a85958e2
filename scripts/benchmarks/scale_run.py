"""A run on some processes of this machine, its bytes counted: the worker of ``scale.py``."""

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.optimizer import register_optimizer_step_post_hook

from ssl_dml.backbones import PatchBackbone
from ssl_dml.backbones.norms import SplitBatchNorm, SyncBatchNorm
from ssl_dml.commands import finetune, pretrain
from ssl_dml.console import run_main
from ssl_dml.heads import MarginSoftmax
from ssl_dml.memory import MemoryBank, PartialFC, Queue
from ssl_dml.training import Finetuner, Pretrainer

SCRIPTS = Path(__file__).parents[1]
FIRST, LAST = 4, 12  # steps between which bytes are counted
BATCH = 256  # samples of a step


def run_here(
    config: str, options: Sequence[str], *, processes: int, folder: Path
) -> dict[str, Any]:
    """Train for a few steps on so many processes; what they sent and kept, and their sizes.

    Bytes are those of the loopback interface: nothing else should talk over it meanwhile.

    Args:
        config: Of the run, below ``configs``.
        options: More of its command line.
        processes: How many share the batch.
        folder: Where the run goes; it is made anew.

    Returns:
        ``sent`` and ``kept``, bytes of a process in a step and between steps, and ``size``.

    Raises:
        OSError: If the run fails, with the last line it wrote.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.NamedTemporaryFile("r", suffix=".json") as result:
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        command += ["--standalone", "-m", __name__, result.name, config.partition("/")[0]]
        command += ["--config", str(SCRIPTS.parent / "configs" / f"{config}.yaml"), *options]
        command += [f"--train.steps={LAST}", f"--data.batch_size={BATCH}", "--train.precision=no"]
        command += [f"--output_dir={folder.resolve()}"]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=SCRIPTS, env=environment
        )
        if ran.returncode:
            said = [line for line in ran.stderr.splitlines() if "rror" in line]
            raise OSError(f"{' '.join(command)}: {(said or ['exit code 1'])[0]}")
        return json.loads(result.read())


class _Counter:
    """Counts bytes of the loopback interface from one step to another, and what is kept."""

    def __init__(self, result: Path) -> None:
        self.result, self.step, self.before = result, 0, 0

    def __call__(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """After each step of the optimizer, on every process."""
        self.step += 1
        if self.step not in (FIRST, LAST):
            return
        dist.barrier()
        if dist.get_rank() == 0:
            sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
            if self.step == LAST:
                model = next(
                    found
                    for found in gc.get_objects()
                    if isinstance(found, (Pretrainer, Finetuner))
                )
                found = {
                    "sent": (sent - self.before) / (LAST - FIRST) / dist.get_world_size(),
                    "kept": _bytes_kept(model, optimizer),
                    "size": _size(model),
                }
                self.result.write_text(json.dumps(found))
            self.before = sent
        dist.barrier()


def _bytes_kept(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [p.grad for p in model.parameters() if p.grad is not None]
    for state in optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, Tensor)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _size(model: nn.Module) -> dict[str, int]:
    """Sizes of what is trained, in the words of ``scale.Size``."""
    parts = {name: part for name, part in model.named_modules() if "key_" not in name}

    def of(kind: type) -> Any:  # noqa: ANN401 - one module of any kind
        return next((part for part in parts.values() if isinstance(part, kind)), None)

    bank, queue, classes, patches = of(MemoryBank), of(Queue), of(PartialFC), of(PatchBackbone)
    norms = [
        p for p in parts.values() if isinstance(p, (SyncBatchNorm, SplitBatchNorm, _BatchNorm))
    ]
    weights = {id(p) for p in classes.parameters()} if classes else set[int]()
    method: Any = getattr(model, "method", None)
    loss = getattr(method, "negatives", 0)
    dim = next(p.out_features for p in reversed(list(parts.values())) if isinstance(p, nn.Linear))
    return {
        "processes": dist.get_world_size(),
        "batch": BATCH // dist.get_world_size(),
        "parameters": sum(
            p.numel() for p in model.parameters() if p.requires_grad and id(p) not in weights
        ),
        "channels": sum(len(norm.running_mean) for norm in norms if norm.running_mean is not None),
        "sample": 28 * 28,
        "dim": dim,
        "rows": len(bank) if bank else 0,
        "queue": len(queue.keys) if queue else 0,
        "negatives": loss if isinstance(loss, int) else 0,
        "classes": len(classes) if classes else 0,
        "sampled": round(_sampled(parts, len(classes))) if classes else 0,
        "grid": 9 * patches.feature_dim if patches else 0,
    }


def _sampled(parts: dict[str, nn.Module], classes: int) -> float:
    """Expected number of classes of a step: a fraction, and those of the batch."""
    head = next(part for part in parts.values() if isinstance(part, MarginSoftmax))
    return classes * (1 - (1 - head.sample_rate) * (1 - 1 / classes) ** BATCH)


def main() -> None:
    """Train as the command line says, and count."""
    result, kind, *rest = sys.argv[1:]
    register_optimizer_step_post_hook(_Counter(Path(result)))
    {"pretrain": pretrain.main, "finetune": finetune.main}[kind](rest)


if __name__ == "__main__":
    run_main(main)
