"""Workers whose work an executor does: the Master alone holds the weights, and no array is shared."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import Any

from pgref.arrays import Vector
from pgref.asynchronous.rounds import PAUSE, Driver, Ran, Rounds, failure, merged, watch
from pgref.errors import WorkerDied


def run(
    executor: Executor,
    n_workers: int,
    begin: Callable[[int], Rounds],
    segments: int,
    pushed: Vector,
    timeout: float,
) -> Ran:
    """Keep every worker at work until so many rounds are done, and push each result as it comes.

    Of workers that are found done together the one with the lowest index goes first. After an error, work
    that has not begun is cancelled; what has begun cannot be stopped, and its result goes nowhere.

    Raises:
        WorkerError: a worker raised; its own exception is the cause.
        WorkerDied: the executor lost its processes.
        WorkerTimeout: a worker has not answered for `timeout` seconds.
    """
    clock, tickets = itertools.count().__next__, iter(range(segments))
    drivers = [Driver(begin(i), clock) for i in range(n_workers)]
    look = watch(n_workers, timeout)
    waiting: dict[int, Future[Any]] = {}

    def give(i: int) -> None:
        if next(tickets, None) is not None:
            waiting[i] = _told(i, executor.submit, drivers[i].fetch())

    try:
        for i in range(n_workers):
            give(i)
        while waiting:
            look(pushed, waiting)
            wait(waiting.values(), min(PAUSE, timeout / 4), FIRST_COMPLETED)
            for i in sorted(i for i, future in waiting.items() if future.done()):
                _told(i, drivers[i].push, _told(i, waiting.pop(i).result))
                give(i)
    finally:
        for future in waiting.values():
            future.cancel()
    return merged([driver.log for driver in drivers])


def _told(worker: int, ask: Callable[..., Any], *args: Any) -> Any:
    """Return what the executor says when it is asked."""
    try:
        return ask(*args)
    except BrokenExecutor as error:
        raise WorkerDied(f"worker {worker} died: {error}") from error
    except Exception as error:
        raise failure(worker, error) from error
