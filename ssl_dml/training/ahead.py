"""Batches that are copied to an accelerator while the step before them runs."""

import threading
from collections.abc import Iterable, Iterator
from queue import Full, Queue
from typing import Any

import torch
from torch import Tensor

AHEAD = 2  # batches that wait on the device, beside the one that a step works on
PATIENCE_S = 0.1  # between two looks whether anybody still waits for a batch

Parts = tuple[Tensor, ...]  # samples and indices, and what stays on the host


def on_device(loader: Iterable[Parts], device: torch.device) -> Iterator[Parts]:
    """Samples and indices on a device, in the order of the loader; what follows them stays.

    Where an accelerator has streams, a thread takes batches from the loader, which may pin them,
    and a stream of its own copies them. So neither the host nor the device waits for a copy as long
    as the loader is faster than a step. Other devices get each batch when it is asked for.

    >>> batches = [(torch.tensor([1]), torch.tensor([0]))]
    >>> list(on_device(batches, torch.device("cpu")))
    [(tensor([1]), tensor([0]))]

    Args:
        loader: Samples and their indices on the host, perhaps with more of each sample.
        device: Where they are wanted.
    """
    streams = None if device.type == "cpu" else torch.get_device_module(device)
    if hasattr(streams, "Stream"):
        yield from _ahead(loader, device, streams)
        return
    for samples, indices, *more in loader:  # MPS may read unpinned memory after the call
        yield samples.to(device), indices.to(device), *more


def _ahead(loader: Iterable[Parts], device: torch.device, streams: Any) -> Iterator[Parts]:  # noqa: ANN401
    side, waiting, stopped = streams.Stream(device), Queue[Any](AHEAD), threading.Event()
    # Here, as workers must not be forked by a thread beside one that uses the device.
    batches = iter(loader)

    def fill() -> None:
        try:
            with streams.stream(side):
                for pair in batches:
                    there = [part.to(device, non_blocking=True) for part in pair[:2]]
                    arrived = streams.Event()
                    arrived.record(side)
                    if not _put(waiting, (there, pair[2:], arrived), stopped):
                        return
            _put(waiting, None, stopped)
        except BaseException as error:  # to be raised where the batch is wanted
            _put(waiting, error, stopped)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while (found := waiting.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            there, more, arrived = found
            current = streams.current_stream(device)
            current.wait_event(arrived)
            for part in there:
                part.record_stream(current)  # its memory was the other stream's
            yield *there, *more
    finally:
        stopped.set()
        thread.join()


def _put(waiting: Queue[Any], item: Any, stopped: threading.Event) -> bool:  # noqa: ANN401
    """Wait for a place; False if nobody wants batches any more."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=PATIENCE_S)
        except Full:
            continue
        return True
    return False
