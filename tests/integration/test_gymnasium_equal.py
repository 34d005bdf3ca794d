"""The classic-control environments against Gymnasium's own, step for step and bit for bit.

Ours step 8 at once; theirs are 8 single ones, which get our state after each restart. Half of the 8 act at
random, and half by a rule good enough to reach the ends that chance does not.
"""

import numpy as np
import pytest

from pgref import streams
from pgref.envs.acrobot import Acrobot
from pgref.envs.cartpole import CartPole
from pgref.envs.mountain_car import MountainCarContinuous
from pgref.envs.pendulum import Pendulum
from pgref.envs.protocol import Episodic
from pgref.spaces import Box

# Gymnasium's float32 numbers take part in sums under NumPy 2's rules; before, they became float64 there
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(np.__version__ < "2", reason="Gymnasium's own numbers differ under NumPy 1"),
]
E, STEPS = 8, 2500
CARTPOLE = Episodic("CartPole-v1", CartPole(), 500)
PENDULUM = Episodic("Pendulum-v1", Pendulum(), 200)
ACROBOT = Episodic("Acrobot-v1", Acrobot(), 500)
CAR = Episodic("MountainCarContinuous-v0", MountainCarContinuous(), 999)
RULES = {  # a fair action for states x [n, E]
    CARTPOLE: lambda x: (x[2] + x[3] + 0.1 * x[1] + 0.05 * x[0] > 0).astype(int),
    PENDULUM: lambda x: 2 * np.sign(x[1]),
    ACROBOT: lambda x: np.where(x[3] > 0, 2, 0),
    CAR: lambda x: np.sign(x[1]),
}


@pytest.fixture(scope="session")
def gymnasium(peer):
    return peer("gymnasium")


def ordinal(x):
    """Return integers that count floats: neighbours differ by 1."""
    bits = x.view(np.int32 if x.dtype == np.float32 else np.int64).astype(np.int64)
    return np.where(bits < 0, np.iinfo(x.dtype.str.replace("f", "i")).min - bits, bits)


def apart(ours, theirs):
    """Return how many units in the last place lie between two arrays of the same dtype, at most."""
    assert ours.dtype == theirs.dtype
    return abs(ordinal(ours) - ordinal(theirs)).max(initial=0)


class Theirs:
    """E single environments of Gymnasium."""

    def __init__(self, gymnasium, env):
        self.envs = [gymnasium.make(env.name, disable_env_checker=True) for _ in range(E)]
        self.discrete = not isinstance(env.action_space, Box)

    def put(self, i, x):
        """Restart environment i from the state x."""
        self.envs[i].reset(seed=0)
        self.envs[i].unwrapped.state = x.copy()

    def step(self, actions):
        """Return obs, reward, terminated and truncated, stacked."""
        actions = actions.tolist() if self.discrete else actions
        steps = [env.step(a)[:4] for env, a in zip(self.envs, actions, strict=True)]
        obs, reward, terminated, truncated = (np.array(part) for part in zip(*steps, strict=True))
        return obs, reward.astype(float), terminated, truncated


def actions_for(env, rng, x, dtype, beyond):
    """Return actions: at random in the even environments, by the rule with some noise in the odd ones."""
    if not isinstance(env.action_space, Box):
        chance = rng.integers(0, env.action_space.n, E)
        lucky = rng.random(E) < 0.02
        return np.where((np.arange(E) % 2 == 0) | lucky, chance, RULES[env](x))
    high = env.action_space.high[0] * beyond
    chance = rng.uniform(-high, high, E)
    mixed = np.where(np.arange(E) % 2 == 0, chance, RULES[env](x) - 0.1 * abs(chance) * np.sign(x[1]))
    return mixed.astype(dtype)[:, None]


