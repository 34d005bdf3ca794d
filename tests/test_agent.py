"""The whole public API from a user's side: make, learn, predict, evaluate, save, load, and look inside."""

import math
import pickle
import sys
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import pytest
from training import ALGORITHMS, agent, bits, settings

import pgref
from pgref import checkpoint, presets, streams
from pgref.agent import A2C, A3C, AGENTS, NPG, PPO, TRPO, VPG, ActorCritic, Agent, Evaluation, load
from pgref.arrays import Workspace
from pgref.envs import names
from pgref.envs.gym import GymEnvironment
from pgref.envs.protocol import Episodic, Step
from pgref.envs.resolve import TABULAR_LIMIT, describe, fixed_settings, n_envs, resolve
from pgref.errors import ArgumentError, MissingExtraError
from pgref.knobs import make_config
from pgref.mdp import TabularMDP
from pgref.moments import normalised
from pgref.spaces import Box, Discrete, MultiDiscrete, clipped


class Aim(NamedTuple):
    """Where `Target` stands."""

    goals: np.ndarray  # [E] what the next actions should be
    keys: np.ndarray  # [E]
    clock: int


@dataclass(frozen=True)
class Target:
    """One step: the goal is seen, and both choices, or both numbers, should name it."""

    name: str = "Target"
    obs_space: object = Box((0.0,) * 3, (1.0,) * 3)
    action_space: object = MultiDiscrete((3, 3))

    def observe(self, goals):
        return goals.copy() if isinstance(self.obs_space, Discrete) else np.eye(3)[goals]

    def begin(self, keys, clock):
        goals = (3 * streams.uniforms(keys, np.full(len(keys), clock), 1)[0]).astype(int)
        return Aim(goals, keys, clock)

    def reset(self, keys):
        state = self.begin(keys, 0)
        return state, self.observe(state.goals)

    def step(self, state, actions):
        goals, after = state.goals, self.begin(state.keys, state.clock + 1)
        reward = -np.abs(np.asarray(actions, float).reshape(len(goals), -1) - goals[:, None]).sum(1)
        ended = np.ones(len(goals), bool)
        return Step(after, self.observe(after.goals), self.observe(goals), reward, ended, ~ended)


TABLE = Target(obs_space=Discrete(3), action_space=Discrete(3))
BOX = Target(action_space=Box((0.0, 0.0), (2.0, 2.0)))


def chain(n=4, discount=0.9):
    """Return an MDP of n states in a row: action 1 goes on, at the end for 1; action 0 stays and pays 0.1."""
    transitions, rewards = np.zeros((n, 2, n)), np.zeros((n, 2))
    for s in range(n):
        transitions[s, 0, s] = 0.5  # else the episode ends
        transitions[s, 1, s + 1 : s + 2] = 1
        rewards[s] = 0.1, float(s == n - 1)
    return TabularMDP(transitions, rewards, np.eye(n)[0], discount)


# --- in one line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_line_learns_and_evaluates(algorithm):
    done = agent(algorithm, "ProbeAction", hidden=()).learn(4_000).evaluate(20)
    assert isinstance(done, Evaluation)
    assert done.mean == done.returns.mean() == 1
    assert (done.std, done.returns.shape, done.lengths.tolist()) == (0, (20,), [1] * 20)


def test_the_classes_are_the_algorithms_and_come_with_the_package():
    classes = (VPG, ActorCritic, A2C, A3C, NPG, TRPO, PPO)
    assert tuple(AGENTS.values()) == classes
    assert list(AGENTS) == list(ALGORITHMS)
    for kind in classes:
        assert issubclass(kind, Agent)
        assert getattr(pgref, kind.__name__) is kind
    assert pgref.load is load
    assert pgref.Evaluation is Evaluation


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_a_setting_the_tuned_ones_hold(algorithm):
    learner = AGENTS[algorithm]("ProbeAction", rng=0)
    tuned = presets.settings(algorithm, "ProbeAction")
    assert learner.config == make_config(ALGORITHMS[algorithm].Config, tuned)
    other = AGENTS[algorithm]("ProbeAction", rng=0, discount=0.5)
    assert other.config == replace(learner.config, discount=0.5)


