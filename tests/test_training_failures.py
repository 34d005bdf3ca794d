"""Whatever goes wrong in training is named at once, changes no bit of the agent, and can be learned on from.

Each table has a line for each case: its name, how to provoke it, the error and its message.
"""

import hashlib
import io
import itertools
import json
import math
import os
import re
import sys
import threading
import zipfile
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from training import ALGORITHMS, agent, bits, leaves, settings

from pgref import rollout, streams
from pgref.agent import AGENTS, load
from pgref.envs import names
from pgref.envs.protocol import Step
from pgref.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    NonFiniteError,
    PgrefError,
    ShapeError,
    WorkerDied,
    WorkerError,
    WorkerTimeout,
)
from pgref.mdp import TabularMDP
from pgref.spaces import Box, Discrete, MultiDiscrete


class Own:
    """An environment as a user writes one: x turns by 1 or, for action 1, by 2; episodes have five steps."""

    name = "Own"
    obs_space = Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0))
    action_space = Discrete(2)

    def __init__(self):
        self.calls, self.fault, self.first = itertools.count(), None, lambda result: result

    def fail(self, change, at=3):
        """From now on, make the step after `at` others return change(step)."""
        self.calls, self.fault = itertools.count(), (at, change)

    def observe(self, x, t):
        return np.stack([np.sin(x), np.cos(x), t / 5], 1)

    def reset(self, keys):
        x, t = (keys % np.uint64(7)).astype(float), np.zeros(len(keys), int)
        return self.first(((x, t), self.observe(x, t)))

    def step(self, state, actions):
        x, t = state[0] + 1 + actions, state[1] + 1
        seen, ended = self.observe(x, t), t == 5
        t = np.where(ended, 0, t)
        step = Step((x, t), self.observe(x, t), seen, np.cos(x), x % 2 == 0, ended)
        if self.fault is not None and next(self.calls) == self.fault[0]:
            return self.fault[1](step)
        return step


def entry(field, where, value):
    """Put a value into one place of an array that a step returns."""

    def change(step):
        array = getattr(step, field).astype(float if isinstance(value, float) else object)
        array[where] = value
        return step._replace(**{field: array})

    return change


def whole(**fields):
    """Replace arrays that a step returns by what functions make of them."""
    return lambda step: step._replace(**{name: f(getattr(step, name)) for name, f in fields.items()})


def raising(error):
    def change(step):
        raise error

    return change


def always(change):
    """Return a fault of every step."""
    return lambda env: setattr(env, "step", lambda *args, step=env.step: change(step(*args)))


REAL, BOOLS = r"s at step \d+ must be real numbers, got ", r" at step \d+ must be bools \(3,\), got "
STEPS = {
    "an observation is nan": (
        entry("obs", (1, 2), math.nan), NonFiniteError,
        r"observation from env 1 at step \d+ has nan at index \(2,\)",
    ),
    "an observation is inf": (
        entry("obs", (2, 0), math.inf), NonFiniteError,
        r"observation from env 2 at step \d+ has inf at index \(0,\)",
    ),
    "a last observation is -inf": (
        entry("final_obs", (0, 1), -math.inf), NonFiniteError,
        r"observation from env 0 at step \d+ has -inf at index \(1,\)",
    ),
    "a reward is nan": (
        entry("reward", 0, math.nan), NonFiniteError, r"reward from env 0 at step \d+ is nan"),
    "a reward is inf": (
        entry("reward", 2, math.inf), NonFiniteError, r"reward from env 2 at step \d+ is inf"),
    "a reward is None": (entry("reward", 1, None), ArgumentTypeError, "reward" + REAL + "dtype object"),
    "a reward is a string": (entry("reward", 1, "1.0"), ArgumentTypeError, "reward" + REAL + "dtype object"),
    "rewards are None": (whole(reward=lambda r: None), ArgumentTypeError, "reward" + REAL + "NoneType"),
    "rewards are a list": (whole(reward=list), ArgumentTypeError, "reward" + REAL + "list"),
    "rewards are one number": (whole(reward=lambda r: 1.0), ArgumentTypeError, "reward" + REAL + "float"),
    "rewards are bools": (whole(reward=lambda r: r > 0), ArgumentTypeError, "reward" + REAL + "dtype bool"),
    "rewards are complex": (whole(reward=lambda r: r * 1j), ArgumentTypeError, "reward" + REAL + "dtype c"),
    "rewards in a column": (
        whole(reward=lambda r: r[:, None]), ShapeError, r"rewards .* must have shape \(3,\), got \(3, 1\)"),
    "a reward for all": (
        whole(reward=lambda r: r[:1]), ShapeError, r"rewards .* must have shape \(3,\), got \(1,\)"),
    "no axis of rewards": (
        whole(reward=lambda r: r[0]), ShapeError, r"rewards .* must have shape \(3,\), got \(\)"),
    "an observation for all": (
        whole(obs=lambda o: o[:1]), ShapeError, r"observations .* must have shape \(3, 3\), got \(1, 3\)"),
    "one feature for all": (
        whole(obs=lambda o: o[:, :1]), ShapeError, r"observations .* must have shape \(3, 3\), got \(3, 1\)"),
    "a feature too many": (
        whole(final_obs=lambda o: np.hstack([o, o[:, :1]])), ShapeError,
        r"observations at step \d+ must have shape \(3, 3\), got \(3, 4\)",
    ),
    "observations are None": (
        whole(obs=lambda o: None), ArgumentTypeError, "observation" + REAL + "NoneType"),
    "observations are a list": (whole(final_obs=list), ArgumentTypeError, "observation" + REAL + "list"),
    "observations are strings": (
        whole(obs=lambda o: o.astype(str)), ArgumentTypeError, "observation" + REAL + "dtype <U32"),
    "observations are objects": (
        whole(obs=lambda o: o.astype(object)), ArgumentTypeError, "observation" + REAL + "dtype object"),
    "observations are complex": (
        whole(obs=lambda o: o * 1j), ArgumentTypeError, "observation" + REAL + "dtype complex128"),
    "observations are bools": (
        whole(obs=lambda o: o > 0), ArgumentTypeError, "observation" + REAL + "dtype bool"),
    "observations of another precision": (
        whole(final_obs=lambda o: o.astype(np.longdouble)),
        ArgumentTypeError, r"observations at step \d+ must be float64 like those before, got",
    ),
    "terminated is numbers": (
        whole(terminated=lambda x: x + 0), ArgumentTypeError, "terminated" + BOOLS + "dtype int64"),
    "truncated is None": (
        whole(truncated=lambda x: None), ArgumentTypeError, "truncated" + BOOLS + "NoneType"),
    "truncated is a list": (whole(truncated=list), ArgumentTypeError, "truncated" + BOOLS + "list"),
    "terminated in a column": (
        whole(terminated=lambda x: x[:, None]), ArgumentTypeError, "terminated" + BOOLS + r".*\(3, 1\)"),
    "valid is numbers": (
        whole(valid=lambda x: np.ones(3)), ArgumentTypeError, "valid" + BOOLS + "dtype float64"),
    "the step of Gymnasium's API": (
        lambda step: (step.obs, step.reward, step.terminated, step.truncated, {}), ArgumentTypeError,
        r"step\(\) must return a Step at step \d+, got tuple",
    ),
    "the step is None": (
        lambda step: None, ArgumentTypeError, r"step\(\) must return a Step at step \d+, got NoneType"),
    "an observation is beyond float32": (
        entry("obs", (1, 1), 1e39), NonFiniteError, "observations must be finite, got inf"),
    "a reward is beyond float32": (
        entry("reward", 1, 1e39), NonFiniteError, "advantages must be finite, got -?inf"),
    "the environment raises": (raising(OSError("the cable")), OSError, "the cable"),
    "the environment runs out": (raising(StopIteration("no more")), StopIteration, "no more"),
    "the memory is full": (raising(MemoryError("too much")), MemoryError, "too much"),
    "Ctrl-C": (raising(KeyboardInterrupt("now")), KeyboardInterrupt, "now"),
    "the program is to end": (raising(SystemExit(3)), SystemExit, "3"),
}  # fmt: skip
ALL_STEPS = {
    "no row is a transition": (
        lambda step: step._replace(valid=np.zeros(3, bool)), ArgumentError, r"empty batch \(0 samples\)"),
    "sums of rewards overflow": (
        lambda step: step._replace(reward=np.full(3, 1e308), terminated=np.zeros(3, bool)), NonFiniteError,
        r"return overflowed \(max abs reward 1e\+308\)",
    ),
    "sums of rewards overflow below": (
        lambda step: step._replace(reward=np.full(3, -1e308), terminated=np.zeros(3, bool)), NonFiniteError,
        r"return overflowed \(max abs reward 1e\+308\)",
    ),
}  # fmt: skip


