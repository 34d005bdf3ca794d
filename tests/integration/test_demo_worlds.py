"""The environments of the page in which a policy plays, in Node.js, equal pgref's step for step.

A test skips where Node.js is missing, and fails there if PGREF_REQUIRE_EXTRAS=1.
"""

import json
import math
import re
import subprocess
from dataclasses import asdict
from importlib.resources import files

import numpy as np
import pytest
from exporting import program

from pgref.agent import TRPO
from pgref.demo import page
from pgref.envs.names import make
from pgref.spaces import Box

pytestmark = pytest.mark.integration

N = 5000
LIMIT = 1e-12  # of a number, relative to max(1, |number|)
STATES = {  # how far the states of a transition reach
    "CartPole": (3, 4, math.pi, 4),
    "Pendulum": (20, 8),
    "Acrobot": (math.pi, math.pi, 4 * math.pi, 9 * math.pi),
    "MountainCarContinuous": (1.2, 0.07),
}
RUN = """
import { readFileSync } from "node:fs";
import { WORLDS } from "./worlds.mjs";
const { name, draws, states, actions, changes } = JSON.parse(readFileSync(0, "utf8"));
const world = WORLDS[name];
const answers = [{}, ...changes].map((change) => {
  const c = { ...world.constants, ...change };
  return {
    starts: draws.map((u) => world.start(u, c)),
    steps: states.map((x, i) => {
      const { x: next, reward, terminated } = world.step(x, actions[i], c);
      return [...next, reward, Number(terminated), ...world.observe(next)];
    }),
  };
});
const { draw, start, step, observe, shove, ...about } = world;
process.stdout.write(JSON.stringify({ about, answers }));
"""


@pytest.fixture(scope="module")
def node():
    """Return the path of Node.js."""
    return program("node")


@pytest.fixture
def worlds(node, tmp_path):
    """Return the function that runs worlds.js, or another text in its place."""

    def run(transitions, changes=(), text=None):
        source = files("pgref.demo").joinpath("worlds.js").read_text("utf-8") if text is None else text
        (tmp_path / "worlds.mjs").write_text(source, "utf-8")
        (tmp_path / "run.mjs").write_text(RUN, "utf-8")
        asked = json.dumps({**transitions, "changes": list(changes)})
        command = [node, str(tmp_path / "run.mjs")]
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run


def drawn(name, n=N):
    """Return n transitions as Node.js takes them."""
    rng, dynamics = np.random.default_rng(7), make(name).dynamics
    x = rng.uniform(-1, 1, (n, len(STATES[name]))) * STATES[name]
    space = dynamics.action_space
    if isinstance(space, Box):  # some beyond the bounds
        actions = 1.5 * space.high[0] * rng.uniform(-1, 1, n)
    else:
        actions = rng.integers(space.n, size=n)
    if name == "MountainCarContinuous":  # a state in float32, as its actions are in training
        x[: n // 10, 0] = -1.19  # beside the wall
        x, actions = x.astype(np.float32).clip(-1.2, 0.6), actions.astype(np.float32)
    draws = rng.random((n, dynamics.start_draws))
    named = {"draws": draws, "states": x, "actions": actions}
    return {"name": name, **{key: array.tolist() for key, array in named.items()}}


def expected(transitions):
    """Return what pgref's environment makes of them: starts, and next states, rewards, ends, observations."""
    name = transitions["name"]
    dynamics = make(name).dynamics
    kind = np.float32 if name == "MountainCarContinuous" else np.float64
    x, actions = np.array(transitions["states"], kind).T.copy(), np.array(transitions["actions"])
    if isinstance(dynamics.action_space, Box):
        actions = actions.astype(kind)[:, None]
    moved = dynamics.move(x, actions, x[:0])
    steps = [*moved.x, moved.reward, moved.terminated, *dynamics.observe(moved.x).T]
    return dynamics.start(np.array(transitions["draws"]).T).T, np.array(steps, float).T


def worst(got, wanted):
    """Return the largest |got − wanted|/max(1, |wanted|)."""
    return (np.abs(np.array(got) - wanted) / np.maximum(1, np.abs(wanted))).max()


@pytest.mark.parametrize("name", STATES)
def test_an_environment_of_the_page_equals_pgrefs_and_a_changed_constant_does_not(worlds, name):
    env, transitions = make(name), drawn(name)
    fields = {key: value for key, value in asdict(env.dynamics).items() if key != "dtype"}
    camel = {key: re.sub(r"_(\w)", lambda found: found[1].upper(), key) for key in fields}
    changes = [{camel[key]: 1.05 * value} for key, value in fields.items()]
    answered = worlds(transitions, changes)
    about, (same, *others) = answered["about"], answered["answers"]
    assert about["constants"] == {camel[key]: value for key, value in fields.items()}
    starts, steps = expected(transitions)
    assert worst(same["starts"], starts) <= LIMIT
    assert worst(same["steps"], steps) <= LIMIT
    d = env.obs_space.d
    np.testing.assert_array_equal(np.array(same["steps"])[:, -d:], steps[:, -d:])  # as float32
    ends = steps[:, -d - 1]
    assert (0 < ends.sum() < N) == (name != "Pendulum")
    for change, other in zip(changes, others, strict=True):
        off = max(worst(other["starts"], starts), worst(other["steps"], steps))
        assert off > 1e-6, change


@pytest.mark.parametrize("name", STATES)
def test_an_environment_of_the_page_has_the_limit_and_the_spaces_of_pgrefs(worlds, name):
    env, about = make(name), worlds(drawn(name, 1))["about"]
    assert (about["limit"], about["draws"]) == (env.time_limit, env.dynamics.start_draws)
    assert len(about["spread"]) == env.obs_space.d
    space = env.action_space
    assert len(about["actions"]) == (space.d if isinstance(space, Box) else space.n)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("Pendulum", "sin(angle), rate].map(fround)", "sin(angle), rate]"),
        ("CartPole", "position + c.dt * velocity", "position + c.dt * (velocity + c.dt * push)"),
        ("Pendulum", "angle + next * c.dt", "angle + rate * c.dt"),
        ("Acrobot", "ahead(k3, c.dt)", "ahead(k3, c.dt / 2)"),
        ("MountainCarContinuous", "fround(velocity + fround(engine - slope))", "velocity + (engine - slope)"),
    ],
)
def test_a_wrong_environment_is_found(worlds, name, right, wrong):
    text = files("pgref.demo").joinpath("worlds.js").read_text("utf-8")
    assert text.count(right) == 1
    transitions = drawn(name)
    (answer,) = worlds(transitions, text=text.replace(right, wrong))["answers"]
    assert worst(answer["steps"], expected(transitions)[1]) > 1000 * LIMIT


def test_a_policy_of_gymnasiums_environment_plays_too(peer):
    peer("gymnasium")
    agent = TRPO("CartPole-v1", rng=0, hidden=(4,))
    assert '"env": "CartPole"' in page.text(agent)
