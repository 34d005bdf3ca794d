"""Agents on Gymnasium environments: by id, as one environment, as a vector of them."""

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from pgref import checkpoint
from pgref.agent import A2C, A3C, AGENTS, PPO, TRPO, load
from pgref.envs.resolve import describe, resolve
from pgref.errors import ArgumentError, CheckpointError, EnvApiError, NonFiniteError

pytestmark = pytest.mark.integration

SMALL = {"n_steps": 12, "hidden": (8,)}


@pytest.fixture(scope="session")
def gym(peer):
    return peer("gymnasium")


def weights(learner):
    return learner.state.weights.tobytes()


@pytest.mark.parametrize("algorithm", AGENTS)
def test_an_id_is_learned_evaluated_saved_and_loaded(gym, algorithm, tmp_path):
    extra = {"backend": "schedule", "segments": 6} if algorithm == "a3c" else {}
    learner = AGENTS[algorithm]("CartPole-v1", rng=0, **SMALL, **extra)
    assert (learner.env.name, describe(learner.env), learner.resumable) == (
        "CartPole-v1",
        "CartPole-v1",
        False,
    )
    learner.learn(1, checkpoint=tmp_path / "agent.npz")
    loaded = load(tmp_path / "agent.npz")
    assert loaded.config == learner.config
    assert weights(loaded) == weights(learner)
    done = loaded.evaluate(4)
    assert done.returns.tolist() == done.lengths.tolist() == learner.evaluate(4).returns.tolist()
    learner.restart()
    assert weights(loaded.learn(1)) == weights(learner.learn(1))
    obs, _ = gym.make("CartPole-v1").reset(seed=0)
    assert loaded.predict(obs, deterministic=True) in (0, 1)


def test_an_id_gives_the_same_bits_twice(gym):
    one, two = (TRPO("CartPole-v1", rng=0, **SMALL).learn(288) for _ in range(2))
    assert weights(one) == weights(two)
    before = one.evaluate(5).returns.tolist()
    assert one.evaluate(5).returns.tolist() == before == two.evaluate(5).returns.tolist()
    assert weights(one.learn(288)) == weights(TRPO("CartPole-v1", rng=0, **SMALL).learn(576))


def test_an_id_learns_as_pgrefs_own_environment_does(gym):
    theirs = TRPO("CartPole-v1", rng=0).learn(20_000).evaluate(20).mean
    assert theirs > 3 * TRPO("CartPole-v1", rng=0).evaluate(20).mean


@pytest.mark.parametrize("kind", [TRPO, A2C, A3C])
def test_one_environment_is_one_and_has_one_worker(gym, kind, tmp_path):
    env = gym.make("CartPole-v1")
    extra = {"backend": "schedule", "segments": 2} if kind is A3C else {}
    learner = kind(env, rng=0, **SMALL, **extra).learn(30, checkpoint=tmp_path / "agent.npz")
    assert learner.config.n_envs == 1
    assert getattr(learner.config, "n_workers", 1) == 1
    assert learner.state.steps in (36, 48)
    with pytest.raises(ArgumentError, match=r"env must be given to load .*agent\.npz"):
        load(tmp_path / "agent.npz")
    loaded = load(tmp_path / "agent.npz", env=gym.make("CartPole-v1"))
    assert weights(loaded) == weights(learner)
    assert loaded.learn(1).state.updates > learner.state.updates
    by_id = kind("CartPole-v1", rng=0, n_envs=1, n_workers=1, **SMALL, **extra) if kind is not TRPO else None
    assert by_id is None or weights(by_id.learn(30)) == weights(learner)


def test_a_vector_of_environments_has_its_own_number(gym, tmp_path):
    env = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    learner = PPO(env, rng=0, **SMALL).learn(40, checkpoint=tmp_path / "agent.npz")
    assert (learner.config.n_envs, learner.state.steps % 36) == (3, 0)
    assert learner.evaluate(5).returns.shape == (5,)
    for wrong in (1, 8):
        with pytest.raises(ArgumentError, match=f"^n_envs must be 3 with this environment, got {wrong}$"):
            PPO(env, rng=0, n_envs=wrong)
        with pytest.raises(
            CheckpointError, match=rf"agent\.npz: n_envs must be {wrong} with this environment"
        ):
            load(tmp_path / "agent.npz", env=gym.make_vec("CartPole-v1", num_envs=wrong))
    with pytest.raises(ArgumentError, match=r"^n_workers must be 1 with this environment, got 2$"):
        A2C(env, rng=0, n_workers=2)
    with pytest.raises(ArgumentError, match="n_envs must be a whole number"):
        PPO(gym.make("CartPole-v1"), rng=0, n_envs=True)