def test_the_seed_decides_and_none_draws_one():
    seeds = {agent("ppo", rng=rng).state.seed for rng in (None, None, 0, 1, np.random.default_rng(0))}
    assert len(seeds) == 4
    assert agent("ppo", rng=0).state.seed == agent("ppo", rng=np.random.default_rng(0)).state.seed
    assert agent("ppo", rng=np.int64(1)).state.seed == agent("ppo", rng=1).state.seed


# --- learn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_learn_is_the_functional_loop(algorithm):
    learner, module = agent(algorithm, normalise_obs=True), ALGORITHMS[algorithm]
    state, seen = module.init(learner.task, learner.config, 0), []
    assert bits(learner.state) == bits(state)
    for _ in range(3):
        state, evidence = module.update(learner.task, learner.config, state, Workspace())
        seen.append(evidence)
    found = []
    assert learner.learn(state.steps, [found.append]) is learner
    assert bits(learner.state) == bits(state)
    assert bits(tuple(found)) == bits(tuple(seen))


def test_learn_goes_beyond_by_less_than_an_update_and_counts_on():
    learner = agent("trpo")  # 36 steps an update
    assert [learner.learn(n).state.steps for n in (1, 36, 37)] == [36, 72, 144]
    assert bits(learner.state) == bits(agent("trpo").learn(144).state)


def test_callbacks_are_called_in_turn_and_one_that_returns_true_ends_it():
    learner, seen = agent("trpo"), []

    def first(update):
        seen.append(("first", update.updates))
        return update.updates == 2

    def second(update):
        seen.append(("second", learner.state.updates))
        return 1  # is not True

    learner.learn(1000, (callback for callback in (first, second)))
    assert seen == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]
    assert learner.learn(1000, [first]).state.steps > 1000


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_a_callback_raises_comes_through_after_a_whole_update(error, tmp_path):
    learner = agent("ppo")

    def fail(update):
        if update.updates == 2:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        learner.learn(1000, [fail], checkpoint=tmp_path / "agent")
    twin = agent("ppo").learn(72)
    assert bits(learner.state) == bits(twin.state)
    assert bits(load(tmp_path / "agent").state) == bits(twin.state)
    assert bits(learner.learn(36).state) == bits(twin.learn(36).state)


def test_checkpoints_come_at_once_now_and_then_and_at_the_end(monkeypatch):
    learner, saved = agent("trpo"), []
    monkeypatch.setattr(learner, "save", lambda path: saved.append((path, learner.state.updates)))
    learner.learn(36 * 5, checkpoint="here", checkpoint_every=72)
    assert saved == [("here", k) for k in (0, 2, 4, 5)]
    learner.learn(36, checkpoint="there")
    assert saved[4:] == [("there", 5), ("there", 6)]
    learner.learn(36)
    assert len(saved) == 6


def test_options_go_to_the_update():
    schedule = [0, 1, 1, 0]
    seen = []
    agent("a3c").learn(1, [seen.append], schedule=schedule)
    assert seen[0].schedule.tolist() == schedule


# --- predict ----------------------------------------------------------------------------------------------

SPACES = {  # an environment, one observation, and the shape and kind of an action
    "Box to Discrete": ("CartPole", [0.1, 0.2, 0.3, 0.4], (), "i"),
    "Box to Box": (BOX, [0.0, 1.0, 0.0], (2,), "f"),
    "Box to MultiDiscrete": (Target(), [0.0, 1.0, 0.0], (2,), "i"),
    "Discrete to Discrete": (TABLE, 2, (), "i"),
    "Discrete to MultiDiscrete": (replace(TABLE, action_space=MultiDiscrete((3, 3))), 2, (2,), "i"),
    "a TabularMDP": (chain(), 3, (), "i"),
}


@pytest.mark.parametrize("case", SPACES)
@pytest.mark.parametrize("deterministic", [True, False])
def test_predict_takes_one_observation_or_a_batch(case, deterministic):
    env, obs, shape, kind = SPACES[case]
    learner = agent("trpo", env)
    one = learner.predict(obs, deterministic)
    assert (np.shape(one), one.dtype.kind) == (shape, kind)
    for n in (1, 3):
        batch = learner.predict([obs] * n, deterministic)
        assert (batch.shape, batch.dtype.kind) == ((n, *shape), kind)
    for same in (np.array(obs), np.array(obs)[()], np.asfortranarray(np.array([obs]))[0]):
        assert np.array_equal(learner.predict(same, True), learner.predict(obs, True))


