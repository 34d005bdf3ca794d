"""A3C's workers as processes: the same bits, and nothing left behind whatever happens to them."""

import copy
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import faulty
import numpy as np
import pytest

from pgref import streams
from pgref.algorithms import a3c, actor_critic
from pgref.asynchronous import processes
from pgref.asynchronous.rounds import staleness
from pgref.asynchronous.shared import n_bytes, push, share
from pgref.errors import ArgumentError, WorkerDied, WorkerError, WorkerTimeout
from pgref.optimizers import sgd_init
from pgref.task import make_task

SMALL = {"hidden": (5,), "n_steps": 3, "dtype": "float64", "optimizer": "rmsprop", "backend": "process"}
MEMORY = Path("/dev/shm")


def started(env=faulty.WALK, **settings):
    config = a3c.Config(**{**SMALL, "n_workers": 2, "segments": 12, **settings})
    task = make_task(env, config)
    return task, config, a3c.init(task, config, 0)


def with_fault(what, worker, **settings):
    key = int(streams.keys(started()[2].seed, 1, worker)[0])
    return started(faulty.Faulty(what, key), **settings)


def segments():
    """The shared memory of this process, as far as this platform shows it."""
    return {path.name for path in MEMORY.glob(f"pgref-{os.getpid()}-*")} if MEMORY.is_dir() else set()


def arrays(state):
    return [x.copy() for x in (state.weights, *state.slots, *(runner.obs for runner in state.runners))]


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = segments()
    yield
    assert multiprocessing.active_children() == []
    assert segments() - before == set()


# work


def test_one_process_is_actor_critic_bit_for_bit_update_after_update():
    task, config, state = started(n_workers=1, segments=7)
    theirs = {name: getattr(config, name) for name in actor_critic.Config.__dataclass_fields__}
    sequential = actor_critic.init(task, actor_critic.Config(**theirs), 0)
    for _ in range(14):
        sequential, _ = actor_critic.update(task, actor_critic.Config(**theirs), sequential)
    with a3c.workers(task, config) as pool:
        assert len(segments()) == MEMORY.is_dir()  # what the fixture looks for
        for _ in range(2):
            state, seen = a3c.update(task, config, state, pool=pool)
            assert seen.staleness.tolist() == [0] * 7
            assert (seen.overlaps, seen.lost, seen.status) == (0, 0.0, "updated")
        other = a3c.Config(**{**SMALL, "n_workers": 1, "segments": 8})
        with pytest.raises(ArgumentError, match="pool must be made by workers"):
            a3c.update(task, other, state, pool=pool)
    assert state.weights.tobytes() == sequential.weights.tobytes()
    assert state.slots.mean_square.tobytes() == sequential.slots.mean_square.tobytes()
    assert state.runners[0].obs.tobytes() == sequential.runner.obs.tobytes()
    assert (state.rounds, state.updates, state.steps) == ((14,), 14, sequential.steps)


def test_processes_do_all_segments_and_record_their_order():
    task, config, state = started(segments=40)
    before = copy.deepcopy(state)
    after, seen = a3c.update(task, config, state)
    assert all((x == y).all() for x, y in zip(arrays(before), arrays(state), strict=True))
    assert sum(after.rounds) == after.updates == 40
    assert seen.staleness.tolist() == staleness(seen.schedule).tolist()
    assert 0 <= seen.lost < 1
    assert np.isfinite(after.weights).all()
    assert not (after.weights == before.weights).all()


# failures


def failing(what, expected, message, worker=1, **settings):
    task, config, state = with_fault(what, worker, **{"segments": 10**9, **settings})
    before = arrays(state)
    with pytest.raises(expected, match=message) as caught:
        a3c.update(task, config, state)
    assert all((x == y).all() for x, y in zip(before, arrays(state), strict=True))
    return caught.value


def test_an_exception_in_a_process_reaches_the_caller_with_its_traceback_and_ends_the_pool():
    task, config, state = with_fault(faulty.fail, 1, segments=10**9)
    with a3c.workers(task, config) as pool:
        with pytest.raises(WorkerError, match="worker 1 failed: ZeroDivisionError: on the way") as caught:
            a3c.update(task, config, state, pool=pool)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert "in step" in str(caught.value)
        assert 'raise ZeroDivisionError("on the way")' in str(caught.value)
        assert multiprocessing.active_children() == []
        with pytest.raises(WorkerError, match="worker 0 failed: OSError: handle is closed"):
            a3c.update(task, config, state, pool=pool)


