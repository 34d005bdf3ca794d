"""A tiny environment for tests of workers, and one that fails on the way; processes can import both."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from pgref.envs.protocol import Episodic, Moved
from pgref.spaces import Box, Discrete

RELEASE = threading.Event()  # lets threads that hang go
INTERRUPTED = threading.Event()  # Ctrl-C is sent once


@dataclass(frozen=True)
class Walk:
    """A random walk that action 1 pushes up; it ends beyond ±1, and pays its position."""

    action_space = Discrete(2)
    obs_space = Box((-2.0,), (2.0,))
    start_draws: int = 1
    step_draws: int = 1

    def start(self, draws):
        return draws - 0.5

    def move(self, x, actions, draws):
        x = x + 0.2 * (2 * actions - 1) + 0.6 * (draws - 0.5)
        return Moved(x, x[0], np.abs(x[0]) > 1)

    def observe(self, x):
        return np.clip(x.T, -2.0, 2.0)


WALK = Episodic("Walk", Walk(), 20)


class Awkward(Exception):
    """An exception that pickle can write and not read."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def hang():
    RELEASE.wait(20)


def fail():
    raise ZeroDivisionError("on the way")


def awkward():
    raise Awkward("on", "the way")


def leave():
    os._exit(3)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def sleep():
    time.sleep(60)


def interrupt():
    """Send Ctrl-C to this process."""
    if not INTERRUPTED.is_set():
        INTERRUPTED.set()
        os.kill(os.getpid(), signal.SIGINT)


def interrupt_group():
    """Send Ctrl-C to the whole group, as a terminal does."""
    if not INTERRUPTED.is_set():
        INTERRUPTED.set()
        os.killpg(os.getpgrp(), signal.SIGINT)


@dataclass(frozen=True)
class Faulty:
    """An environment that does something in every step from its clock `at` on, if its first key is `key`."""

    what: Any
    key: int
    at: int = 7
    inner: Any = WALK

    name = "Faulty"

    @property
    def obs_space(self):
        return self.inner.obs_space

    @property
    def action_space(self):
        return self.inner.action_space

    def reset(self, keys):
        return self.inner.reset(keys)

    def step(self, state, actions):
        if state.clock[0] >= self.at and int(state.keys[0]) == self.key:
            self.what()
        return self.inner.step(state, actions)
