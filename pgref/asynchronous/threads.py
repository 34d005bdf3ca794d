"""Workers as threads of this process. Under the GIL they take turns; what they race for is real."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from pgref.arrays import Vector
from pgref.asynchronous.rounds import PAUSE, Ran, Rounds, failure, follow, merged, one_blas_thread, watch

PATIENCE = 0.8  # s for workers to end their round after one has failed, or after Ctrl-C


class CannotStart(Exception):
    """This platform, or its limits, give no more threads; nothing has been done."""


def run(n_workers: int, begin: Callable[[int], Rounds], segments: int, pushed: Vector, timeout: float) -> Ran:
    """Run so many rounds in threads, handed out one by one to whoever is ready; wait for the end.

    A thread cannot be killed. After an exception, a timeout or Ctrl-C every worker ends at its next push; one
    that does not get there in `PATIENCE` seconds is left behind as a daemon, which lets the interpreter exit.

    Raises:
        CannotStart: a thread could not be started, and all others have ended.
        WorkerError: a worker raised; its own exception is the cause.
        WorkerTimeout: a worker has pushed nothing for `timeout` seconds.
    """
    stop, tickets = threading.Event(), threading.Semaphore(segments)
    ends: SimpleQueue[tuple[int, Any]] = SimpleQueue()  # worker, its log or its exception

    def body(i: int) -> None:
        try:
            ends.put((i, follow(begin(i), lambda: not stop.is_set() and tickets.acquire(blocking=False))))
        except BaseException as error:
            ends.put((i, error))

    threads = [
        threading.Thread(target=body, args=(i,), name=f"worker {i}", daemon=True) for i in range(n_workers)
    ]
    started: list[threading.Thread] = []
    with one_blas_thread(n_workers):
        try:
            for thread in threads:
                started.append(thread)
                _start(thread)
            return _await(n_workers, ends, pushed, timeout)
        finally:
            stop.set()
            end = time.monotonic() + PATIENCE
            for thread in started:
                if thread.ident is not None:
                    thread.join(max(end - time.monotonic(), 0))


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise CannotStart from error


def _await(n_workers: int, ends: SimpleQueue[tuple[int, Any]], pushed: Vector, timeout: float) -> Ran:
    """Return what the workers did, once all have ended."""
    logs: dict[int, Any] = {}
    look = watch(n_workers, timeout)
    while len(logs) < n_workers:
        look(pushed, [i for i in range(n_workers) if i not in logs])
        try:
            i, end = ends.get(timeout=min(PAUSE, timeout / 4))
        except Empty:
            continue
        if isinstance(end, BaseException):
            raise failure(i, end) from end
        logs[i] = end
    return merged([logs[i] for i in range(n_workers)])