def expected(algorithm, error, message):
    """Return what the algorithm raises: A3C names the Worker, whose own error is the cause."""
    if algorithm == "a3c" and issubclass(error, Exception):
        return WorkerError, rf"worker \d failed: {error.__name__}: .*{message}"
    return error, message


def refused(learner, action, error, message):
    """Provoke an error that changes no bit of the agent."""
    before = bits(learner.state)
    with pytest.raises(error, match=message) as caught:
        action()
    assert type(caught.value) in (error if isinstance(error, tuple) else (error,))
    assert bits(learner.state) == before
    return caught.value


TWINS = {}


def states_of_twin(algorithm):
    """Return the bits of an agent that nothing befalls, after one update and after two."""
    if algorithm not in TWINS:
        twin = agent(algorithm, Own())
        TWINS[algorithm] = [bits(twin.learn(1).state) for _ in range(2)]
    return TWINS[algorithm]


CASES = [*STEPS, *ALL_STEPS]
EACH_ON_A_THIRD = [(a, c) for i, a in enumerate(ALGORITHMS) for j, c in enumerate(CASES) if (i + j) % 3 == 0]


@pytest.mark.parametrize(("algorithm", "case"), EACH_ON_A_THIRD)
def test_a_fault_in_a_step_is_named_and_learning_goes_on_as_if_nothing_had_been(algorithm, case):
    env = Own()
    learner = agent(algorithm, env).learn(1)
    assert bits(learner.state) == states_of_twin(algorithm)[0]
    change, error, message = {**STEPS, **ALL_STEPS}[case]
    good = env.step
    if case in ALL_STEPS:
        always(change)(env)
    else:
        env.fail(change)
    caught = refused(learner, lambda: learner.learn(1), *expected(algorithm, error, message))
    if isinstance(caught, WorkerError):
        assert type(caught.__cause__) is error
    env.fault, env.step = None, good
    assert bits(learner.learn(1).state) == states_of_twin(algorithm)[1]
    learner.restart()
    assert np.isfinite(learner.learn(1).state.weights).all()


@pytest.mark.parametrize("algorithm", ["trpo", "a2c"])
@pytest.mark.parametrize("at", [0, 11])
def test_the_step_is_counted_from_the_beginning(algorithm, at):
    env = Own()
    learner = agent(algorithm, env).learn(1)
    env.fail(entry("reward", 1, math.nan), at)
    refused(
        learner, lambda: learner.learn(1), NonFiniteError, rf"reward from env 1 at step {12 + at} is nan$"
    )


@pytest.mark.parametrize("case", sorted(set(STEPS) - {"a reward is beyond float32"}))
def test_a_fault_in_an_evaluation_changes_nothing_either(case):
    env = Own()
    learner = agent("trpo", env).learn(1)
    change, error, message = STEPS[case]
    env.fail(change)
    refused(learner, lambda: learner.evaluate(3), error, message)
    env.fault = None
    assert bits(learner.learn(1).state) == states_of_twin("trpo")[1]