def test_an_evaluation_leaves_the_environment_that_is_learned_alone(gym):
    def learned(evaluations):
        env = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        learner = TRPO(env, rng=0, **SMALL).learn(24)
        for _ in range(evaluations):
            learner.evaluate(3, deterministic=False)
        return weights(learner.learn(100))

    assert learned(0) == learned(2)


@pytest.fixture
def bare(gym):
    """Return a maker of environments that no spec describes."""

    class Bare(gym.Env):
        metadata: ClassVar[dict] = {"render_modes": []}
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gym.spaces.Discrete(3, start=1)
        broken = None

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t = 0
            return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

        def step(self, action):
            assert action in (1, 2, 3)
            self.t += 1
            if self.broken is not None:
                return self.broken()
            return self.np_random.uniform(-1, 1, 2).astype(np.float32), float(action), self.t == 4, False, {}

    return Bare


def test_what_no_spec_describes_is_evaluated_elsewhere(bare):
    learner = TRPO(bare(), rng=0, **SMALL).learn(100)
    message = "env must be given to evaluate: Bare cannot be made a second time"
    with pytest.raises(ArgumentError, match=message):
        learner.evaluate(3)
    done = learner.evaluate(3, env=bare())
    assert done.lengths.tolist() == [4] * 3
    assert 4 <= done.mean <= 12
    with pytest.raises(ArgumentError, match="env must have spaces like"):
        learner.evaluate(3, env="CartPole-v1")


@pytest.mark.parametrize("algorithm", ["trpo", "a2c", "a3c"])
def test_after_a_fault_a_restart_goes_on(bare, algorithm):
    env = bare()
    extra = {"backend": "schedule", "segments": 2} if algorithm == "a3c" else {}
    learner = AGENTS[algorithm](env, rng=0, **SMALL, **extra).learn(1)
    before = weights(learner)
    for broken, error, message in (
        (lambda: (np.full(2, np.nan, np.float32), 0.0, False, False, {}), NonFiniteError, "has nan at index"),
        (lambda: (np.zeros(2, np.float32), 0.0, False, {}), EnvApiError, "Gymnasium's API has 5"),
        (lambda: 1 / 0, ZeroDivisionError, "division by zero"),
    ):
        env.broken = broken
        with pytest.raises((error, RuntimeError), match=message) as caught:
            learner.learn(1)
        assert isinstance(caught.value.__cause__ if algorithm == "a3c" else caught.value, error)
        assert weights(learner) == before
        env.broken = None
        with pytest.raises((ArgumentError, RuntimeError), match="this state is past"):
            learner.learn(1)  # an environment of Gymnasium cannot go back
        learner.restart()
        before = weights(learner.learn(1))


@pytest.mark.parametrize("name", ["CartPol", "CartPole-v99", "a/b/c", "", "nothing/CartPole-v1"])
def test_a_name_that_neither_knows_is_refused_with_those_there_are(gym, name, tmp_path):
    message = rf"env must be one of CartPole, Pendulum, .*, or an id of Gymnasium, got '{name}': "
    with pytest.raises(ArgumentError, match=message) as caught:
        TRPO(name)
    assert isinstance(caught.value.__cause__, gym.error.Error)
    agent = TRPO("LQR", rng=0, **SMALL)
    header = {"algorithm": "trpo", "env": name, "config": checkpoint_config(agent, tmp_path)}
    checkpoint.save(tmp_path / "agent.npz", header, agent.state)
    with pytest.raises(CheckpointError, match=re.escape(str(Path(tmp_path / "agent.npz"))) + ": " + message):
        load(tmp_path / "agent.npz")


def checkpoint_config(agent, folder):
    agent.save(folder / "good.npz")
    return checkpoint.load(folder / "good.npz").header["config"]


def test_what_resolve_returns_resolves_to_itself(gym):
    for env in ("CartPole-v1", gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", num_envs=2)):
        assert resolve(resolve(env)) is not None
        assert resolve(env).name == "CartPole-v1"
