import mmap
import time

import torch
from benchmarks.memory import PeakMemory

SIZE = 80_000_000


def test_sees_what_is_held_and_let_go_again():
    with PeakMemory(torch.device("cpu")) as memory:
        # Not by torch, which may find room in what earlier work has let go.
        held = mmap.mmap(-1, SIZE)
        for place in range(0, SIZE, mmap.PAGESIZE):
            held[place] = 1  # written, so that it is resident
        time.sleep(0.5)  # on a busy machine the watcher has its turn seldom
        held.close()
    assert 70 < memory.megabytes < 120


def test_nothing_is_little():
    with PeakMemory(torch.device("cpu")) as memory:
        time.sleep(0.05)
    assert memory.megabytes < 5
