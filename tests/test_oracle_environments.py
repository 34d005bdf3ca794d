"""The oracle on environments: deviations named, mutants rejected, right ones accepted in every mode."""

import inspect
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from oracles import as_user, components, mutants, named

from pgref import oracle
from pgref.errors import ArgumentError, ArgumentTypeError
from pgref.oracle import environments, shrink
from pgref.oracle.compare import check
from pgref.oracle.inputs import drawn, unseparated

(COMPONENT,) = components("environments")
MODES = environments.AUTORESETS


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Let counterexamples be less small."""
    monkeypatch.setattr(shrink, "BUDGET", 5)


def in_mode(mode):
    return replace(COMPONENT, draw=partial(environments._inputs, modes=(mode,)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_some_input_tells_every_two_variants_apart(dtype):
    assert unseparated(COMPONENT, dtype, draws=12) == []


@pytest.mark.parametrize("deviation", COMPONENT.deviations, ids=lambda d: d.name)
def test_every_deviation_is_named(deviation):
    report = named(COMPONENT, deviation, draws=12)
    assert (report.verdict, report.deviation) == ("deviation", deviation), report


@pytest.mark.parametrize("mode", MODES)
def test_in_each_mode_the_default_inputs_tell_apart_all_that_it_can_show(mode):
    hidden = {"next_step_as_same_step"} if mode != "SameStep" else set()
    if mode != "NextStep":
        hidden |= {"reset_row_is_a_step", "reset_row_counts", "reset_row_repeats_reward"}
        hidden |= {"reset_row_repeats_flags", "same_step_as_next_step"}
    pairs = [
        set(re.findall(r"\w+", pair)[1:]) for pair in unseparated(in_mode(mode), draws=environments.WORLDS)
    ]
    assert {*()}.union(*(pair - {"reference"} for pair in pairs if "reference" in pair)) == hidden
    assert all(pair <= hidden | {"reference"} for pair in pairs)


def test_the_reference_is_accepted():
    for dtype in ("float64", "float32"):
        assert check(COMPONENT, as_user(COMPONENT, COMPONENT.reference), dtype=dtype, draws=12).ok


# Right environments in several styles, written without pgref's.
def pure(successors, rewards, time_limit):
    return lambda s, a, t: (successors[s, a], rewards[s, a], successors[s, a] == -1, t + 1 >= time_limit)


class Single:
    """As Gymnasium has it."""

    def __init__(self, successors, rewards, time_limit):
        self.successors, self.rewards, self.time_limit = successors, rewards, time_limit

    def reset(self, seed=None):
        self.state, self.steps = 0, 0
        return self.state, {}

    def step(self, action):
        reward = float(self.rewards[self.state, action])
        self.steps += 1
        following = int(self.successors[self.state, action])
        if following < 0:
            return len(self.rewards), reward, True, self.steps >= self.time_limit, {}  # any number will do
        self.state = following
        return following, reward, False, self.steps >= self.time_limit, {}


class Bare(Single):
    """No info, and numbers in place of bools."""

    def reset(self):
        return super().reset()[0]

    def step(self, action):
        obs, reward, terminated, truncated, _ = super().step(action)
        return [np.int32(obs), np.float32(reward).astype(float) * 0 + reward, int(terminated), int(truncated)]


class Vector:
    """A loop over single environments in one of the modes, as Gymnasium's SyncVectorEnv has them."""

    def __init__(self, successors, rewards, time_limit, envs, mode):
        self.envs = [Single(successors, rewards, time_limit) for _ in range(envs)]
        self.mode, self.over = mode, np.zeros(envs, bool)

    def reset(self, options=None):
        mask = options["reset_mask"] if options else np.ones(len(self.envs), bool)
        obs = [env.reset()[0] if on else env.state for env, on in zip(self.envs, mask, strict=True)]
        return np.array(obs), {}

    def step(self, actions):
        rows, finals = [], np.full(len(self.envs), None, object)
        for e, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            if self.mode == "NextStep" and self.over[e]:
                rows.append((env.reset()[0], 0.0, False, False))
                continue
            obs, reward, terminated, truncated, _ = env.step(action)
            if self.mode == "SameStep" and (terminated or truncated):
                finals[e] = np.array(obs)
                obs = env.reset()[0]
            rows.append((obs, reward, terminated, truncated))
        obs, reward, terminated, truncated = map(np.array, zip(*rows, strict=True))
        self.over = terminated | truncated
        return obs, reward, terminated, truncated, {"final_obs": finals} if self.mode == "SameStep" else {}


class Arrays:
    """The same without a loop, restarting in the step itself."""

    def __init__(self, successors, rewards, time_limit, envs):
        self.world, self.rewards, self.limit, self.envs = successors, rewards, time_limit, envs

    def reset(self):
        self.state = self.steps = np.zeros(self.envs, int)
        return self.state

    def step(self, a):
        s = self.state
        final, reward, steps = self.world[s, a], self.rewards[s, a], self.steps + 1
        over = final < 0
        cut = ~over & (steps >= self.limit)
        self.state, self.steps = np.where(over | cut, 0, final), np.where(over | cut, 0, steps)
        return self.state, reward, over, cut, {"final_obs": final}


@pytest.mark.parametrize("function", [pure, Single, Bare])
def test_a_right_environment_in_any_style_is_accepted(function):
    for dtype in ("float64", "float32"):
        report = oracle.environment_step(function, dtype=dtype)
        assert report.ok, report


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_right_vector_environment_is_accepted_in_its_mode_only(mode):
    function = partial(Vector, mode=mode)
    assert oracle.environment_step(function, autoreset=mode).ok
    for other in {*MODES[1:]} - {mode, "Disabled"}:
        assert not oracle.environment_step(function, autoreset=other).ok