def test_the_likeliest_action_is_the_policys_mode_and_samples_have_its_probabilities():
    learner = agent("ppo", "ProbeMatch").learn(200)
    obs = np.array([[1.0], [-1.0]])
    assert (
        learner.predict(obs, deterministic=True).tolist() == learner.policy.mode(learner.theta, obs).tolist()
    )
    n, p = 20_000, learner.policy.probabilities(learner.theta, obs)[:, 1]
    drawn = learner.predict(np.repeat(obs, n, 0)).reshape(2, n).mean(1)
    assert (np.abs(drawn - p) < 5 * np.sqrt(p * (1 - p) / n)).all()


def test_predictions_follow_the_seed_and_are_no_part_of_learning(tmp_path):
    one, two, loaded = agent("ppo"), agent("ppo"), agent("ppo", rng=9)
    obs = np.zeros((50, 4))
    loaded = (one.save(tmp_path / "agent"), load(tmp_path / "agent"))[1]
    first = [learner.predict(obs).tolist() for learner in (one, two, loaded)]
    assert first[0] == first[1] == first[2]
    assert one.predict(obs).tolist() != first[0]
    assert agent("ppo", rng=1).predict(obs).tolist() != first[0]
    assert bits(one.learn(100).state) == bits(agent("ppo").learn(100).state)


def test_predict_sees_what_was_learned_from():
    learner = agent("trpo", "Pendulum", normalise_obs=True).learn(200)
    obs = np.array([[0.5, 0.5, 4.0]])
    seen = normalised(learner.state.runner.seen, obs)
    assert not np.allclose(seen, obs)
    expected = learner.policy.mode(learner.theta, seen)
    assert learner.predict(obs, deterministic=True).tobytes() == expected.tobytes()


# --- evaluate ---------------------------------------------------------------------------------------------


def played(learner, env, key):
    """Return the return and the length of an episode of one environment, step by step."""
    state, obs = env.reset(np.array([key], np.uint64))
    total, length, over = 0.0, 0, False
    while not over:
        step = env.step(state, clipped(env.action_space, learner.predict(obs, deterministic=True)))
        total, length, over = total + step.reward[0], length + 1, step.terminated[0] or step.truncated[0]
        state, obs = step.state, step.obs
    return total, length


@pytest.mark.parametrize("env", ["CartPole", "Pendulum"])
def test_evaluate_plays_the_episodes_of_single_environments(env):
    learner = agent("trpo", env).learn(300)
    done = learner.evaluate(7, rng=5)
    keys = streams.keys(streams.new_seed(5), 7)
    alone = [played(learner, learner.env, key) for key in keys]
    np.testing.assert_allclose(done.returns, [total for total, _ in alone], rtol=1e-5)
    assert done.lengths.tolist() == [length for _, length in alone]
    assert done.mean == pytest.approx(np.mean(done.returns))
    assert done.std == pytest.approx(np.std(done.returns))


def test_evaluate_is_reproducible_and_changes_nothing():
    learner, other = agent("ppo").learn(100), agent("ppo").learn(100)
    before = bits(learner.state)
    for deterministic in (True, False):
        one, two = (learner.evaluate(12, deterministic=deterministic) for _ in range(2))
        assert bits(one) == bits(two)
        assert bits(one) != bits(learner.evaluate(12, deterministic=deterministic, rng=1))
    assert bits(learner.evaluate(12, rng=np.random.default_rng(0))) == bits(learner.evaluate(12))
    assert bits(learner.state) == before
    assert bits(learner.learn(100).state) == bits(other.learn(100).state)


def test_more_episodes_than_environments_and_fewer():
    learner = agent("vpg", "ProbeDelay")
    for n in (1, 99, 100, 101, 250):
        done = learner.evaluate(n)
        assert done.returns.shape == done.lengths.shape == (n,)
        assert done.lengths.tolist() == [3] * n


def test_evaluate_elsewhere():
    learner = agent("trpo")
    short = Episodic("short", names.make("CartPole").dynamics, 3)
    assert learner.evaluate(5, env=short).lengths.tolist() == [3] * 5
    assert bits(learner.evaluate(5, env="CartPole")) == bits(learner.evaluate(5))


