"""The line of progress on a terminal, with a clock and a stream that the tests hold."""

import io
import sys
import types
from contextlib import redirect_stderr
from typing import Any, NamedTuple

import numpy as np
import pytest

from pgref.errors import ArgumentError
from pgref.progress import Progress


class Episodes(NamedTuple):
    returns: Any
    lengths: Any


class Update(NamedTuple):
    steps: int
    episodes: Episodes


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def lines(self):
        """Return what each drawing showed."""
        return [text.removesuffix("\n") for text in self.getvalue().split("\r\033[K")[1:]]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def update(steps, *returns):
    return Update(steps, Episodes(np.array(returns), np.ones(len(returns), int)))


@pytest.fixture
def terminal(monkeypatch):
    """Return a terminal, on a machine without tqdm."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    return Terminal()


def progress(stream, total, **settings):
    """Return the progress that is shown on that stream."""
    with redirect_stderr(stream):
        return Progress(total, **settings)


def test_the_line_shows_steps_rate_and_the_mean_return(terminal):
    clock = Clock()
    with progress(terminal, 1000, clock=clock) as show:
        clock.now = 2.0
        show(update(100))
        clock.now = 4.0
        show(update(300, 1.0, 4.0))
    assert terminal.lines() == [
        "100/1000 steps, 50 steps/s",
        "300/1000 steps, 75 steps/s, return 2.5",
        "300/1000 steps, 75 steps/s, return 2.5",
    ]
    assert terminal.getvalue().count("\n") == 1


def test_the_return_is_the_mean_of_the_latest_hundred_episodes(terminal):
    with progress(terminal, 10) as show:
        show(update(1, *np.arange(60.0)))
        show(update(2, *np.arange(60.0, 130.0)))
    assert terminal.lines()[-1].endswith(f"return {np.arange(30.0, 130.0).mean():.4g}")


def test_quick_updates_are_not_all_drawn_and_the_last_is(terminal):
    clock = Clock()
    with progress(terminal, 100, clock=clock) as show:
        for steps in range(1, 101):
            clock.now += 0.01
            show(update(steps))
    assert 2 <= len(terminal.lines()) <= 12
    assert terminal.lines()[-1].startswith("100/100 ")


def test_a_resumed_run_counts_its_own_steps_for_the_rate(terminal):
    clock = Clock()
    with progress(terminal, 1000, start=900, clock=clock) as show:
        clock.now = 1.0
        show(update(950))
    assert terminal.lines()[-1] == "950/1000 steps, 50 steps/s"


def test_steps_beyond_the_total_are_shown_as_the_total(terminal):
    with progress(terminal, 1000, start=5000) as show:
        show(update(6000))
    assert terminal.lines()[-1].startswith("1000/1000 ")


def test_no_time_gone_by_is_no_rate(terminal):
    with progress(terminal, 10, clock=Clock()) as show:
        show(update(5))
    assert terminal.lines()[0] == "5/10 steps, 0 steps/s"


def test_the_line_ends_on_an_exception_and_a_second_close_does_nothing(terminal):
    show = progress(terminal, 10)
    with pytest.raises(KeyboardInterrupt), show:
        raise KeyboardInterrupt
    drawn = terminal.getvalue()
    assert drawn.endswith("\n")
    show.close()
    show(update(1))
    assert terminal.getvalue() == drawn


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_nothing_is_shown_where_stderr_is_no_terminal(stream, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))  # would fail if it were used
    with progress(stream, 10) as show:
        show(update(5, 1.0))
    assert stream is None or stream.getvalue() == ""


def test_tqdm_draws_where_it_is_installed(terminal, monkeypatch):
    calls = []

    class Bar:
        def __init__(self, **settings):
            self.n = settings["initial"]
            calls.append(("new", settings["total"], settings["file"]))

        def set_postfix_str(self, text, refresh):
            calls.append((text, refresh))

        def update(self, steps):
            self.n += steps
            calls.append(("update", steps))

        def close(self):
            calls.append(("close",))

    module = types.ModuleType("tqdm")
    module.tqdm = Bar
    monkeypatch.setitem(sys.modules, "tqdm", module)
    with progress(terminal, 100, start=10) as show:
        show(update(30))
        show(update(120, 2.0))
    assert calls == [
        ("new", 100, terminal),
        ("update", 20),
        ("return 2", False),
        ("update", 70),
        ("close",),
    ]


@pytest.mark.parametrize(
    ("total", "start", "message"),
    [
        (0, 0, "total_steps must be a whole number of at least 1, got 0"),
        (1e6, 0, "total_steps must be a whole number"),
        (10, -1, "start must be a whole number of at least 0, got -1"),
    ],
)
def test_counts_out_of_range_are_refused(total, start, message):
    with pytest.raises(ArgumentError, match=message):
        Progress(total, start=start)
