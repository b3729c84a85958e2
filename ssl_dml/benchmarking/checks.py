"""The ten checks."""

from ssl_dml.benchmarking.numerics import check_losses, check_methods
from ssl_dml.benchmarking.running import Check
from ssl_dml.benchmarking.runs import (
    check_group,
    check_precisions,
    check_quick_start,
    check_resume,
)
from ssl_dml.benchmarking.speed import check_memory, check_throughput, check_tiles
from ssl_dml.benchmarking.steps import check_waits

CHECKS = {
    1: Check("losses, miners, margins and heads beside the CPU, float32", check_losses),
    2: Check("two steps of ten methods, and augmentation, beside the CPU", check_methods),
    3: Check("runs in bf16 and fp16", check_precisions),
    4: Check("no wait for the device in a steady step", check_waits),
    5: Check("resumed and repeated runs, bit for bit", check_resume),
    6: Check("quick start, fine-tuning and evaluations", check_quick_start),
    7: Check("throughput at 224 px beside the bare network", check_throughput),
    8: Check("memory in chunks", check_memory),
    9: Check("NT-Xent in tiles beside the whole matrix", check_tiles),
    10: Check("a process group", check_group),
}
