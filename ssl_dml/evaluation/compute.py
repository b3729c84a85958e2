"""Where searches and classifiers are computed: on which device, by which processes."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ssl_dml.types import SINGLE_PROCESS, ProcessGroup

CPU: Final = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A device, and the processes that share the work.

    Every process of the group calls with the same tables, which stay on the CPU, does its share
    and gets the whole result.

    Args:
        device: Where products are computed.
        group: The processes.

    >>> ONE_PROCESS.share, ONE_PROCESS.device
    (slice(0, None, 1), device(type='cpu'))
    """

    device: torch.device = CPU
    group: ProcessGroup = SINGLE_PROCESS

    @property
    def share(self) -> slice:
        """Of a list of tasks, those of this process."""
        return slice(self.group.rank, None, self.group.count)

    @property
    def precise(self) -> torch.device:
        """The device, or the CPU if the device has no float64."""
        try:
            return torch.zeros(1, dtype=torch.double, device=self.device).device
        except TypeError:
            return CPU

    def whole(self, values: Tensor) -> Tensor:
        """The values of all processes, each of which has 0 outside its share.

        >>> ONE_PROCESS.whole(torch.tensor([True, False]))
        tensor([ True, False])
        """
        if self.group.count == 1:
            return values
        numbers = values.byte() if values.dtype == torch.bool else values
        return self.group.all_reduce_sum(numbers.to(self.device)).to("cpu", values.dtype)


ONE_PROCESS: Final = Compute()