def test_a_vector_environment_without_a_loop_is_accepted():
    assert oracle.environment_step(Arrays, autoreset="SameStep").ok


# Mistakes as people make them.
class LateReward(Single):
    def reset(self, seed=None):
        self.last = 0.0
        return super().reset()

    def step(self, action):
        obs, reward, *rest = super().step(action)
        reward, self.last = self.last, reward
        return (obs, reward, *rest)


class OneFlag(Single):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated or truncated, False, info


class Ends(Single):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, False, terminated or truncated, info


class Beyond(Single):
    def __init__(self, successors, rewards, time_limit):
        super().__init__(successors, rewards, time_limit + 1)


class NoFinal(Arrays):
    def step(self, a):
        return super().step(a)[:4]


class ActsInReset(Vector):
    def step(self, actions):
        for e in np.flatnonzero(self.over):
            self.envs[e].reset()
        self.over[:] = False
        return super().step(actions)


@pytest.mark.parametrize(
    ("function", "mode", "name"),
    [
        (LateReward, "none", "reward_one_step_late_in_episode"),
        (OneFlag, "none", "time_limit_as_termination"),
        (Ends, "none", "termination_as_time_limit"),
        (Beyond, "none", "time_limit_one_late"),
        (NoFinal, "SameStep", "final_obs_lost"),
        (partial(ActsInReset, mode="NextStep"), "NextStep", "reset_row_is_a_step"),
        (partial(Vector, mode="SameStep"), "NextStep", "same_step_as_next_step"),
        (partial(Vector, mode="NextStep"), "SameStep", "next_step_as_same_step"),
        (
            lambda *w: lambda s, a, t: pure(*w)(s, a, t)[:2] + pure(*w)(s, a, t)[:1:-1],
            "none",
            "flags_swapped",
        ),
    ],
)
def test_a_mistake_in_an_environment_is_named(function, mode, name):
    report = oracle.environment_step(function, autoreset=mode)
    assert report.deviation is not None, report
    assert report.deviation.name == name


MUTANTS = (
    mutants(inspect.getsource(pure)) | mutants(inspect.getsource(Single)) | mutants(inspect.getsource(Arrays))
)


@pytest.mark.parametrize("label", MUTANTS)
def test_every_mutant_is_rejected(label):
    function = MUTANTS[label]
    mode = "SameStep" if function.__name__ == "Arrays" else "none"
    assert not oracle.environment_step(function, autoreset=mode, draws=2).ok


def test_there_are_enough_mutants():
    assert len(MUTANTS) + len(COMPONENT.deviations) >= 30


# ---- environments that do not work


@pytest.mark.parametrize(
    ("function", "mode", "message"),
    [
        (lambda *w: 1 / 0, "none", "It raised ZeroDivisionError: division by zero."),
        (lambda *w: 3, "none", "It raised TypeError: 'int' object is not callable."),
        (lambda *w: lambda s, a, t: None, "none", "Its step returned NoneType, not .*"),
        (lambda *w: lambda s, a, t: (0, 0.0, False), "none", "Its step returned 3 items, not .*"),
        (
            lambda *w: lambda s, a, t: (0, "1", False, False),
            "none",
            "It returned <U1, not numbers, as reward.",
        ),
        (
            lambda *w: lambda s, a, t: (0, 0.0, None, False),
            "none",
            "It returned None, not numbers, as terminated.",
        ),
        (lambda *w: lambda s, a, t: ([0], 0.0, 0, 0), "none", r"It returned shape \(1,\), not \(\), as obs."),
        (
            lambda *w: Single(*w[:3]),
            "SameStep",
            r"It returned shape \(\), not \(\d,\), as the observation of a reset.",
        ),
        (lambda *w: np.zeros(3), "SameStep", "It raised AttributeError: .*has no attribute 'reset'."),
        (
            lambda s, r, limit: s.fill(0) or pure(s, r, limit),
            "none",
            "It wrote to its arguments: successors.",
        ),
        (lambda s, r, limit: lambda *a: (0, np.nan, False, False), "none", "It returned nan."),
    ],
)
def test_an_environment_that_does_not_work_gets_a_report_that_says_so(function, mode, message):
    report = oracle.environment_step(function, autoreset=mode)
    assert (report.verdict, report.ok) == ("failed", False), report
    assert re.fullmatch(message, report.message), report.message


def test_final_observations_that_are_missing_are_nan():
    class Forgets(Arrays):
        def step(self, a):
            *rest, _ = super().step(a)
            return (*rest, {"final_obs": np.full(len(a), None)})

    report = oracle.environment_step(Forgets, autoreset="SameStep")
    assert report.verdict == "failed"
    assert report.message.startswith("It returned nan on ")


def test_only_callables_and_known_modes_are_checked():
    with pytest.raises(ArgumentTypeError, match=r"^function must be callable, got Single$"):
        oracle.environment_step(Single(0, 0, 0))
    with pytest.raises(ArgumentError, match=r"^autoreset must be 'none' or 'NextStep' or .*, got 'next'$"):
        oracle.environment_step(pure, autoreset="next")


def test_examples_stay_worlds():
    inputs = drawn(COMPONENT, "float64", 9, 0)[8]
    fewer = {**inputs, "successors": inputs["successors"][:1, :1], "rewards": inputs["rewards"][:1, :1]}
    world = COMPONENT.repaired(fewer)
    assert set(world["successors"].ravel()) <= {-1, 0}
    assert not world["actions"].any()
