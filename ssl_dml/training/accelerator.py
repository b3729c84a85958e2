"""What the machine is good at."""

import os
import sys
import warnings
from datetime import timedelta
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, set_seed

from ssl_dml.config import ConfigError
from ssl_dml.cores import keep_memory, own_cores
from ssl_dml.training.loop import TrainConfig
from ssl_dml.training.splitting import check_launch, unasked

Precision = Literal["no", "bf16", "fp16"]


def make_accelerator(config: TrainConfig, *, seed: int) -> Accelerator:
    """Processes, device, precision, threads and seed of a run.

    Every process is seeded alike, so that models are built alike.
    """
    _warn_of_a_single_process()
    if config.precision == "fp16" and not torch.accelerator.is_available():
        raise ConfigError("train.precision fp16 needs an accelerator; use bf16, no or auto")
    precision = choose_precision(config.precision)
    check_launch(config, precision)
    AcceleratorState._reset_state()  # an earlier run of this process may have had another precision
    # Methods keep their buffers equal themselves; DDP would send a bank at every step, and at the
    # start too by what torch's warning asks for.
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
    patience = InitProcessGroupKwargs(timeout=timedelta(minutes=config.timeout_minutes))
    with unasked():  # for FSDP, which splits the encoders only
        accelerator = Accelerator(
            # Without this, processes on a machine without an accelerator would not find each other.
            cpu=not torch.accelerator.is_available(),
            mixed_precision=precision,
            gradient_accumulation_steps=config.accumulation,
            kwargs_handlers=[ddp, patience],
        )
    use_processor(config.threads)
    torch.backends.cudnn.benchmark = not config.deterministic
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    set_seed(seed)
    return accelerator


def use_processor(wanted: int | None) -> None:
    """Share a machine's cores among the processes on it; ``wanted`` threads each if it is given.

    What tensors free is kept for the next ones, see :func:`~ssl_dml.cores.keep_memory`.

    The launcher allows a single thread unless it is told otherwise. Beside an accelerator too the
    processor searches, decodes and measures.
    """
    torch.set_num_threads(wanted or own_cores())
    keep_memory()


def choose_precision(wanted: Literal["auto", "no", "bf16", "fp16"]) -> Precision:
    """What ``auto`` means here: the launcher's choice, else bf16 where it is native."""
    if wanted != "auto":
        return wanted
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched in ("bf16", "fp16"):
        return launched
    return "bf16" if _has_native_bf16() else "no"


def _has_native_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available():
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _warn_of_a_single_process() -> None:
    """On a CPU the launcher starts one process, whatever --num_processes says."""
    if "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        print(
            "warning: the launcher was asked for several processes and started one; on a CPU use "
            "accelerate launch --multi_gpu --num_processes N, without --cpu",
            file=sys.stderr,
        )
