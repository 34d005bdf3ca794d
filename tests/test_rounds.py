"""Rounds, schedules and shared arrays: order, staleness, overlaps and losses, against counting by hand."""

import itertools
import os
import sys
import threading

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import asynchrony
from pgref.asynchronous import rounds
from pgref.asynchronous.schedule import check_schedule, draw_schedule, run_schedule
from pgref.asynchronous.shared import laid_out, lost_rate, n_bytes, push, share, write
from pgref.errors import ArgumentError, ArgumentTypeError, WorkerError, WorkerTimeout
from pgref.optimizers import rmsprop_init, sgd_init

sizes = given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32 - 1))


def exponential(rng, size):
    return rng.exponential(size=size)


def quadratic(memory, rate):
    """Workers that fetch w, take the gradient of ½λw² at it, and push it."""

    def begin(i):
        while True:
            read = memory[0]
            gradient = yield lambda read=read: rate * read
            memory[0] = memory[0] - gradient
            yield i, (i, memory[0])

    return begin


# schedules


@sizes
@example(4, 2, 0)
@example(1, 5, 0)
def test_a_drawn_schedule_is_one_that_can_run(m, n, seed):
    order = draw_schedule(m, n, np.random.default_rng(seed))
    assert order.shape == (2 * n,)
    assert (check_schedule(order, m) == order).all()
    assert sorted(order[: min(m, n)]) == list(range(min(m, n)))  # each fetches before any pushes


@sizes
def test_a_drawn_schedule_has_the_staleness_and_the_iterates_of_the_queue_model(m, n, seed):
    rate, w0 = 0.1, 1.0
    order = draw_schedule(m, n + m, np.random.default_rng(seed), exponential)
    # tickets run out after n + 1 pushes of n + m rounds; until then both draw the same times
    times = exponential(np.random.default_rng(seed), (2 * m + n, 1))
    simulated = asynchrony.simulate(
        m, rate, 1.0, w0, n, lambda rng, size: times[: size[0]], np.random.default_rng(0)
    )
    memory = np.array([w0])
    ran = run_schedule(order, m, quadratic(memory, rate))
    assert (rounds.staleness(ran.order)[:n] == simulated.staleness[:, 0]).all()
    assert [w for _, w in ran.reports[:n]] == simulated.iterates[1:, 0].tolist()


def test_staleness_of_drawn_schedules_follows_the_law_of_note_5_2(rng):
    m, t, draws = 3, 12, 3000
    seen = np.array([rounds.staleness(draw_schedule(m, t + m, rng))[t] for _ in range(draws)])
    law = asynchrony.staleness_law(m, t)
    law = np.append(law, 1 - law.sum())  # at t, a gradient cannot be staler than t
    counts = np.bincount(seen, minlength=t + 1)
    spread = np.sqrt(draws * law * (1 - law))
    assert (np.abs(counts - draws * law) <= 5 * spread + 1).all()


def test_workers_that_finish_together_go_by_index():
    order = draw_schedule(3, 6, np.random.default_rng(0), lambda rng, size: np.ones(size))
    assert order.tolist() == [0, 1, 2, 0, 0, 1, 1, 2, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "n_workers must be a whole number of at least 1, got 0"),
        ((1, 0), "segments must be a whole number of at least 1, got 0"),
        ((1, 1, lambda rng, size: np.zeros(size)), "service times must be positive, got 0.0"),
        ((1, 1, lambda rng, size: np.ones(size[0])), "service times must have shape"),
    ],
)
def test_a_schedule_is_not_drawn_from_unusable_numbers(arguments, message, rng):
    m, n, *service = arguments
    with pytest.raises(ArgumentError, match=message):
        draw_schedule(m, n, rng, *service)


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        (np.zeros(0, int), ArgumentError, "schedule must name workers from 0 to 1"),
        ([0, 2], ArgumentError, "schedule must name workers from 0 to 1"),
        ([-1, 0], ArgumentError, "schedule must name workers from 0 to 1"),
        ([0, 1, 0], ArgumentError, "schedule must let worker 1 push what it fetched last"),
        ([0.5, 0.5], ArgumentTypeError, "schedule must hold integers"),
    ],
)
def test_a_schedule_that_cannot_run_is_refused(order, error, message):
    memory = np.zeros(1)
    with pytest.raises(error, match=message):
        run_schedule(order, 2, quadratic(memory, 0.1))
    assert memory == 0


def test_an_error_in_a_scheduled_worker_is_the_cause_of_a_worker_error():
    def begin(i):
        yield lambda: 1 / i
        yield None, None

    with pytest.raises(WorkerError, match="worker 0 failed: ZeroDivisionError: division by zero") as caught:
        run_schedule([1, 0, 1, 0], 2, begin)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# what logs say


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_staleness_counts_the_pushes_between_a_fetch_and_its_push(workers):
    order, fetched, expected = [*workers, *(i for i in set(workers) if workers.count(i) % 2)], {}, []
    for at, i in enumerate(order):
        if i in fetched:
            between = order[fetched.pop(i) + 1 : at]
            before = order[: at - len(between)]
            expected.append(sum((before + between[:j]).count(k) % 2 for j, k in enumerate(between)))
        else:
            fetched[i] = at
    assert rounds.staleness(np.array(order)).tolist() == expected


