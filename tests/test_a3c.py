"""A3C in one process: threads, schedules and executors, against the sequential code and against failures."""

import copy
import threading
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import faulty
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgref import checkpoint, records, streams
from pgref.algorithms import a3c, actor_critic
from pgref.arrays import Workspace
from pgref.asynchronous import rounds, threads
from pgref.asynchronous.rounds import staleness
from pgref.asynchronous.schedule import draw_schedule
from pgref.envs import names
from pgref.errors import ArgumentError, NonFiniteError, WorkerDied, WorkerError, WorkerTimeout
from pgref.learning import remaining, step_both
from pgref.task import make_task
from pgref.worker import work

SMALL = {"hidden": (5,), "n_steps": 3, "dtype": "float64"}
KNOBS = [
    {},
    {"optimizer": "rmsprop", "max_norm": 0.5, "mean": True, "trace": 1.0, "dtype": "float32"},
    {"anneal_over": 60, "n_envs": 2, "entropy": 0.1, "normalise_obs": True, "scale_rewards": True},
]


def started(env=faulty.WALK, seed=0, **settings):
    config = a3c.Config(**{**SMALL, "n_workers": 2, "segments": 12, **settings})
    task = make_task(env, config)
    return task, config, a3c.init(task, config, seed)


def with_fault(what, worker, at=7, **settings):
    """A task in which one worker's environment does something from its step `at` on."""
    seed = started()[2].seed
    key = int(streams.keys(seed, 1, worker)[0])
    return started(faulty.Faulty(what, key, at), **settings)


def leaves(node):
    return [x for child in node for x in leaves(child)] if isinstance(node, tuple) else [node]


def same(a, b):
    """Whether two states are equal to the bit."""
    pairs = zip(leaves(a), leaves(b), strict=True)
    return all(
        np.asarray(x).dtype == np.asarray(y).dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in pairs
    )


def worker_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("worker")]


def left_behind(i):
    """The threads of workers once all have ended but worker i."""
    for thread in threading.enumerate():
        if thread.name.startswith("worker") and thread.name != f"worker {i}":
            thread.join(5)
    assert worker_threads() == [f"worker {i}"]
    return [thread for thread in threading.enumerate() if thread.name == f"worker {i}"]


@pytest.fixture(autouse=True)
def nothing_is_left():
    faulty.RELEASE.clear()
    faulty.INTERRUPTED.clear()
    yield
    faulty.RELEASE.set()
    for thread in threading.enumerate():
        if thread.name.startswith("worker"):
            thread.join(5)
    assert worker_threads() == []


class Inline(Executor):
    """Does everything at once."""

    def submit(self, function, *args):
        future = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class Never(Executor):
    """Loses what it is given."""

    def __init__(self):
        self.futures = []

    def submit(self, function, *args):
        self.futures.append(Future())
        return self.futures[-1]


# one worker


@pytest.mark.parametrize("settings", KNOBS)
@pytest.mark.parametrize("backend", ["thread", "schedule", "executor"])
def test_one_worker_is_actor_critic_bit_for_bit(backend, settings):
    options = {"executor": Inline()} if backend == "executor" else {}
    task, config, state = started(n_workers=1, segments=9, backend=backend, **settings)
    theirs = {name: getattr(config, name) for name in actor_critic.Config.__dataclass_fields__}
    sequential = actor_critic.init(task, actor_critic.Config(**theirs), 0)
    assert same(sequential.weights, state.weights)
    evidence = []
    for _ in range(18):
        sequential, seen = actor_critic.update(task, actor_critic.Config(**theirs), sequential)
        evidence.append(seen)
    updates = []
    for _ in range(2):
        state, seen = a3c.update(task, config, state, Workspace(), **options)
        updates.append(seen)
    assert same((state.weights, state.slots), (sequential.weights, sequential.slots))
    assert same(state.runners, (sequential.runner,))
    assert (state.rounds, state.updates, state.steps) == ((18,), 18, sequential.steps)
    returns = np.concatenate([seen.episodes.returns for seen in evidence])
    assert np.concatenate([seen.episodes.returns for seen in updates]).tolist() == returns.tolist()
    for name in ("gradient_norm", "entropy", "value_loss"):
        mean = np.mean([getattr(seen, name) for seen in evidence[9:]])
        assert getattr(updates[1], name) == mean
    for seen in updates:
        assert seen.status == "updated"
        assert seen.staleness.tolist() == [0] * 9
        assert (seen.overlaps, seen.lost) == (0, 0.0)


