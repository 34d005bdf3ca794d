"""Workers as processes that share memory: they run in parallel, and so do their races."""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple, TypeAlias

from pgref.arrays import Vector
from pgref.asynchronous.rounds import PAUSE, Ran, Rounds, failure, follow, merged, one_blas_thread, watch
from pgref.asynchronous.shared import Shared, laid_out, n_bytes, write
from pgref.errors import WorkerDied, WorkerError

START = 60.0  # s for a process to start and import what it needs
PATIENCE = 0.5  # s for processes to end by themselves before they are killed

Make: TypeAlias = Callable[[Shared, int, Any], Rounds]  # arrays, worker, job ↦ rounds; it can be pickled
Run: TypeAlias = Callable[[Shared, Any, int], Ran]  # arrays to change, a job for all workers, rounds in all


class Hand(NamedTuple):
    """A process, and our end of the pipe to it."""

    process: BaseProcess
    pipe: Connection


class Failed(NamedTuple):
    """What a worker sends instead of its log."""

    error: Exception | None  # None if it cannot be pickled
    summary: str
    trace: str


@contextmanager
def workers(make: Make, blank: Shared, n_workers: int, timeout: float) -> Iterator[Run]:
    """Start processes that wait for jobs; end them, and free the memory that they share, whatever happens.

    They are spawned, never forked, so a script that calls this must do so under `__name__ == "__main__"`.
    An update that fails ends them too.

    Raises:
        WorkerError: a process cannot be started or given its job, or a worker raised, with its traceback.
        WorkerDied: a process ended without an answer; the message has its exit code.
        WorkerTimeout: a worker has pushed nothing for `timeout` seconds, or takes longer than 60 to start.
    """
    context = get_context("spawn")
    tickets = context.Value("q", 0)
    with ExitStack() as stack:
        name = f"pgref-{os.getpid()}-{secrets.token_hex(4)}"  # says whose it is, should it ever be left
        memory = SharedMemory(name, create=True, size=n_bytes(blank))
        stack.callback(_free, memory)
        hands: list[Hand] = []
        stack.callback(_end, hands, tickets)
        with _interrupts_held():
            for i in range(n_workers):
                ours, theirs = context.Pipe()
                args = (theirs, memory.name, blank, tickets, make, i, n_workers)
                process = context.Process(target=serve, args=args, name=f"worker {i}", daemon=True)
                _give(i, process.start)
                theirs.close()  # so that the pipe ends when the process does
                hands.append(Hand(process, ours))
        _answers(hands, max(timeout, START), lambda: blank.pushed)

        def run(shared: Shared, job: Any, segments: int) -> Ran:
            try:
                write(laid_out(blank, memory.buf), shared)
                tickets.value = segments
                for i, hand in enumerate(hands):
                    _give(i, hand.pipe.send, job)
                logs = _answers(hands, timeout, lambda: laid_out(blank, memory.buf).pushed.copy())
                write(shared, laid_out(blank, memory.buf))
            except BaseException:
                _end(hands, tickets)
                raise
            return merged(logs)

        yield run


def serve(
    pipe: Connection, name: str, blank: Shared, tickets: Any, make: Make, i: int, n_workers: int
) -> None:
    """Do the jobs that come through the pipe until it ends: what runs in a worker's process."""
    memory = SharedMemory(name=name)
    try:
        with one_blas_thread(n_workers):
            pipe.send_bytes(pickle.dumps(None))  # started
            while True:
                job = pipe.recv()
                pipe.send_bytes(_answer(make, laid_out(blank, memory.buf), i, job, tickets))
    except (EOFError, OSError):  # nobody is at the other end any more
        pass
    finally:
        memory.close()


def _answer(make: Make, shared: Shared, i: int, job: Any, tickets: Any) -> bytes:
    """Return the log of a worker's rounds, or what went wrong, as bytes to send."""
    try:
        return pickle.dumps(follow(make(shared, i, job), lambda: _take(tickets)))
    except Exception as error:
        summary, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return pickle.dumps(Failed(None, summary, trace))
        return pickle.dumps(Failed(error, summary, trace))


def _take(tickets: Any) -> bool:
    with tickets.get_lock():
        tickets.value -= 1
        return bool(tickets.value >= 0)


def _give(i: int, function: Callable[..., None], *args: Any) -> None:
    try:
        function(*args)
    except Exception as error:
        raise failure(i, error) from error


def _answers(hands: Sequence[Hand], seconds: float, pushed: Callable[[], Vector]) -> list[Any]:
    """Return what each worker sends next."""
    answers: dict[int, Any] = {}
    look = watch(len(hands), seconds)
    while len(answers) < len(hands):
        waiting = {hand.pipe: i for i, hand in enumerate(hands) if i not in answers}
        look(pushed(), waiting.values())
        ready = wait(list(waiting), min(PAUSE, seconds / 4))
        for i in [i for pipe, i in waiting.items() if pipe in ready]:
            answers[i] = _received(i, hands[i])
    return [answers[i] for i in range(len(hands))]


def _received(i: int, hand: Hand) -> Any:
    try:
        answer = pickle.loads(hand.pipe.recv_bytes())
    except (EOFError, OSError):
        hand.process.join(PATIENCE)
        raise WorkerDied(
            f"worker {i} died: its process ended with exit code {hand.process.exitcode}"
        ) from None
    if isinstance(answer, Failed):
        raise WorkerError(f"worker {i} failed: {answer.summary}\n\n{answer.trace}") from answer.error
    return answer


def _end(hands: list[Hand], tickets: Any) -> None:
    """End the processes: by themselves after the round they are in, or killed."""
    tickets.get_obj().value = 0  # without its lock, which a process that died may hold
    for hand in hands:
        hand.pipe.close()
    end = time.monotonic() + PATIENCE
    for hand in hands:
        hand.process.join(max(end - time.monotonic(), 0))
        if hand.process.is_alive():
            hand.process.kill()
            hand.process.join()


def _free(memory: SharedMemory) -> None:
    memory.close()
    memory.unlink()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until all have started; they keep it blocked for good, since it is for the caller."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
