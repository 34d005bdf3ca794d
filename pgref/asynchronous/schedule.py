"""Interleavings of fetches and pushes: drawn, checked, and run in one thread, the same bits every time.

A schedule is [2n] workers, one for each event; the events of a worker are fetch and push in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from pgref.arrays import Vector, as_array, count
from pgref.asynchronous.rounds import Driver, Ran, Rounds, failure, merged
from pgref.asynchrony import Service, service_times
from pgref.errors import ArgumentError


def draw_schedule(
    n_workers: int,
    segments: int,
    rng: np.random.Generator,
    service: Service = lambda rng, size: rng.exponential(size=size),
) -> Vector:
    """Return the interleaving [2n] of M workers whose n rounds take i.i.d. random times (Note 5.2).

    All fetch at time 0. Who is done pushes and at once fetches again, until n fetches were made; of workers
    that finish together the one with the lowest index goes first.

    Raises:
        ArgumentError: a count below 1, or service times of another shape or not positive.

    >>> draw_schedule(2, 3, np.random.default_rng(0), lambda rng, size: np.ones(size))
    array([0, 1, 0, 0, 1, 0])
    """
    m, n = count("n_workers", n_workers), count("segments", segments)
    served = service_times(service, rng, (m + n, 1))[:, 0]
    order, finish = list(range(min(m, n))), np.where(np.arange(m) < n, served[:m], np.inf)
    for t in range(n):
        i = int(finish.argmin())
        order += [i, i] if m + t < n else [i]
        finish[i] = finish[i] + served[m + t] if m + t < n else np.inf
    return np.array(order)


def check_schedule(schedule: Any, n_workers: int) -> Vector:
    """Return a schedule as an array [2n].

    Raises:
        ArgumentError, ArgumentTypeError: not workers below `n_workers`, or a fetch without its push.
    """
    order = as_array("schedule", schedule, (None,), "i")
    if not order.size or order.min() < 0 or order.max() >= n_workers:
        raise ArgumentError(f"schedule must name workers from 0 to {n_workers - 1}, got {order}")
    odd = np.flatnonzero(np.bincount(order) % 2)
    if odd.size:
        raise ArgumentError(f"schedule must let worker {odd[0]} push what it fetched last, got no such event")
    return order


def run_schedule(schedule: Any, n_workers: int, begin: Callable[[int], Rounds]) -> Ran:
    """Resume the workers in the order of a schedule, in this thread.

    Raises:
        ArgumentError, ArgumentTypeError: what `check_schedule` refuses.
        WorkerError: a worker raised; its own exception is the cause.
    """
    clock = itertools.count().__next__
    drivers = [Driver(begin(i), clock) for i in range(n_workers)]
    works: dict[int, Callable[[], Any]] = {}  # of those who have fetched and not yet pushed
    for i in check_schedule(schedule, n_workers).tolist():
        try:
            if i in works:
                drivers[i].push(works.pop(i)())
            else:
                works[i] = drivers[i].fetch()
        except Exception as error:
            raise failure(i, error) from error
    return merged([driver.log for driver in drivers])
