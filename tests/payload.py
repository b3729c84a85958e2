"""A pickle that would run code."""

from pathlib import Path


class Payload:
    """Touches a file when it is unpickled.

    Args:
        marker: The file.
    """

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)