class Reusing(Own):
    """An environment that returns the same arrays every time, with other numbers in them."""

    def put(self, name, array):
        kept = vars(self).setdefault(name, array.copy())
        if kept.shape != array.shape:
            return array
        kept[...] = array
        return kept

    def reset(self, keys):
        state, obs = super().reset(keys)
        return state, self.put("obs", obs)

    def step(self, state, actions):
        state, *arrays, _ = super().step(state, actions)
        return Step(state, *map(self.put, Step._fields[1:6], arrays))


class Writing(Own):
    """An environment that writes into the actions it is given."""

    def step(self, state, actions):
        step = super().step(state, actions)
        actions[...] = 0
        return step


@pytest.mark.parametrize("algorithm", ["trpo", "a2c"])
@pytest.mark.parametrize("kind", [Reusing, Writing])
def test_what_an_environment_does_with_its_arrays_and_ours_changes_no_bit(algorithm, kind):
    learner = agent(algorithm, kind(), normalise_obs=True, scale_rewards=True)
    twin = agent(algorithm, Own(), normalise_obs=True, scale_rewards=True)
    for _ in range(3):
        assert bits(learner.learn(1).state) == bits(twin.learn(1).state)


RESETS = {
    "no pair": (lambda result: result[1], r"reset\(\) must return \(state, observations\), got ndarray"),
    "None": (lambda result: None, r"reset\(\) must return \(state, observations\), got NoneType"),
    "no array": (lambda r: (r[0], r[1].tolist()), "observations at reset must be real numbers, got list"),
    "another shape": (lambda r: (r[0], r[1][:, :2]), r"observations at reset must have shape \(3, 3\)"),
    "too few": (lambda r: (r[0], r[1][:2]), r"observations at reset must have shape \(3, 3\), got \(2, 3\)"),
    "nan": (lambda r: (r[0], r[1] * math.nan), r"observation from env 0 at reset has nan at index \(0,\)"),
}


@pytest.mark.parametrize("algorithm", ["ppo", "a3c"])
@pytest.mark.parametrize("case", RESETS)
def test_a_fault_in_a_reset_changes_nothing(algorithm, case):
    env = Own()
    learner = agent(algorithm, env).learn(1)
    env.first, message = RESETS[case]
    before = bits(learner.state)
    for action in (
        learner.restart,
        lambda: learner.evaluate(3),
        lambda: agent(algorithm, env),
    ):
        with pytest.raises(PgrefError, match=message) as caught:
            action()
        assert isinstance(caught.value, (TypeError, ValueError))
    assert bits(learner.state) == before
    env.first = lambda result: result
    assert bits(learner.learn(1).state) == states_of_twin(algorithm)[1]


# --- settings ---------------------------------------------------------------------------------------------