# schedules


def by_the_box(task, config, state, order):
    """Algorithm 5.21 with (θ, ψ) copied at each fetch, by the sequential code's own functions."""
    weights, slots, read, k = state.weights, state.slots, {}, list(state.rounds)
    runners, steps = list(state.runners), state.steps
    for i in order:
        if i not in read:
            read[i] = weights
            continue
        done = work(task, config, read.pop(i), runners[i], (state.seed, k[i], i))
        factor = remaining(config, steps)
        slots, weights, _ = step_both(config, slots, weights, done.gradient, task.policy.n_params, factor)
        runners[i], k[i], steps = done.runner, k[i] + 1, steps + config.n_envs * config.n_steps
    return state._replace(
        weights=weights, slots=slots, runners=tuple(runners), rounds=tuple(k), updates=sum(k), steps=steps
    )


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 99), st.sampled_from(KNOBS))
def test_a_schedule_does_what_the_box_says_and_nothing_else(m, n, seed, settings):
    task, config, state = started(seed=seed, n_workers=m, backend="schedule", **settings)
    before = copy.deepcopy(state)
    order = draw_schedule(m, n, np.random.default_rng(seed))
    after, seen = a3c.update(task, config, state, schedule=order)
    assert same(after, by_the_box(task, config, state, order.tolist()))
    assert same(state, before)
    assert seen.schedule.tolist() == order.tolist()
    assert seen.staleness.tolist() == staleness(order).tolist()
    assert (seen.updates, seen.steps, seen.lost, seen.overlaps) == (n, after.steps, 0.0, 0)


def test_the_order_of_events_matters_and_a_schedule_left_out_is_drawn():
    task, config, state = started(backend="schedule", segments=4)
    fresh, _ = a3c.update(task, config, state, schedule=[0, 0, 1, 1])
    stale, _ = a3c.update(task, config, state, schedule=[0, 1, 0, 1])
    assert not same(fresh.weights, stale.weights)
    drawn, seen = a3c.update(task, config, state)
    assert same(drawn, a3c.update(task, config, state, schedule=seen.schedule)[0])
    _, following = a3c.update(task, config, drawn)
    orders = [seen.schedule.tolist()] + [
        a3c.update(task, config, drawn._replace(updates=u))[1].schedule.tolist() for u in range(4, 9)
    ]
    assert following.schedule.tolist() == orders[1]
    assert len({tuple(order) for order in orders}) > 1


def test_a_worker_without_a_segment_stays_where_it_is():
    task, config, state = started(n_workers=3, segments=2)
    after, seen = a3c.update(task, replace(config, backend="schedule"), state, schedule=[1, 1, 1, 1])
    assert after.rounds == (0, 2, 0)
    assert after.runners[0] is state.runners[0]
    assert len(seen.staleness) == 2


def test_a_state_that_was_saved_goes_on_with_the_same_bits(tmp_path):
    task, config, state = started(backend="schedule", optimizer="rmsprop")
    state, _ = a3c.update(task, config, state)
    checkpoint.save(tmp_path / "a3c.npz", {}, state)
    fresh = a3c.init(task, config, 99)
    again = checkpoint.restore(fresh, checkpoint.load(tmp_path / "a3c.npz").arrays, "a3c.npz")
    assert same(a3c.update(task, config, again)[0], a3c.update(task, config, state)[0])


# threads


def test_threads_do_all_segments_and_record_their_order():
    task, config, state = started(n_workers=3, segments=60)
    before = copy.deepcopy(state)
    after, seen = a3c.update(task, config, state)
    assert same(state, before)
    assert sum(after.rounds) == after.updates == seen.updates == 60
    assert after.steps == 180
    assert Counter(seen.schedule.tolist()) == {i: 2 * k for i, k in enumerate(after.rounds) if k}
    assert seen.staleness.tolist() == staleness(seen.schedule).tolist()
    assert seen.staleness.max() < 60
    assert 0 <= seen.lost < 1
    assert np.isfinite(after.weights).all()
    assert {"staleness_mean", "staleness_max", "lost"} <= set(records.row(seen))