def test_an_environment_may_say_how_it_is_copied_or_that_it_cannot():
    class Copied(Target):
        def copy_for_evaluation(self):
            return TABLE if self.name == "table" else None

    learner = agent("trpo", Copied("table", Discrete(3), Discrete(3)))
    assert bits(learner.evaluate(5)) == bits(learner.evaluate(5, env=TABLE))
    learner = agent("trpo", Copied())
    with pytest.raises(ArgumentError, match="env must be given to evaluate: Target cannot be made a second"):
        learner.evaluate(5)
    assert learner.evaluate(5, env=Target()).returns.shape == (5,)


# --- save and load ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_loaded_agent_goes_on_bit_for_bit(algorithm, tmp_path):
    path = tmp_path / "agent.npz"
    options = {"normalise_obs": True, "scale_rewards": True, "anneal_over": 10_000, "hidden": (6, 5)}
    learner = agent(algorithm, "Pendulum", **options).learn(1, checkpoint=path)
    loaded = load(path)
    assert type(loaded) is type(learner)
    assert (loaded.config, loaded.env, loaded.resumable) == (learner.config, learner.env, True)
    assert bits(loaded.state) == bits(learner.state)
    assert bits(loaded.evaluate(3)) == bits(learner.evaluate(3))
    assert bits(loaded.learn(1).state) == bits(learner.learn(1).state)
    assert bits(learner.state) == bits(
        agent(algorithm, "Pendulum", **options).learn(learner.state.steps).state
    )


def test_a_file_says_what_it_holds(tmp_path):
    agent("trpo", "LQR", kl_limit=0.5).save(tmp_path / "agent.npz")
    header = checkpoint.load(tmp_path / "agent.npz").header
    assert (header["algorithm"], header["env"], header["config"]["kl_limit"]) == ("trpo", "LQR", 0.5)
    assert set(header["versions"]) == {"pgref", "numpy", "python"}
    assert header["versions"]["pgref"] == pgref.__version__


@pytest.mark.parametrize(
    "env", [chain(), TABLE, Target(), Episodic("CartPole", names.make("CartPole").dynamics, 9)]
)
def test_an_object_of_the_users_own_must_be_given_again(env, tmp_path):
    learner = agent("trpo", env).learn(1, checkpoint=tmp_path / "agent.npz")
    with pytest.raises(
        ArgumentError, match=r"env must be given to load .*agent\.npz: it was the user's own object"
    ):
        load(tmp_path / "agent.npz")
    loaded = load(tmp_path / "agent.npz", env)
    assert bits(loaded.learn(1).state) == bits(learner.learn(1).state)


def test_what_was_learned_can_go_on_elsewhere(tmp_path):
    agent("trpo").learn(1, checkpoint=tmp_path / "agent.npz")
    short = Episodic("short", names.make("CartPole").dynamics, 3)
    loaded = load(tmp_path / "agent.npz", env=short)
    assert loaded.env is short
    assert loaded.learn(1).evaluate(3).lengths.tolist() == [3] * 3


class Held(NamedTuple):
    """A state that no file can hold."""

    inner: Aim
    resumable = False


class Machine(Target):
    def reset(self, keys):
        state, obs = super().reset(keys)
        return Held(state), obs

    def step(self, state, actions):
        step = super().step(state.inner, actions)
        return step._replace(state=Held(step.state))


@pytest.mark.parametrize("algorithm", ["trpo", "a2c"])
def test_where_an_environment_cannot_be_saved_a_loaded_agent_begins_new_episodes(algorithm, tmp_path):
    env = Machine()
    learner = agent(algorithm, env).learn(1, checkpoint=tmp_path / "agent.npz")
    assert not learner.resumable
    loaded = load(tmp_path / "agent.npz", env)
    assert loaded.state.weights.tobytes() == learner.state.weights.tobytes()
    assert bits(loaded.state) != bits(learner.state)
    learner.restart()
    assert bits(loaded.learn(1).state) == bits(learner.learn(1).state)


