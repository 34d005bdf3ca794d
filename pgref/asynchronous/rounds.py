"""One worker's rounds, as every backend drives them, and what they leave behind, put in order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pgref.arrays import Vector
from pgref.errors import WorkerError, WorkerTimeout

Rounds: TypeAlias = Generator[Any, Any, None]  # see the package
Watch: TypeAlias = Callable[[Vector, Collection[int]], None]

PAUSE = 0.05  # s between two looks at the workers


class Log(NamedTuple):
    """What one worker leaves behind."""

    spans: list[tuple[int, int]]  # start and end of each fetch and each push in turn, on one clock for all
    reports: list[Any]  # one a round
    where: Any  # where the worker stands; None if it did no round


class Ran(NamedTuple):
    """What all workers together have done."""

    order: Vector  # [2n] the worker of each fetch and push, in the order in which they ended
    overlaps: int  # fetches and pushes that began before another worker's had ended
    reports: list[Any]  # [n] in the order of the pushes
    where: list[Any]  # [M]


class Driver:
    """A worker's rounds, resumed from stop to stop, and their log."""

    def __init__(self, rounds: Rounds, clock: Callable[[], int]) -> None:
        self._rounds, self._clock = rounds, clock
        self.log = Log([], [], None)

    def fetch(self) -> Callable[[], Any]:
        """Let the worker fetch; return the work to do."""
        start = self._clock()
        work: Callable[[], Any] = next(self._rounds)
        self.log.spans.append((start, self._clock()))
        return work

    def push(self, done: Any) -> None:
        """Let the worker push what its work has returned."""
        start = self._clock()
        where, report = self._rounds.send(done)
        self.log.spans.append((start, self._clock()))
        self.log.reports.append(report)
        self.log = self.log._replace(where=where)


def follow(rounds: Rounds, take: Callable[[], bool]) -> Log:
    """Drive a worker for as long as there is another round to take, by a clock that all processes share."""
    driver = Driver(rounds, time.perf_counter_ns)
    while take():
        driver.push(driver.fetch()())
    return driver.log


def merged(logs: list[Log]) -> Ran:
    """Return what all workers have done, in the order of their ends."""
    events = sorted(
        (end, i, k, start) for i, log in enumerate(logs) for k, (start, end) in enumerate(log.spans)
    )
    order = np.array([i for _, i, _, _ in events], np.int64)
    reports = [logs[i].reports[k // 2] for _, i, k, _ in events if k % 2]
    begun = sorted((start, end) for end, _, _, start in events)
    latest = itertools.accumulate((end for _, end in begun), max)
    overlaps = sum(start < before for (start, _), before in zip(begun[1:], latest, strict=False))
    return Ran(order, overlaps, reports, [log.where for log in logs])


def staleness(order: Vector) -> Vector:
    """Return how many pushes of others came between each push, in order, and its own fetch, [n].

    `order` [2n] names the worker of each event; a worker's events are fetch and push in turn.
    """
    pushes, stale = 0, []
    fetched: dict[int, int] = {}
    for i in order.tolist():
        if i in fetched:
            stale.append(pushes - fetched.pop(i))
            pushes += 1
        else:
            fetched[i] = pushes
    return np.array(stale, np.int64)


def watch(n_workers: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> Watch:
    """Return (pushed [M], whom to wait for) ↦ nothing, to be called again and again.

    It raises WorkerTimeout once one of those it waits for has pushed nothing for so many seconds.
    """
    last, since = [-1] * n_workers, [clock()] * n_workers

    def look(pushed: Vector, waiting: Collection[int]) -> None:
        now = clock()
        for i in waiting:
            if pushed[i] != last[i]:
                last[i], since[i] = int(pushed[i]), now
            elif now - since[i] > seconds:
                raise WorkerTimeout(f"worker {i} has pushed nothing for {seconds:g} s")

    return look


def failure(worker: int, error: BaseException) -> WorkerError:
    """Return the error to raise from a worker's own."""
    return WorkerError(f"worker {worker} failed: {type(error).__name__}: {error}")


def one_blas_thread(n_workers: int) -> AbstractContextManager[Any]:
    """Return the context in which a matrix product takes one thread, if several workers compete for cores.

    Without threadpoolctl nothing changes: set OPENBLAS_NUM_THREADS=1 before NumPy loads.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return nullcontext()
    return threadpool_limits(1) if n_workers > 1 else nullcontext()
