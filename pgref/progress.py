"""How far a training run is, on one line of the terminal: by tqdm where it is installed."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from pgref.arrays import count

EPISODES = 100  # the return shown is the mean over so many, the latest
PAUSE = 0.1  # s between two drawings of the line


class Progress:
    """Show the steps done of `total_steps`, the mean return of the latest episodes, and steps a second.

    Call it with each update; close it at the end, or use it in `with`, which also closes it on errors. A run
    that goes on from a checkpoint gives the steps done before as `start`. Nothing is shown where stderr is
    no terminal.

    Raises:
        ArgumentError: total_steps or start is not a whole number, of at least 1 and 0.
    """

    def __init__(
        self, total_steps: int, *, start: int = 0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._total = count("total_steps", total_steps)
        self._returns: deque[float] = deque(maxlen=EPISODES)
        self._line = _display(self._total, min(count("start", start, 0), self._total), clock)

    def __call__(self, update: Any) -> None:
        if self._line is None:
            return
        self._returns.extend(update.episodes.returns)
        if self._returns:
            self._line.set_postfix_str(f"return {np.mean(self._returns):.4g}", refresh=False)
        self._line.update(min(update.steps, self._total) - self._line.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Draw the line for the last time and leave it."""
        if self._line is not None:
            self._line.close()
            self._line = None


class Line:
    """A line drawn over itself: the part of tqdm that `Progress` uses."""

    def __init__(self, total: int, start: int, file: TextIO, clock: Callable[[], float]) -> None:
        self.n = self._start = start
        self._total, self._file, self._clock, self._postfix = total, file, clock, ""
        self._started, self._drawn = clock(), -math.inf

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        """Set what stands at the end of the line; it is drawn with the next update."""
        self._postfix = f", {text}"

    def update(self, steps: int) -> None:
        """Count steps done, and draw the line if that was not done just now."""
        self.n += steps
        if self._clock() - self._drawn >= PAUSE:
            self._draw()

    def close(self) -> None:
        """Draw the line for the last time, and go to the next."""
        self._draw()
        self._file.write("\n")

    def _draw(self) -> None:
        self._drawn = self._clock()
        seconds = self._drawn - self._started
        rate = (self.n - self._start) / seconds if seconds > 0.0 else 0.0
        self._file.write(f"\r\033[K{self.n}/{self._total} steps, {rate:.0f} steps/s{self._postfix}")
        self._file.flush()


def _display(total: int, start: int, clock: Callable[[], float]) -> Any:
    if sys.stderr is None or not sys.stderr.isatty():  # None: a window without a console
        return None
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return Line(total, start, sys.stderr, clock)
    return tqdm(total=total, initial=start, file=sys.stderr, unit=" steps", dynamic_ncols=True)