# --- restart ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_restart_changes_where_the_environment_stands_and_nothing_else(algorithm):
    learner = agent(algorithm, normalise_obs=True, scale_rewards=True).learn(1)
    before = learner.state
    learner.restart()
    after = learner.state
    many = hasattr(after, "runners")
    pairs = zip(before.runners, after.runners, strict=True) if many else [(before.runner, after.runner)]
    for old, new in pairs:
        assert bits((new.clock, new.seen, new.gained)) == bits((old.clock, old.seen, old.gained))
        assert old.seen.n > 0
        assert not np.concatenate([new.returns, new.lengths, new.discounted]).any()
        assert (new.obs != old.obs).any(1).all()
    without = [state._replace(**{"runners" if many else "runner": None}) for state in (before, after)]
    assert bits(without[0]) == bits(without[1])
    learner.restart()
    assert bits(learner.state) == bits(after)
    learner.learn(1)
    learner.restart()
    last = learner.state.runners[0] if many else learner.state.runner
    assert (last.obs != (after.runners[0] if many else after.runner).obs).any()


# --- the functional layer ---------------------------------------------------------------------------------


def test_the_parameters_are_those_of_the_functions():
    learner = agent("trpo", dtype="float64", hidden=(5,)).learn(100)
    obs, actions = np.random.default_rng(0).standard_normal((9, 4)), np.arange(9) % 2
    weights = learner.state.weights
    assert np.concatenate([learner.theta, learner.psi]).tobytes() == weights.tobytes()
    assert (len(learner.theta), len(learner.psi)) == (learner.policy.n_params, learner.critic.n_params)

    def network(parameters, outputs):
        first, last = parameters[:25].reshape(5, 5), parameters[25:].reshape(6, outputs)
        return np.tanh(obs @ first[:-1] + first[-1]) @ last[:-1] + last[-1]

    logits = network(learner.theta, 2)
    expected = logits[np.arange(9), actions] - np.log(np.exp(logits).sum(1))
    found = learner.policy.log_prob(learner.theta, obs, actions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        learner.critic.values(learner.psi, obs), network(learner.psi, 1)[:, 0], rtol=0, atol=1e-14
    )
    assert learner.task == (learner.env, learner.policy, learner.critic)


@pytest.mark.parametrize("env", [Target(), TABLE, BOX], ids=["MultiDiscrete", "table", "Box"])
def test_an_environment_of_the_users_own_is_learned(env):
    learner = PPO(env, rng=0, hidden=(), n_envs=8, n_steps=16, epochs=4, step=3e-2, log_std=-1.0)
    before = learner.evaluate(100).mean
    after = learner.learn(5_000).evaluate(100).mean
    assert after > -0.4 > before


def test_a_tabular_mdp_is_learned_to_its_optimum():
    world = chain()
    learner = TRPO(world, rng=0, hidden=(), n_steps=64, discount=0.9).learn(15_000)
    assert learner.env == resolve(learner.env)
    assert learner.predict(np.arange(4), deterministic=True).tolist() == [1, 1, 1, 1]
    assert learner.evaluate(10).returns.tolist() == [1.0] * 10


# --- presets and names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", presets.TABLE, ids="-".join)
def test_every_row_of_settings_is_a_valid_config_of_a_known_algorithm_and_environment(key):
    algorithm, env = key
    kind = ALGORITHMS[algorithm].Config
    assert set(presets.TABLE[key]) <= {field.name for field in fields(kind)}
    config = make_config(kind, presets.settings(algorithm, env))
    for name, value in presets.TABLE[key].items():
        assert getattr(config, name) == value
    general = presets.TABLE[algorithm, "*"]
    assert presets.settings(algorithm, env) == {**general, **presets.TABLE[key]}
    assert env == "*" or env in names.TABLE or "-v" in env


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, rows in presets.NAMED.items() for key in rows], ids=str
)
def test_every_named_preset_is_a_valid_config_of_a_known_algorithm_and_environment(name, key):
    algorithm, env = key
    preset = presets.named(name, algorithm, env)
    assert preset == presets.named(name, algorithm, f"{env}-v1")
    assert env in names.TABLE
    assert type(preset.steps) is int
    config = make_config(ALGORITHMS[algorithm].Config, presets.settings(algorithm, env) | preset.settings)
    assert all(getattr(config, knob) == value for knob, value in preset.settings.items())


