"""Worker of test_ahead: batches copied ahead of the steps, on the pretend device."""

import threading
import time

import pretend
import torch

from ssl_dml.training.ahead import AHEAD, on_device

COUNT = 40


def host(taken, fail_at=None):
    """Batches whose numbers say which they are; ``taken`` learns of each that is asked for."""
    for i in range(COUNT):
        taken.append((i, threading.current_thread()))
        if i == fail_at:
            raise OSError("the disk is gone")
        yield torch.full((3, 2), i), torch.tensor([i, i + 1])


def settled(taken):
    """How many were taken once the thread waits."""
    while True:
        before = len(taken)
        time.sleep(0.3)
        if len(taken) == before:
            return before


def exact(device):
    """All come once, in order, and are waited for in the stream that uses them."""
    taken, stream, found = [], pretend.Stream.current(), 0
    with pretend.counted() as counts:
        for samples, indices in on_device(host(taken), device):
            assert samples.device == indices.device == device
            assert samples.numbers.tolist() == [[found] * 2] * 3
            assert indices.numbers.tolist() == [found, found + 1]
            event = stream.waited[-1]
            assert len(stream.waited) == found + 1
            assert event.stream is not stream, "it was copied in another stream"
            assert samples.used_by is indices.used_by is stream
            found += 1
        assert not counts.waits
    assert found == COUNT
    assert {thread for _, thread in taken} != {threading.main_thread()}


def bounded(device):
    """No more are read than fit, and the thread ends with whoever takes them."""
    taken, threads = [], threading.active_count()
    batches = on_device(host(taken), device)
    next(batches)
    assert threading.active_count() == threads + 1
    # One is in use, some wait, and one more waits for a place.
    assert settled(taken) == 1 + AHEAD + 1
    batches.close()
    assert threading.active_count() == threads


def failing(device):
    """What the loader raises arrives after the batches before it."""
    found = []
    try:
        for samples, _ in on_device(host([], fail_at=3), device):
            found.append(int(samples.numbers[0, 0]))
    except OSError as error:
        assert str(error) == "the disk is gone"
        assert found == [0, 1, 2]
        return
    raise AssertionError("it was not raised")


def main():
    """Rehearse on a device with streams, then on one without."""
    pretend.install()
    device = torch.device(pretend.NAME, 0)
    exact(device)
    bounded(device)
    failing(device)
    pretend.without_streams()
    found = [(s.numbers[0, 0].item(), i.numbers.tolist()) for s, i in on_device(host([]), device)]
    assert found == [(i, [i, i + 1]) for i in range(COUNT)]


if __name__ == "__main__":
    main()
