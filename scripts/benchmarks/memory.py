"""How much memory a piece of work needs."""

import threading
from types import TracebackType

import psutil
import torch

PAUSE = 0.02


class PeakMemory:
    """Context that watches how far this process's memory rises above where it was at entry.

    On a CPU the resident memory is sampled fifty times a second, since the system's own record is
    inherited from the parent and never falls; on an accelerator it is what torch allocated.

    Args:
        device: Where the work is done.

    Attributes:
        megabytes: The rise, once the context has ended.
    """

    megabytes: float

    def __init__(self, device: torch.device) -> None:
        self.device, self.process = device, psutil.Process()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cpu":
            self.before = self.peak = self.process.memory_info().rss
            self.thread.start()
        else:
            torch.accelerator.reset_peak_memory_stats(self.device)
            self.before = torch.accelerator.memory_allocated(self.device)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.device.type == "cpu":
            self.done.set()
            self.thread.join()
        else:
            self.peak = torch.accelerator.max_memory_allocated(self.device)
        self.megabytes = (self.peak - self.before) / 2**20

    def _watch(self) -> None:
        while not self.done.wait(PAUSE):
            self.peak = max(self.peak, self.process.memory_info().rss)
