"""The best a run has been."""

from typing import Any, final


@final
class Best:
    """Remembers the highest value of a measurement, and the step it was found at.

    Args:
        name: Of the measurement.
    """

    def __init__(self, name: str) -> None:
        self.name, self.value, self.step = name, float("-inf"), 0

    def improved(self, measured: dict[str, float], step: int) -> bool:
        """Whether this is higher than all before; it is then remembered."""
        if measured[self.name] <= self.value:
            return False
        self.value, self.step = measured[self.name], step
        return True

    def state_dict(self) -> dict[str, Any]:
        """Value and step."""
        return {"value": self.value, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take value and step of a checkpoint."""
        self.value, self.step = state_dict["value"], state_dict["step"]