def compare(gymnasium, env, dtype=np.float32, beyond=1.0, steps=STEPS):
    """Return, after that many steps, how far apart things were and how many episodes ended in which way."""
    rng, theirs = np.random.default_rng(5), Theirs(gymnasium, env)
    state, _ = env.reset(streams.keys(5, E))
    for i in range(E):
        theirs.put(i, state.x[:, i])
    worst = {"state": 0, "obs": 0, "reward": 0.0, "rewards": 0}
    ends = np.zeros(2, int)
    for _ in range(steps):
        actions = actions_for(env, rng, state.x, dtype, beyond)
        moved = env.dynamics.move(state.x, actions, state.x[:0]).x
        step = env.step(state, actions)
        obs, reward, terminated, truncated = theirs.step(actions)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated)
        got = np.array([e.unwrapped.state for e in theirs.envs]).T
        worst["state"] = max(worst["state"], apart(np.ascontiguousarray(moved), np.ascontiguousarray(got)))
        worst["obs"] = max(worst["obs"], apart(step.final_obs, obs))
        worst["reward"] = max(worst["reward"], abs(step.reward - reward).max())
        worst["rewards"] += (step.reward != reward).sum()
        ends += terminated.sum(), truncated.sum()
        state = step.state
        for i in np.flatnonzero(terminated | truncated):
            theirs.put(i, state.x[:, i])
    return worst, ends


EQUAL = {"state": 0, "obs": 0, "reward": 0, "rewards": 0}


@pytest.mark.parametrize("env", [CARTPOLE, ACROBOT, CAR], ids=lambda env: env.name)
def test_every_step_is_gymnasiums_bit_for_bit(gymnasium, env):
    worst, ends = compare(gymnasium, env)
    assert worst == EQUAL
    assert (ends > 0).all()


@pytest.mark.parametrize(
    ("dtype", "beyond", "limit"),
    # the torque's cost, below 2⁻⁷, in float32: one unit; four units of costs below 32 for the float64 squares
    [(np.float32, 1.0, 2.0**-31), (np.float32, 2.0, 2.0**-31), (np.float64, 2.0, 2.0**-46)],
)
def test_the_pendulum_is_gymnasiums_but_for_the_last_place_of_few_rewards(gymnasium, dtype, beyond, limit):
    worst, ends = compare(gymnasium, PENDULUM, dtype, beyond)
    assert worst["state"] == worst["obs"] == 0
    assert worst["reward"] <= limit + 2.0**-46
    assert worst["rewards"] <= 0.005 * E * STEPS
    assert ends[0] == 0 < ends[1]


def test_the_car_given_float64_is_gymnasiums_but_for_the_last_place_of_few_rewards(gymnasium):
    worst, _ = compare(gymnasium, CAR, np.float64)
    assert worst["state"] == worst["obs"] == 0
    assert worst["reward"] <= 2.0**-56  # of costs below 1/8


def test_the_comparison_sees_a_wrong_constant(gymnasium):
    other = Episodic(CARTPOLE.name, CartPole(pole_mass=0.1 + 2.0**-40), 500)
    RULES[other] = RULES[CARTPOLE]
    worst, _ = compare(gymnasium, other, steps=20)
    assert worst["state"] > 0


@pytest.mark.parametrize("env", RULES, ids=lambda env: env.name)
def test_spaces_and_limits_are_gymnasiums(gymnasium, env):
    theirs = gymnasium.make(env.name)
    for ours, space in ((env.obs_space, theirs.observation_space), (env.action_space, theirs.action_space)):
        if isinstance(ours, Box):
            np.testing.assert_array_equal(np.float32(ours.low), space.low)
            np.testing.assert_array_equal(np.float32(ours.high), space.high)
        else:
            assert (ours.n, space.start) == (space.n, 0)
    assert theirs.spec.max_episode_steps == env.time_limit


@pytest.mark.parametrize("env", RULES, ids=lambda env: env.name)
def test_first_observations_are_gymnasiums(gymnasium, env):
    theirs = gymnasium.make(env.name)
    obs = np.array([theirs.reset(seed=seed)[0] for seed in range(100)])
    x = np.array([(theirs.reset(seed=seed), theirs.unwrapped.state)[1] for seed in range(100)]).T
    # the Acrobot's first sines are float32 ones, with errors of up to 1.5 units
    assert apart(env.dynamics.observe(x).astype(np.float32), obs) <= (2 if env is ACROBOT else 0)