def test_an_interleaving_of_threads_runs_again_with_the_same_bits(monkeypatch):
    """Threads go through a turnstile at both ends of each fetch and each push, so that none meet."""
    order = draw_schedule(3, 20, np.random.default_rng(5)).tolist()
    turn, entered, at = threading.Condition(), {}, [0]

    def clock():
        i = int(threading.current_thread().name.removeprefix("worker "))
        with turn:
            if entered.get(i):
                entered[i] = False
                at[0] += 1
                turn.notify_all()
                return 2 * at[0] - 1
            assert turn.wait_for(lambda: order[at[0]] == i, 20)
            entered[i] = True
            return 2 * at[0]

    monkeypatch.setattr(rounds.time, "perf_counter_ns", clock)
    task, config, state = started(n_workers=3, segments=20)
    after, seen = a3c.update(task, config, state)
    assert seen.schedule.tolist() == order
    assert (seen.overlaps, seen.lost) == (0, 0.0)
    again, replayed = a3c.update(task, replace(config, backend="schedule"), state, schedule=seen.schedule)
    assert same(after, again)
    assert replayed.staleness.tolist() == seen.staleness.tolist()


@pytest.mark.parametrize("first", [0, 1, 2])
def test_where_threads_cannot_start_the_schedule_runs(first, monkeypatch):
    start, calls = threading.Thread.start, []

    def refuses(thread):
        calls.append(thread)
        if len(calls) > first:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threads.threading.Thread, "start", refuses)
    task, config, state = started(n_workers=3)
    after, seen = a3c.update(task, config, state)
    assert seen.status == "scheduled: threads cannot start"
    assert worker_threads() == []
    scheduled, _ = a3c.update(task, replace(config, backend="schedule"), state)
    assert same(after, scheduled)


# failures


def failing(what, worker, expected, message, options=None, **settings):
    """The error of an update in which an environment misbehaves; the state is what it was.

    There are more segments than the other worker can do before that happens.
    """
    task, config, state = with_fault(what, worker, **{"segments": 10**9, **settings})
    before = copy.deepcopy(state)
    with pytest.raises(expected, match=message) as caught:
        a3c.update(task, config, state, **(options or {}))
    assert same(state, before)
    return caught.value


@pytest.mark.parametrize("backend", ["thread", "schedule", "executor"])
def test_an_exception_in_a_worker_reaches_the_caller_with_its_traceback(backend):
    options = {"executor": Inline()} if backend == "executor" else {}
    error = failing(
        faulty.fail,
        1,
        WorkerError,
        "worker 1 failed: ZeroDivisionError: on the way",
        options,
        backend=backend,
        segments=30 if backend == "schedule" else 10**9,
    )
    assert isinstance(error.__cause__, ZeroDivisionError)
    names = []
    trace = error.__cause__.__traceback__
    while trace:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names[-2:] == ["step", "fail"]
    assert worker_threads() == []


def test_an_exception_does_not_wait_for_a_worker_that_is_busy(monkeypatch):
    """Worker 0 hangs until this test is over; worker 1 fails meanwhile."""
    monkeypatch.setattr(threads, "PATIENCE", 0.05)
    hung = threading.Event()

    def hang_or_fail():
        if threading.current_thread().name == "worker 0":
            hung.set()
            faulty.RELEASE.wait(20)
        else:
            hung.wait(20)
            raise ZeroDivisionError

    task, config, state = started()
    for i in range(2):
        key = int(streams.keys(state.seed, 1, i)[0])
        task = task._replace(env=faulty.Faulty(hang_or_fail, key, 0, task.env))
    with pytest.raises(WorkerError, match="worker 1 failed"):
        a3c.update(task, config, state)
    assert len(left_behind(0)) == 1


def test_a_thread_that_hangs_is_named_and_left_as_a_daemon(monkeypatch):
    monkeypatch.setattr(threads, "PATIENCE", 0.05)
    failing(faulty.hang, 1, WorkerTimeout, r"worker 1 has pushed nothing for 0\.5 s", timeout=0.5)
    (left,) = left_behind(1)
    assert left.daemon


def test_ctrl_c_ends_threads_and_leaves_the_state():
    failing(faulty.interrupt, 1, KeyboardInterrupt, None)
    assert worker_threads() == []


