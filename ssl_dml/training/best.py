"""The best a run has been."""

from typing import Any, final


@final
class Best:
    """Remembers the best value of a measurement, and the step it was found at.

    Args:
        name: Of the measurement.
        lowest: Whether less is better.
    """

    def __init__(self, name: str, *, lowest: bool = False) -> None:
        self.name, self.lowest, self.step = name, lowest, 0
        self.value = float("inf") if lowest else float("-inf")

    def improved(self, measured: dict[str, float], step: int) -> bool:
        """Whether this is better than all before; it is then remembered."""
        value = measured[self.name]
        better = value < self.value if self.lowest else value > self.value
        if better:
            self.value, self.step = value, step
        return better

    def state_dict(self) -> dict[str, Any]:
        """Value and step."""
        return {"value": self.value, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take value and step of a checkpoint."""
        self.value, self.step = state_dict["value"], state_dict["step"]