UNIT, ABOVE, COUNT = r"in \[0, 1\]", "positive and finite", "a whole number of at least 1"
FLAG, NOT_NEGATIVE = "True or False", "at least 0 and finite"
SETTINGS = [
    *(("ppo", "discount", x, UNIT) for x in (-0.5, 1.5, math.nan, math.inf, True, "0.9", None, 1j)),
    *(("trpo", "trace", x, UNIT) for x in (-0.1, 1.1, math.nan)),
    *(("ppo", "clip", x, ABOVE) for x in (0, -0.2, math.nan, math.inf, True, None)),
    *(("vpg", "step", x, ABOVE) for x in (0.0, -1e-3, math.inf, math.nan, False, "1e-3", None)),
    *(("a3c", "step", x, ABOVE) for x in (0, -1)),
    *(("npg", "step", x, ABOVE) for x in (0, -1, math.nan)),
    *(("a2c", "critic_step", x, ABOVE) for x in (0, math.nan)),
    *(("actor_critic", "n_envs", x, COUNT) for x in (0, -1, 2.0, True, None, "8")),
    *(("actor_critic", "n_steps", x, COUNT) for x in (0, 2.5)),
    *(("a2c", "n_workers", x, COUNT) for x in (0, True)),
    *(("trpo", "kl_limit", x, ABOVE) for x in (0, -0.01, math.nan)),
    *(("npg", "damping", x, NOT_NEGATIVE) for x in (-0.1, math.nan, True, None)),
    *(("trpo", "products", x, COUNT) for x in (0, 2.0)),
    *(("trpo", "shrink", x, ABOVE) for x in (0, -1, math.nan)),
    *(("trpo", "shrink", x, r"in \(0, 1\)") for x in (1, 1.5)),
    ("trpo", "tries", 0, COUNT),
    ("a2c", "entropy", -0.01, NOT_NEGATIVE),
    *(("a2c", "max_norm", x, ABOVE) for x in (0, -1, math.nan, True)),
    ("ppo", "critic_weight", 0, ABOVE),
    *(("a2c", "mean", x, FLAG) for x in (1, None, "yes")),
    ("ppo", "normalise_obs", 1, FLAG),
    ("ppo", "scale_rewards", None, FLAG),
    ("npg", "normalise_advantages", 0, FLAG),
    ("vpg", "discounted", 1, FLAG),
    *(("ppo", "anneal_over", x, COUNT) for x in (0, 1.5, True)),
    *(("ppo", "optimizer", x, "one of 'sgd', 'rmsprop', 'adam'") for x in ("lbfgs", None)),
    ("a3c", "optimizer", "adam", "one of 'sgd', 'rmsprop'"),
    ("a3c", "backend", "fork", "one of 'thread', 'process'"),
    ("a3c", "segments", 0, COUNT),
    *(("a3c", "timeout", x, ABOVE) for x in (0, math.inf, None)),
    ("vpg", "activation", "sigmoid", "one of 'tanh', 'relu'"),
    *(("vpg", "dtype", x, "one of 'float32', 'float64'") for x in ("float16", None)),
    ("ppo", "objective", "trust", "one of 'clip', 'penalty'"),
    ("trpo", "solver", "qr", "one of 'cg', 'hessian'"),
    *(("vpg", "hidden", x, COUNT) for x in ((0,), (8, True), (8.0,))),
    *(("vpg", "hidden", x, "a tuple of widths") for x in (8, None, "64")),
    ("vpg", "last_layer", 0, ABOVE),
    *(("vpg", "log_std", x, "finite") for x in (math.nan, None, "0")),
    *(("ppo", name, 0, COUNT) for name in ("epochs", "minibatch")),
    *(("trpo", name, 0, COUNT) for name in ("critic_epochs", "critic_minibatch")),
    *(("ppo", name, 0, ABOVE) for name in ("kl_stop", "clip_values", "kl_target", "penalty")),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the path of a small agent's file, for each algorithm."""
    folder = tmp_path_factory.mktemp("saved")
    for algorithm in ALGORITHMS:
        agent(algorithm, "ProbeAction").save(folder / algorithm)
    return folder


def rewritten(path, target, header=None, **entries):
    """Write a file like another one, with other entries under a valid seal; None removes one."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    if header is not None:
        contents["header.json"] = json.dumps(header(json.loads(contents["header.json"])))
    for name, array in entries.items():
        file = io.BytesIO()
        np.save(file, np.asarray(array))
        contents[f"{name}.npy"] = file.getvalue() if array is not None else None
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)
    content = file.getvalue()
    digest = hashlib.sha256(content).hexdigest().encode()
    target.write_bytes(content + b"pgref checkpoint 0001 %020d %s\n" % (len(content), digest))
    return target


@pytest.mark.parametrize(("algorithm", "name", "value", "wanted"), SETTINGS)
def test_a_setting_out_of_its_range_is_refused_wherever_it_comes_from(
    saved, tmp_path, algorithm, name, value, wanted
):
    message = rf"{name} must be {wanted}.*, got "
    with pytest.raises((ArgumentError, ArgumentTypeError), match="^" + message):
        AGENTS[algorithm]("ProbeAction", **settings(algorithm, **{name: value}))
    config = ALGORITHMS[algorithm].Config()
    with pytest.raises((ArgumentError, ArgumentTypeError), match="^" + message):
        replace(config, **{name: value})
    assert config == ALGORITHMS[algorithm].Config()
    if isinstance(value, complex):
        return  # no file can hold it

    def spoilt(header):
        header["config"][name] = value
        return header

    with pytest.raises(CheckpointError, match=r"spoilt: " + message):
        load(rewritten(saved / algorithm, tmp_path / "spoilt", spoilt))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_setting_that_there_is_not_is_named_beside_those_there_are(saved, tmp_path, algorithm):
    with pytest.raises(ArgumentError, match=r"^unknown setting 'gama'; there are .*\bdiscount\b"):
        AGENTS[algorithm]("ProbeAction", gama=0.9)
    with pytest.raises(ArgumentError, match=r"^unknown setting 'Discount'"):
        AGENTS[algorithm]("ProbeAction", Discount=0.9)
    for change, message in (
        (lambda config: {**config, "gama": 0.9}, "unknown setting 'gama'; there are"),
        (lambda config: {k: v for k, v in config.items() if k != "discount"}, "config lacks discount$"),
        (lambda config: {**config, "env": "CartPole"}, "multiple values for argument 'env'"),
        (lambda config: list(config), "config lacks activation, "),
    ):
        path = rewritten(
            saved / algorithm, tmp_path / "spoilt", lambda h, c=change: {**h, "config": c(h["config"])}
        )
        with pytest.raises(CheckpointError, match="spoilt: .*" + message):
            load(path)


# --- calls ------------------------------------------------------------------------------------------------

WORLD = TabularMDP(np.full((3, 2, 3), 0.3), np.zeros((3, 2)), np.full(3, 1 / 3), 0.9)


class Part(Own):
    """An environment of which one description is wrong."""

    def __init__(self, **parts):
        super().__init__()
        vars(self).update(parts)


class Several(Own):
    action_space = MultiDiscrete((2, 3))


def stepped(env, actions):
    """Return what an environment makes of actions."""
    state, _ = env.reset(streams.keys(0, len(actions)))
    return env.step(state, np.array(actions))


MAKE = {  # how to make an agent that cannot be made
    "no environment": (lambda: AGENTS["trpo"](None), ArgumentTypeError, "env must be a name, .*, got None"),
    "a number": (lambda: AGENTS["trpo"](3), ArgumentTypeError, "env must be a name, .*, got 3"),
    "a class": (lambda: AGENTS["trpo"](Own), ArgumentTypeError, "env must be .*, got <class .*Own'>"),
    "a name that is none": (
        lambda: AGENTS["trpo"](Part(name=None)), ArgumentTypeError, "env.name must be a str, got None"),
    "no space": (
        lambda: AGENTS["trpo"](Part(obs_space=None)), ArgumentTypeError,
        "env.obs_space must be a Box or Discrete, got None",
    ),
    "several observations": (
        lambda: AGENTS["trpo"](Part(obs_space=MultiDiscrete((2, 3)))), ArgumentTypeError,
        "env.obs_space must be a Box or Discrete, got MultiDiscrete",
    ),
    "no actions": (
        lambda: AGENTS["trpo"](Part(action_space=2)), ArgumentTypeError,
        "env.action_space must be a Box or Discrete or MultiDiscrete, got 2",
    ),
    "another observation than declared": (
        lambda: AGENTS["trpo"](Part(obs_space=Box((0,), (1,)))), ShapeError,
        r"observations at reset must have shape \(8, 1\), got \(8, 3\)",
    ),
    "a space turned round": (
        lambda: Box((1.0,), (0.0,)), ArgumentError, r"low must be below high, entry by entry"),
    "a bound that is nan": (lambda: Box((math.nan,), (1.0,)), ArgumentError, r"low must be below high"),
    "a space without choices": (lambda: Discrete(0), ArgumentError, "n must be a whole number of at least 1"),
    "a seed below 0": (
        lambda: AGENTS["trpo"]("LQR", rng=-1), ArgumentError, "rng must be a Generator, .*, got -1"),
    "a seed that is a word": (
        lambda: AGENTS["trpo"]("LQR", rng="x"), ArgumentError, "rng must be .*, got 'x'"),
    "a seed that is a bool": (
        lambda: AGENTS["trpo"]("LQR", rng=True), ArgumentError, "rng must be .*, got True"),
    "weights beyond float32": (
        lambda: AGENTS["trpo"]("CartPole", last_layer=1e300), NonFiniteError, "first weights must be finite"),
    "a choice too many": (
        lambda: stepped(names.make("CartPole"), [0, 2]), ArgumentError, r"^action 2 not in Discrete\(2\)$"),
    "a choice below 0": (
        lambda: stepped(names.make("Acrobot"), [-1, 2]), ArgumentError, r"^action -1 not in Discrete\(3\)$"),
    "half a choice": (
        lambda: stepped(names.make("CartPole"), [0.5, 1.0]), ArgumentTypeError, "actions must hold integers"),
    "a choice for all": (
        lambda: names.make("CartPole").step(names.make("CartPole").reset(streams.keys(0, 2))[0], [1]),
        ShapeError, r"actions must have shape \(2\), got \(1,\)",
    ),
    "a force that is nan": (
        lambda: stepped(names.make("Pendulum"), [[0.0], [math.nan]]), NonFiniteError, "actions must be"),
    "a choice too many for an MDP": (
        lambda: stepped(AGENTS["vpg"](WORLD).env, [2]), ArgumentError, r"^action 2 not in Discrete\(2\)$"),
}  # fmt: skip


@pytest.mark.parametrize("case", MAKE)
def test_what_cannot_be_made_or_stepped_is_refused(case):
    action, error, message = MAKE[case]
    with pytest.raises(error, match=message) as caught:
        action()
    assert type(caught.value) is error


OBS = "obs must have shape (any, 4), got "
CALLS = {  # what to ask of an agent that learns CartPole
    "learn nothing": (lambda a: a.learn(0), ArgumentError, "steps must be a whole number of .*, got 0"),
    "learn backwards": (lambda a: a.learn(-5), ArgumentError, "steps must be .*, got -5"),
    "learn half a step": (lambda a: a.learn(0.5), ArgumentError, "steps must be .*, got 0.5"),
    "learn yes": (lambda a: a.learn(True), ArgumentError, "steps must be .*, got True"),
    "learn a word": (lambda a: a.learn("10"), ArgumentError, "steps must be .*, got '10'"),
    "learn None": (lambda a: a.learn(None), ArgumentError, "steps must be .*, got None"),
    "call a number": (lambda a: a.learn(9, [3]), ArgumentTypeError, r"callbacks must be .*, got \(3,\)"),
    "call no list": (lambda a: a.learn(9, len), ArgumentTypeError, "callbacks must be functions, got <built"),
    "an unknown option": (lambda a: a.learn(9, gama=1), TypeError, "unexpected keyword argument 'gama'"),
    "save often and nowhere": (
        lambda a: a.learn(9, checkpoint_every=5), ArgumentError, "checkpoint must be given with"),
    "save never": (
        lambda a: a.learn(9, checkpoint="x", checkpoint_every=0), ArgumentError, "checkpoint_every must be"),
    "save where there is no folder": (
        lambda a: a.learn(40, checkpoint="no/such/folder/x"), FileNotFoundError, "no/such/folder/x"),
    "save into a folder's name": (lambda a: a.save(os.curdir), IsADirectoryError, "directory"),
    "predict nan": (lambda a: a.predict([0, 0, math.nan, 0]), NonFiniteError, "obs must be finite, got nan"),
    "predict inf": (lambda a: a.predict([[math.inf] * 4]), NonFiniteError, "obs must be finite, got inf"),
    "predict beyond float32": (lambda a: a.predict([1e300] * 4), NonFiniteError, "observations must be"),
    "predict too few": (lambda a: a.predict(np.zeros(3)), ShapeError, re.escape(OBS + "(1, 3)")),
    "predict one": (lambda a: a.predict(0.0), ShapeError, re.escape(OBS + "(1,)")),
    "predict boxes": (lambda a: a.predict(np.zeros((1, 2, 4))), ShapeError, re.escape(OBS + "(1, 1, 2, 4)")),
    "predict rows of all lengths": (
        lambda a: a.predict([[1, 2], [3]]), ShapeError, "obs must be a rectangular array, got list"),
    "predict nothing": (lambda a: a.predict(np.zeros((0, 4))), ArgumentError, r"empty batch \(0 samples\)"),
    "predict None": (lambda a: a.predict(None), ArgumentTypeError, "obs must hold .*, got NoneType"),
    "predict words": (lambda a: a.predict(["a"] * 4), ArgumentTypeError, "obs must hold real numbers"),
    "predict bools": (lambda a: a.predict([True] * 4), ArgumentTypeError, "obs must hold real numbers"),
    "predict complex": (lambda a: a.predict([1j] * 4), ArgumentTypeError, "obs must hold real numbers"),
    "evaluate nothing": (lambda a: a.evaluate(0), ArgumentError, "episodes must be a whole number"),
    "evaluate half": (lambda a: a.evaluate(0.5), ArgumentError, "episodes must be .*, got 0.5"),
    "evaluate by a word": (lambda a: a.evaluate(1, rng="x"), ArgumentError, "rng must be .*, got 'x'"),
    "evaluate nowhere": (lambda a: a.evaluate(1, env=3), ArgumentTypeError, "env must be a name, .*, got 3"),
    "evaluate elsewhere": (
        lambda a: a.evaluate(1, env="Pendulum"), ArgumentError, r"env must have spaces like .*, got \(Box"),
    "evaluate with other actions": (
        lambda a: a.evaluate(1, env=Part(obs_space=Box((-1,) * 4, (1,) * 4), action_space=Discrete(3))),
        ArgumentError, r"env must have spaces like .*, got .*Discrete\(n=3\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_what_an_agent_cannot_do_is_refused_before_anything_changes(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learner, twin = agent("trpo").learn(1), agent("trpo").learn(1)
    action, error, message = CALLS[case]
    refused(learner, lambda: action(learner), error, message)
    assert not list(tmp_path.iterdir())
    assert bits(learner.learn(1).state) == bits(twin.learn(1).state)


def test_states_of_a_table_are_whole_numbers_that_it_has():
    learner = agent("ppo", WORLD)
    for obs, error, message in (
        (3, ArgumentError, "observations must be states 0 to 2, got 3"),
        (-1, ArgumentError, "observations must be states 0 to 2, got -1"),
        (1.0, ArgumentTypeError, "obs must hold integers"),
        (True, ArgumentTypeError, "obs must hold integers"),
        ([[0], [1]], ShapeError, r"obs must have shape \(any\), got \(1, 2, 1\)"),
        ([], ArgumentTypeError, "obs must hold integers"),
        (np.zeros(0, int), ArgumentError, r"empty batch \(0 samples\)"),
    ):
        refused(learner, lambda obs=obs: learner.predict(obs), error, message)


def test_observations_of_a_table_are_not_normalised():
    learner = agent("ppo", WORLD, normalise_obs=True)
    refused(learner, lambda: learner.learn(1), ArgumentError, "normalise_obs needs observations of a Box")


def test_an_evaluation_does_not_wait_for_an_end_that_never_comes(monkeypatch):
    monkeypatch.setattr(rollout, "LONGEST", 50)
    env = Own()
    learner = agent("trpo", env)
    always(lambda step: step._replace(terminated=np.zeros(1, bool), truncated=np.zeros(1, bool)))(env)
    refused(
        learner, lambda: learner.evaluate(1), ArgumentError,
        "episodes must end to be evaluated, got one of more than 50 steps",
    )  # fmt: skip


# --- numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("reward", [1e200, 1e305])
def test_rewards_so_large_that_a_square_or_a_sum_overflows_are_refused(algorithm, reward):
    env = Own()
    learner = agent(algorithm, env, dtype="float64").learn(1)
    always(lambda step: step._replace(reward=reward * step.reward))(env)
    refused(
        learner, lambda: learner.learn(1), *expected(algorithm, NonFiniteError, "must be finite, got inf")
    )


def require_finite_state(learner):
    for leaf in leaves(learner.state):
        assert not isinstance(leaf, (float, np.ndarray)) or np.isfinite(leaf).all()


SQUARES = {  # settings with which one reward of 1e30 overflows float32 at the very end of the update
    "vpg": {"critic_epochs": 1, "critic_minibatch": 99},
    "npg": {"critic_epochs": 1, "critic_minibatch": 99},
    "trpo": {"critic_epochs": 1, "critic_minibatch": 99},
    "ppo": {"epochs": 1, "minibatch": 99, "max_norm": None},
    "actor_critic": {"max_norm": None, "optimizer": "rmsprop"},
    "a2c": {"max_norm": None, "optimizer": "rmsprop"},
    "a3c": {"max_norm": None, "optimizer": "rmsprop", "n_workers": 1, "segments": 1},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_squares_of_the_last_gradient_that_overflow_are_found_at_once_and_not_one_update_later(algorithm):
    env = Own()
    learner = agent(algorithm, env, **SQUARES[algorithm])
    always(lambda step: step._replace(reward=1e30 * step.reward))(env)
    message = "mean_square must be finite, got inf"
    refused(learner, lambda: learner.learn(1), *expected(algorithm, NonFiniteError, message))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_step_beyond_every_number_is_found_at_once(algorithm):
    huge = {"critic_step": 1e300} if algorithm == "trpo" else {"step": 1e300}
    learner = agent(algorithm, Own(), **{**SQUARES[algorithm], **huge})
    by_the_worker_or_the_master = (NonFiniteError, WorkerError)
    message = "(theta|psi|weights) must be finite, got -?(inf|nan)"
    refused(learner, lambda: learner.learn(1), by_the_worker_or_the_master, message)


@pytest.mark.parametrize("log_std", [50.0, -50.0])
def test_a_deviation_that_overflows_is_refused_and_not_clipped(log_std):
    learner = agent("ppo", "Pendulum", log_std=log_std)
    refused(learner, lambda: learner.learn(1), NonFiniteError, r"log σ must be within ±44.4 .*, got -?50")
    refused(learner, lambda: learner.predict(np.zeros(3)), NonFiniteError, "log σ must be within")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_parameters_that_are_nan_learn_predict_and_save_nothing(algorithm, tmp_path):
    learner, path = agent(algorithm, Own()), tmp_path / "agent"
    learner.save(path)
    kept, good = path.read_bytes(), learner.state
    learner.state = good._replace(weights=np.full_like(good.weights, math.nan))
    refused(
        learner,
        lambda: learner.learn(1),
        *expected(algorithm, NonFiniteError, "theta must be finite, got nan"),
    )
    for action in (lambda: learner.predict(np.zeros(3)), lambda: learner.evaluate(1)):
        refused(learner, action, NonFiniteError, "theta must be finite, got nan")
    for action in (lambda: learner.save(path), lambda: learner.learn(1, checkpoint=path)):
        refused(learner, action, CheckpointError, r"agent: weights must be finite, got nan at index \(0,\)")
    assert path.read_bytes() == kept
    learner.state = good
    assert bits(learner.learn(1).state) == bits(load(path, Own()).learn(1).state)


@pytest.mark.parametrize("n", [2**31 - 1, 2**53 + 1])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_counters_do_not_wrap_or_round(algorithm, n, tmp_path):
    learner = agent(algorithm, rng=0, anneal_over=2**40)
    learner.state = learner.state._replace(steps=n, updates=n)
    one = agent(algorithm).learn(1).state
    state = learner.learn(1, checkpoint=tmp_path / "agent").state
    assert (state.steps, state.updates) == (n + one.steps, n + one.updates)
    assert bits(load(tmp_path / "agent").state) == bits(state)
    assert bits(load(tmp_path / "agent").learn(1).state) == bits(learner.learn(1).state)


class Flat(Own):
    """One state, one step, one reward: no action is better than another."""

    obs_space = Discrete(1)

    def observe(self, x, t):
        return np.zeros(len(x), int)

    def step(self, state, actions):
        n = len(state[0])
        flags = np.ones(n, bool), np.zeros(n, bool)
        return Step(state, self.observe(*state), self.observe(*state), np.full(n, 7.0), *flags)


class Single(Own):
    """There is nothing to choose."""

    action_space = Discrete(1)


@pytest.mark.parametrize("algorithm", ["vpg", "npg", "trpo", "ppo"])
@pytest.mark.parametrize("case", ["constant", "one sample"])
def test_advantages_that_prefer_nothing_move_nothing(algorithm, case):
    one = {"n_envs": 1, "n_steps": 1}
    env, size = (Flat(), {}) if case == "constant" else (Own(), one)
    learner = agent(algorithm, env, normalise_advantages=True, **size)
    theta, seen = learner.theta.tobytes(), []
    learner.learn(60, [seen.append])
    assert learner.theta.tobytes() == theta
    assert len(seen) > 1
    assert {update.status for update in seen} == {"degenerate_advantages"}
    require_finite_state(learner)
    assert all(np.isfinite([x for x in update if isinstance(x, float)]).all() for update in seen)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_gradient_of_zero_moves_nothing(algorithm):
    learner = agent(algorithm, Single())
    theta, psi = learner.theta.tobytes(), learner.psi.tobytes()
    learner.learn(80)
    assert learner.theta.tobytes() == theta
    assert learner.psi.tobytes() != psi


def test_a_line_search_that_finds_only_nan_moves_nothing(monkeypatch):
    learner = agent("trpo", Own())
    theta, seen = learner.theta.tobytes(), []
    monkeypatch.setattr(ALGORITHMS["trpo"], "measured", lambda *_: lambda candidate: (math.nan, math.nan))
    learner.learn(1, [seen.append])
    assert seen[0].status == "refused"
    assert learner.theta.tobytes() == theta


# --- files ------------------------------------------------------------------------------------------------


def header(**changes):
    return lambda path: rewritten(path, path, lambda h: {**h, **changes})


def config(**changes):
    return lambda path: rewritten(path, path, lambda h: {**h, "config": {**h["config"], **changes}})


def entries(**arrays):
    return lambda path: rewritten(path, path, **arrays)


def content(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flipped(data):
    return data[:400] + bytes([data[400] ^ 1]) + data[401:]


N = 59  # numbers in θ and ψ of the agent that is saved
FILES = {
    "empty": (content(lambda data: b""), "not a checkpoint of pgref, or cut short"),
    "cut short": (content(lambda data: data[: len(data) // 2]), "not a checkpoint of pgref, or cut short"),
    "without its last byte": (content(lambda data: data[:-1]), "not a checkpoint of pgref, or cut short"),
    "without its first byte": (
        content(lambda data: data[1:]),
        r"has \d+ bytes before its seal, must have \d+",
    ),
    "a bit flipped": (content(flipped), "damaged: its bytes do not have the SHA-256 of its seal"),
    "a text": (content(lambda data: b"hello " * 99), "not a checkpoint of pgref"),
    "a newer format": (
        content(lambda data: data[:-108] + data[-108:].replace(b"checkpoint 0001", b"checkpoint 0002")),
        "has format 2, this pgref reads format 1; a newer pgref wrote it",
    ),
    "an unknown algorithm": (header(algorithm="sac"), r"algorithm must be one of vpg, .*, got 'sac'"),
    "no algorithm": (header(algorithm=None), "algorithm must be one of vpg, .*, got None"),
    "several algorithms": (header(algorithm=["trpo"]), r"algorithm must be one of .*, got \['trpo'\]"),
    "another algorithm": (header(algorithm="ppo"), "config lacks anneal_clip, "),
    "no settings": (header(config=None), "config lacks activation, "),
    "an environment that is a number": (header(env=5), "env must be a name, .*, got 5"),
    "another environment": (header(env="CartPole"), rf"weights has shape \({N},\), must have \(\d+,\)"),
    "wider networks": (config(hidden=[9]), rf"weights has shape \({N},\), must have \(66,\)"),
    "deeper networks": (config(hidden=[8, 8]), r"weights has shape \(\d+,\), must have \(\d+,\)"),
    "another precision": (config(dtype="float64"), "weights has dtype float32, must have float64"),
    "more environments": (config(n_envs=4), r"runner\..* has shape .*3.*, must have .*4"),
    "no weights": (entries(weights=None), "weights missing"),
    "one array too many": (entries(secret=np.ones(3)), "unexpected secret"),
    "weights that are nan": (
        entries(weights=np.full(N, math.nan, np.float32)),
        r"weights must be finite, got nan at index \(0,\)",
    ),
    "weights in a column": (entries(weights=np.ones((N, 1), np.float32)), "weights has shape"),
    "weights that are whole": (
        entries(weights=np.ones(N, int)),
        "weights has dtype int64, must have float32",
    ),
    "objects": (entries(weights=np.array(["a"])), "weights is no array that a checkpoint may hold"),
    "a seed below 0": (entries(seed=-1), "seed must be a whole number of at least 0, got -1"),
    "steps below 0": (entries(steps=-1), "steps must be a whole number of at least 0, got -1"),
    "updates below 0": (entries(updates=-1), "updates must be a whole number of at least 0, got -1"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_holds_no_agent_is_refused_and_left_alone(saved, tmp_path, case):
    path, (spoil, message) = tmp_path / "agent.npz", FILES[case]
    path.write_bytes((saved / "trpo").read_bytes())
    spoil(path)
    found = path.read_bytes()
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(path))}: .*" + message) as caught:
        load(path)
    assert isinstance(caught.value, ValueError)
    assert path.read_bytes() == found


def test_a_file_for_another_environment_is_refused(saved):
    with pytest.raises(CheckpointError, match="trpo: weights has shape"):
        load(saved / "trpo", env="Pendulum")
    with pytest.raises(ArgumentTypeError, match=r"^env must be a name, .*, got 3"):
        load(saved / "trpo", env=3)


def test_a_file_that_is_none_is_what_the_system_says(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("replace", PermissionError(13, "Permission denied")),
        ("fsync", OSError(28, "No space left on device")),
        ("replace", KeyboardInterrupt("now")),
    ],
    ids=["read-only", "disk full", "Ctrl-C"],
)
def test_a_save_that_fails_leaves_the_old_file_and_the_agent(tmp_path, monkeypatch, name, error):
    learner, path = agent("trpo", "ProbeAction"), tmp_path / "agent"
    learner.learn(1, checkpoint=path)
    kept = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, name, lambda *args: raising(error)(None))
        refused(learner, lambda: learner.save(path), type(error), error.args[-1])
        refused(learner, lambda: learner.learn(40, checkpoint=path), type(error), error.args[-1])
    assert path.read_bytes() == kept
    assert [entry.name for entry in tmp_path.iterdir()] == ["agent"]
    assert load(path).learn(1).state.steps == learner.learn(1, checkpoint=path).state.steps


# --- workers ----------------------------------------------------------------------------------------------


class Lost(Executor):
    """An executor whose processes are gone."""

    def submit(self, *args):
        raise BrokenExecutor("a process in the pool ended abruptly")


@pytest.mark.parametrize("error", [OSError("the cable"), KeyboardInterrupt("now")], ids=["OSError", "Ctrl-C"])
def test_what_a_worker_of_a2c_raises_comes_through_once_the_others_have_ended(error):
    env = Own()
    learner = agent("a2c", env, n_workers=4).learn(1)
    before = bits(learner.state)
    env.fail(raising(error), at=20)
    with ThreadPoolExecutor(2) as executor:
        refused(learner, lambda: learner.learn(1, executor=executor), type(error), str(error))
        assert executor._work_queue.empty(), "nothing runs on"
        env.fault = None
        learner.learn(1, executor=executor)
    twin = agent("a2c", Own(), n_workers=4).learn(1)
    assert before == bits(twin.state)
    assert bits(learner.state) == bits(twin.learn(1).state)


def test_an_executor_of_a2c_that_is_none_or_gone_is_refused():
    learner = agent("a2c", Own())
    for executor, error, message in (
        (3, ArgumentTypeError, "executor must be a concurrent.futures.Executor, got 3"),
        (ThreadPoolExecutor, ArgumentTypeError, "executor must be a concurrent.futures.Executor, got <class"),
        (Lost(), BrokenExecutor, "a process in the pool ended abruptly"),
    ):
        refused(learner, lambda executor=executor: learner.learn(1, executor=executor), error, message)
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    refused(learner, lambda: learner.learn(1, executor=closed), RuntimeError, "after shutdown")
    learner.learn(1)


def within(seconds, action):
    """Return what an action raises, or fail if it has not ended after so many seconds."""
    ends = []

    def body():
        try:
            action()
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "hangs"
    return ends[0]


def test_a_worker_of_a3c_that_raises_ends_all_of_them():
    env = Own()
    learner = agent("a3c", env, backend="thread", n_workers=3)
    before, threads = bits(learner.state), threading.active_count()
    env.fail(raising(OSError("the cable")), at=50)
    error = within(30, lambda: learner.learn(1))
    assert type(error) is WorkerError
    assert re.fullmatch(r"worker \d failed: OSError: the cable", str(error))
    assert isinstance(error.__cause__, OSError)
    assert bits(learner.state) == before
    assert threading.active_count() == threads
    env.fault = None
    learner.restart()
    assert np.isfinite(learner.learn(1).state.weights).all()


def test_a_worker_of_a3c_that_hangs_is_not_waited_for():
    env, release = Own(), threading.Event()
    learner = agent("a3c", env, backend="thread", n_workers=3, timeout=0.2)
    before = bits(learner.state)
    env.fail(lambda step: release.wait(30) and step, at=50)
    error = within(30, lambda: learner.learn(1))
    release.set()
    assert type(error) is WorkerTimeout
    assert re.fullmatch(r"worker \d has pushed nothing for 0.2 s", str(error))
    assert bits(learner.state) == before


def test_processes_of_a3c_that_are_gone_are_named():
    learner = agent("a3c", Own(), backend="executor")
    refused(learner, lambda: learner.learn(1, executor=Lost()), WorkerDied, "worker 0 died: a process in the")
    refused(
        learner, lambda: learner.learn(1), ArgumentError, "executor must be given with backend='executor'"
    )


# --- interrupts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_ctrl_c_at_any_instant_leaves_the_agent_before_or_after_an_update(algorithm, tmp_path):
    """It comes with the n-th call of a function of the package, for n here and there in three updates."""
    reference, whole = agent(algorithm, Own()), tmp_path / "agent"
    states = [bits(reference.state)] + [bits(reference.learn(1).state) for _ in range(4)]
    steps = reference.state.steps // 4
    calls = counted(lambda: agent(algorithm, Own()).learn(3 * steps))
    rng = np.random.default_rng(0)
    ends = set()
    for n in rng.integers(1, calls, 9).tolist():
        learner = agent(algorithm, Own())
        path = whole if n % 2 else None
        with suppress(KeyboardInterrupt):
            counted(partial(learner.learn, 3 * steps, checkpoint=path), n)
        k = states.index(bits(learner.state))
        ends.add(k)
        if path is not None and (k or path.exists()):  # an interrupt of the first save leaves no file
            assert bits(load(path, Own()).state) in states
        assert bits(learner.learn(1).state) == states[k + 1]
    assert len(ends) > 1


def counted(action, interrupt_at=-1):
    """Return how many functions of the package an action calls; the one of that number is interrupted."""
    calls = itertools.count(1)

    def look(frame, event, _):
        if event == "call" and "pgref" in frame.f_code.co_filename and next(calls) == interrupt_at:
            raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
    return next(calls) - 1
