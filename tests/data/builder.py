"""Worker of test_store: builds a store as one of several machines that share a folder do.

Usage: builder.py IMAGES CACHE READ, with RANK in the environment.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from ssl_dml.data.decode import ImageDecoder
from ssl_dml.data.folders import FolderSource
from ssl_dml.data.store import build_store


class Slow(FolderSource):
    """Images that take a while, each of which is noted when it is read."""

    def read(self, index):
        """Note it, and take long enough for the others to begin."""
        with Path(sys.argv[3]).open("a") as file:
            file.write(f"{index} by {os.environ['RANK']}\n")
        time.sleep(0.3)
        return super().read(index)


def main(images, cache, _):
    """Build, and check what was built."""
    own = {"in_memory": False, "on_disk": True, "skip_damaged": False, "builder": True}
    decoder = ImageDecoder(channels=1, size=4)
    store = build_store(Slow(Path(images)), decoder, cache_dir=Path(cache), **own)
    assert store.samples[np.arange(7)][:, 0, 0, 0].tolist() == list(range(7))


if __name__ == "__main__":
    main(*sys.argv[1:])