def test_the_fast_preset_solves_cartpole():
    preset = presets.named("fast", "trpo", "CartPole")
    agents = [AGENTS["trpo"]("CartPole", rng=seed, **preset.settings) for seed in range(3)]
    scores = [agent.learn(preset.steps).evaluate(100, rng=0).mean for agent in agents]
    assert np.median(scores) >= 475


def test_an_unknown_preset_is_said():
    with pytest.raises(ArgumentError, match=r"^preset must be one of fast, got 'slow'$"):
        presets.named("slow", "trpo", "CartPole")
    with pytest.raises(ArgumentError, match=r"^preset fast is there for trpo CartPole.*, got vpg LQR$"):
        presets.named("fast", "vpg", "LQR")


def test_a_row_comes_over_the_general_one(monkeypatch):
    table = {("ppo", "*"): {"n_envs": 3, "epochs": 2}, ("ppo", "LQR"): {"epochs": 5}}
    monkeypatch.setattr(presets, "TABLE", table)
    assert presets.settings("ppo", "LQR") == {"n_envs": 3, "epochs": 5}
    assert presets.settings("ppo", "CartPole") == {"n_envs": 3, "epochs": 2}
    assert presets.settings("trpo", "LQR") == {}
    config = PPO("LQR", rng=0, n_envs=4).config
    assert (config.n_envs, config.epochs) == (4, 5)
    assert table == {("ppo", "*"): {"n_envs": 3, "epochs": 2}, ("ppo", "LQR"): {"epochs": 5}}


@pytest.mark.parametrize("name", names.names())
def test_a_name_and_its_environment_lead_to_each_other(name):
    env = resolve(name)
    assert describe(env) == name
    assert resolve(env) is env
    assert resolve(describe(env)) == env
    assert describe(replace(env, time_limit=env.time_limit + 1)) is None
    assert (n_envs(env), fixed_settings(env)) == (None, {})


def test_an_mdp_has_episodes_of_limited_length():
    env = resolve(chain())
    assert (env.name, env.time_limit, env.dynamics.mdp.n_states) == ("TabularMDP", TABULAR_LIMIT, 4)
    assert describe(env) is None
    assert describe(TABLE) is None
    assert describe(replace(TABLE, name="CartPole")) is None


def test_an_environment_of_gymnasium_is_named_by_its_id_and_an_object_decides_how_many_there_are():
    spaces = Box((0.0,), (1.0,)), Discrete(2)
    for source, given, live, name, n in (
        ("CartPole-v1", {}, None, "CartPole-v1", None),
        ("CartPole-v1", {"render_mode": "rgb_array"}, None, None, None),
        (object(), {}, [object()] * 3, None, 3),
    ):
        env = GymEnvironment("any", *spaces, source, None, given, live)
        assert (describe(env), n_envs(env)) == (name, n)
        assert fixed_settings(env) == ({} if n is None else {"n_envs": n, "n_workers": 1})
        assert resolve(env) is env


def test_without_gymnasium_the_message_has_the_names_and_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(
        MissingExtraError, match=r"env must be one of CartPole, .*'CartPol'.*pip install"
    ) as caught:
        TRPO("CartPol")
    assert isinstance(caught.value, ImportError)
    assert AGENTS["vpg"]("CartPole", rng=0, **settings("vpg")).learn(1).state.updates == 1


def test_an_agent_survives_a_pickle():
    learner = agent("trpo").learn(1)
    again = pickle.loads(pickle.dumps(learner))
    assert bits(again.learn(1).state) == bits(learner.learn(1).state)
    assert math.isfinite(again.evaluate(2).mean)


def test_processes_are_started_once_for_all_updates(monkeypatch):
    from pgref.algorithms import a3c

    begun, plain = [], a3c.workers

    def counted(task, config):
        begun.append(config.backend)
        return plain(task, config)

    monkeypatch.setattr(a3c, "workers", counted)
    learner = agent("a3c", backend="process", n_workers=1, segments=2)
    learner.learn(3 * 2 * 3 * 12)
    assert (begun, learner.state.updates) == (["process"], 3 * 2)
    assert bits(learner.state) == bits(agent("a3c", n_workers=1, segments=2).learn(3 * 2 * 3 * 12).state)
    with a3c.workers(learner.task, learner.config) as pool:
        learner.learn(1, pool=pool)
    assert begun == ["process", "process"]
