"""Progress on tqdm's own bar."""

import io
from contextlib import redirect_stderr
from typing import Any, NamedTuple

import numpy as np
import pytest

from pgref.progress import Progress

pytestmark = pytest.mark.integration


class Episodes(NamedTuple):
    returns: Any


class Update(NamedTuple):
    steps: int
    episodes: Episodes


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_ends_full_with_the_mean_return(peer):
    peer("tqdm")
    stream = Terminal()
    with redirect_stderr(stream):
        show = Progress(300, start=100)
    with show:
        show(Update(200, Episodes(np.array([]))))
        show(Update(320, Episodes(np.array([1.0, 4.0]))))
    last = stream.getvalue().split("\r")[-1]
    assert last.startswith("100%")
    assert "300/300" in last
    assert "return 2.5" in last