def test_a_process_that_ends_by_itself_is_reported_with_its_exit_code():
    failing(faulty.leave, WorkerDied, "worker 0 died: its process ended with exit code 3", 0, n_workers=1)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_process_that_is_killed_is_reported():
    failing(faulty.killed, WorkerDied, "worker 0 died: its process ended with exit code -9", 0, n_workers=1)


def test_a_process_that_hangs_is_named_and_killed():
    failing(faulty.sleep, WorkerTimeout, r"worker 1 has pushed nothing for 0\.8 s", timeout=0.8)


def test_an_environment_that_cannot_be_sent_is_refused():
    failing(lambda: None, WorkerError, "worker 0 failed: .*(pickle|local object)")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("backend", ["thread", "process"])
def test_ctrl_c_leaves_no_thread_no_process_no_memory_and_nothing_to_read(backend):
    script = f"""
import json, multiprocessing, sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_processes
from pgref.algorithms import a3c
import faulty

if __name__ == "__main__":
    before = test_processes.segments()
    settings = {{"backend": {backend!r}, "segments": 10**9}}
    task, config, state = test_processes.with_fault(faulty.interrupt_group, 1, **settings)
    weights = state.weights.copy()
    try:
        a3c.update(task, config, state)
    except KeyboardInterrupt:
        pass
    children = [child.name for child in multiprocessing.active_children()]
    threads = [thread.name for thread in threading.enumerate()]
    memory = sorted(test_processes.segments() - before)
    print(json.dumps([children, threads, memory, bool((state.weights == weights).all())]))
"""
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=root,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [[], ["MainThread"], [], True]


def test_where_signals_cannot_be_held_back_processes_start_all_the_same(monkeypatch):
    monkeypatch.delattr(processes.signal, "pthread_sigmask", raising=False)
    with processes._interrupts_held():
        pass


# a worker's process, run here


def count_up(shared, i, job):
    while True:
        done = yield lambda: job(shared)
        push(shared, done, shared.slots, i)
        yield "here", done.sum()


def one(shared):
    return np.ones(3)


def awkward(shared):
    faulty.awkward()


def served(jobs, tickets):
    """What a worker answers to jobs, and the arrays that it leaves in shared memory."""
    blank = share(np.zeros(3), sgd_init(np.zeros(3)), 1)
    memory = SharedMemory(create=True, size=n_bytes(blank))
    ours, theirs = multiprocessing.Pipe()
    counter = multiprocessing.get_context("spawn").Value("q", tickets)
    args = (theirs, memory.name, blank, counter, count_up, 0, 1)
    thread = threading.Thread(target=processes.serve, args=args)
    thread.start()
    try:
        hand = processes.Hand(multiprocessing.current_process(), ours)
        answers = [processes._received(0, hand)]
        for job in jobs:
            ours.send(job)
            answers.append(processes._received(0, hand))
        weights = np.frombuffer(memory.buf, np.float64)[4:7].copy()
    finally:
        ours.close()
        thread.join()
        processes._free(memory)
    return answers, weights


def test_a_worker_does_as_many_rounds_as_there_are_tickets():
    (ready, log, empty), weights = served([one, one], 5)
    assert ready is None
    assert (log.where, log.reports, len(log.spans)) == ("here", [3.0] * 5, 10)
    assert (empty.where, empty.reports, empty.spans) == (None, [], [])
    assert weights.tolist() == [5.0] * 3


def test_an_exception_that_cannot_be_pickled_comes_as_its_traceback():
    with pytest.raises(WorkerError, match="worker 0 failed: Awkward: on the way") as caught:
        served([awkward], 1)
    assert caught.value.__cause__ is None
    assert "in awkward" in str(caught.value)


def test_an_exception_that_can_be_pickled_is_the_cause():
    with pytest.raises(WorkerError, match="worker 0 failed: AttributeError") as caught:
        served([len], 1)
    assert isinstance(caught.value.__cause__, AttributeError)