def test_ctrl_c_passes_through_a_schedule():
    failing(faulty.interrupt, 1, KeyboardInterrupt, None, backend="schedule", segments=30)


@pytest.mark.parametrize("segments", [1, 30])
def test_weights_that_overflow_are_an_error_and_not_a_state(segments):
    task, config, state = started(step=1e300, dtype="float32", segments=segments)
    before = copy.deepcopy(state)
    with pytest.raises(WorkerError, match="must be finite") as caught:
        a3c.update(task, config, state)
    assert isinstance(caught.value.__cause__, NonFiniteError)
    assert same(state, before)


# executors


def test_an_executor_keeps_every_worker_at_work_and_gives_bits_of_its_schedule():
    task, config, state = started(n_workers=3, segments=20, backend="executor")
    with ThreadPoolExecutor(3) as executor:
        after, seen = a3c.update(task, config, state, executor=executor)
    assert after.updates == 20
    again, _ = a3c.update(task, replace(config, backend="schedule"), state, schedule=seen.schedule)
    assert same(after, again)
    assert seen.schedule.tolist()[:3] == [0, 1, 2]


def test_an_executor_that_is_done_at_once_takes_the_workers_in_turn():
    task, config, state = started(n_workers=3, segments=5, backend="executor")
    _, seen = a3c.update(task, config, state, executor=Inline())
    assert seen.schedule.tolist() == [0, 1, 2, 0, 0, 1, 1, 2, 0, 1]
    assert seen.staleness.tolist() == [0, 1, 2, 2, 2]


def test_an_executor_that_never_answers_is_noticed_and_its_work_cancelled():
    task, config, state = started(n_workers=2, backend="executor", timeout=0.05)
    executor = Never()
    with pytest.raises(WorkerTimeout, match=r"worker 0 has pushed nothing for 0\.05 s"):
        a3c.update(task, config, state, executor=executor)
    assert [future.cancelled() for future in executor.futures] == [True, True]


def test_an_executor_that_lost_its_processes_is_a_worker_that_died():
    class Broken(Executor):
        def submit(self, function, *args):
            raise BrokenProcessPool("a process was terminated abruptly")

    task, config, state = started(backend="executor")
    with pytest.raises(WorkerDied, match="worker 0 died: a process was terminated abruptly"):
        a3c.update(task, config, state, executor=Broken())


# arguments


@pytest.mark.parametrize(
    ("backend", "option", "message"),
    [
        (
            "thread",
            {"executor": Inline()},
            "executor must come with backend='executor', got backend='thread'",
        ),
        (
            "executor",
            {"schedule": [0, 0]},
            "schedule must come with backend='schedule', got backend='executor'",
        ),
        ("schedule", {"pool": "any"}, "pool must come with backend='process', got backend='schedule'"),
        ("executor", {}, "executor must be given with backend='executor', got None"),
        ("schedule", {"schedule": [0, 1]}, "schedule must let worker 0 push what it fetched last"),
    ],
)
def test_options_that_do_not_fit_are_refused(backend, option, message):
    task, config, state = started(backend=backend)
    with pytest.raises(ArgumentError, match=message):
        a3c.update(task, config, state, **option)


@pytest.mark.parametrize(
    "setting",
    [{"n_workers": 0}, {"backend": "gpu"}, {"segments": 0}, {"timeout": 0.0}, {"optimizer": "adam"}],
)
def test_knobs_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(ArgumentError, match=f"{name} must be"):
        a3c.Config(**setting)


# learning


def test_stale_gradients_still_teach_the_values_of_a_probe():
    env = names.make("ProbeTermination")
    settings = {
        "n_workers": 3,
        "n_envs": 4,
        "n_steps": 5,
        "segments": 100,
        "discount": 0.5,
        "backend": "schedule",
    }
    config = a3c.Config(hidden=(), step=0.01, critic_step=0.01, dtype="float64", **settings)
    task = make_task(env, config)
    state = a3c.init(task, config, 3)
    losses = []
    for _ in range(3):
        state, seen = a3c.update(task, config, state)
        assert seen.staleness.mean() > 1.5
        losses.append(seen.value_loss)
    assert losses[2] < 0.1 * losses[0]