@given(st.integers(1, 4), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_merged_logs_are_in_the_order_of_their_ends_and_count_those_that_met(m, n, seed):
    rng, logs, events = np.random.default_rng(seed), [], []
    for i, times in enumerate(np.sort(rng.permutation(200)[: 4 * n * m].reshape(m, 4 * n)).tolist()):
        spans = list(zip(times[::2], times[1::2], strict=True))
        logs.append(rounds.Log(spans, [(i, k) for k in range(n)], i if n else None))
        events += [(end, i, k, start) for k, (start, end) in enumerate(spans)]
    ran = rounds.merged(logs)
    events.sort()
    assert ran.order.tolist() == [i for _, i, _, _ in events]
    assert ran.reports == [(i, k // 2) for _, i, k, _ in events if k % 2]
    assert ran.where == [i if n else None for i in range(m)]
    met = 0  # whoever begins while one that began before has not ended
    for _, _, _, start in events:
        met += any(s < start < e for e, _, _, s in events)
    assert ran.overlaps == met


def test_a_watch_names_the_worker_that_pushes_nothing():
    now = itertools.count().__next__  # a second each time
    look = rounds.watch(2, 2.5, lambda: float(now()))
    pushed = np.zeros(2, np.int64)
    look(pushed, [0, 1])
    look(pushed, [0, 1])
    pushed[0] += 1
    look(pushed, [0, 1])
    look(pushed, [0])  # worker 1 is silent, and nobody waits for it
    with pytest.raises(WorkerTimeout, match=r"worker 1 has pushed nothing for 2\.5 s"):
        look(pushed, [0, 1])


def test_blas_is_limited_only_where_workers_compete_and_it_can_be(monkeypatch):
    limits = []
    fake = type(sys)("threadpoolctl")
    fake.threadpool_limits = lambda n: limits.append(n) or rounds.nullcontext()
    monkeypatch.setitem(sys.modules, "threadpoolctl", fake)
    with rounds.one_blas_thread(1), rounds.one_blas_thread(2):
        assert limits == [1]
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with rounds.one_blas_thread(2):
        assert limits == [1]


# shared arrays


@given(st.integers(1, 50), st.integers(1, 5), st.sampled_from([np.float32, np.float64]))
def test_arrays_laid_out_in_a_buffer_keep_what_is_written(p, m, dtype):
    weights = np.arange(p, dtype=dtype)
    for slots in (sgd_init(weights), rmsprop_init(weights)):
        shared = share(weights, slots, m)
        push(shared, weights, type(slots)(weights + 1), m - 1)
        buffer = bytearray(n_bytes(shared))
        write(laid_out(shared, buffer), shared)
        views = laid_out(shared, buffer)
        assert type(views.slots) is type(slots)
        for a, b in zip([*views[:3], *views.slots], [*shared[:3], *shared.slots], strict=True):
            assert a.dtype == b.dtype
            assert (a == b).all()
        assert views.weights.tolist() == (2 * weights).tolist()
        assert views.pushed.tolist() == [0] * (m - 1) + [1]


def test_sharing_copies():
    weights = np.ones(3)
    slots = rmsprop_init(weights)
    push(share(weights, slots, 1), weights, type(slots)(weights), 0)
    assert (weights == 1).all()
    assert (slots.mean_square == 0).all()


def test_the_rate_of_lost_additions_is_what_the_counters_lack():
    shared = share(np.zeros(4), sgd_init(np.zeros(4)), 2)
    assert lost_rate(shared) == 0
    for i in (0, 1, 1):
        push(shared, np.ones(4), shared.slots, i)
    assert lost_rate(shared) == 0
    shared.additions[1] -= 3
    assert lost_rate(shared) == 0.25


@pytest.mark.skipif(os.cpu_count() == 1, reason="nothing races on one core")
def test_threads_that_push_long_arrays_at_once_lose_additions_and_short_ones_do_not():
    def hammered(p, pushes):
        ones = np.ones(p)
        shared = share(0 * ones, sgd_init(ones), 4)
        body = lambda i: [push(shared, ones, shared.slots, i) for _ in range(pushes)]  # noqa: E731
        threads = [threading.Thread(target=body, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shared.pushed.tolist() == [pushes] * 4
        assert (shared.additions <= 4 * pushes).all()
        assert (shared.weights <= 4 * pushes).all()
        return lost_rate(shared)

    if getattr(sys, "_is_gil_enabled", lambda: True)():
        assert hammered(100, 500) == 0  # NumPy keeps the GIL
    assert any(0 < hammered(100_000, 20) < 1 for _ in range(100))
