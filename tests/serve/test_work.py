"""Threads with a queue that is never longer than was said."""

import asyncio
import threading

import pytest

from ssl_dml.serve.work import BusyError, Workers


def test_no_more_work_at_once_than_there_are_threads():
    workers, lock, now, most = Workers(2, 8), threading.Lock(), 0, 0

    def work(gate):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.wait(0.02)
        with lock:
            now -= 1

    async def run():
        gate = threading.Event()
        await asyncio.gather(*(workers.run(work, gate) for _ in range(8)))

    asyncio.run(run())
    assert most == 2


def test_who_finds_no_place_is_told_at_once_and_a_place_is_free_again():
    workers = Workers(1, 2)
    with workers.place(), workers.place(), pytest.raises(BusyError), workers.place():
        pass
    with pytest.raises(KeyError), workers.place():
        raise KeyError
    with workers.place(), workers.place():
        pass


def test_a_function_that_raises_is_told_to_who_asked():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Workers(1, 1).run(lambda: 1 / 0))
