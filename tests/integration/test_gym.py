"""The adapters to and from Gymnasium, on environments whose every number is known beforehand."""

import copy
import itertools
import pickle
import re
import warnings
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import streams
from pgref.envs import gymnasium_export, names
from pgref.envs.gym import from_gymnasium
from pgref.envs.protocol import Episodic, Moved, Step
from pgref.errors import ArgumentError, ArgumentTypeError, EnvApiError, NonFiniteError, ShapeError
from pgref.spaces import Box, Discrete, MultiDiscrete

pytestmark = pytest.mark.integration

MODES = ["NEXT_STEP", "SAME_STEP", "DISABLED"]


@pytest.fixture(scope="session")
def gym(peer):
    return peer("gymnasium")


@pytest.fixture(scope="session")
def scripted(gym):
    """Return a maker of environments that play a script.

    Episode k has the k-th of `lengths` steps, the last over and over. Its observations are (number of the
    environment, k, t) and its rewards action + t / 8; even episodes terminate and odd ones are truncated.
    """

    class Scripted(gym.Env):
        metadata: ClassVar[dict] = {"render_modes": []}

        def __init__(self, number=0, lengths=(3,)):
            self.observation_space = gym.spaces.Box(-1, 99, (3,), np.float32)
            self.action_space = gym.spaces.Discrete(4)
            self.number, self.lengths, self.episode = number, lengths, -1
            self.seeds, self.closed = [], 0

        def obs(self):
            return np.array([self.number, self.episode, self.t], np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.seeds.append(seed)
            self.episode, self.t = self.episode + 1, 0
            return self.obs(), {}

        def step(self, action):
            self.t += 1
            over = self.t == self.lengths[min(self.episode, len(self.lengths) - 1)]
            odd = self.episode % 2 == 1
            return self.obs(), float(action) + self.t / 8, over and not odd, over and odd, {}

        def close(self):
            self.closed += 1

    return Scripted


def played(lengths, actions):
    """Return [Step] of one scripted environment without its state, by counting."""
    steps, episode, t = [], 0, 0
    for action in actions:
        t += 1
        final = obs = [episode, t]
        reward, over, odd = action + t / 8, t == lengths[min(episode, len(lengths) - 1)], episode % 2 == 1
        if over:
            episode, t = episode + 1, 0
            obs = [episode, 0]
        steps.append((obs, final, reward, over and not odd, over and odd))
    return steps


def rolled(environment, actions, keys=None):
    """Return the first observations and the steps that actions [T, E] lead to."""
    keys = streams.keys(0, len(actions[0])) if keys is None else keys
    state, first = environment.reset(keys)
    steps = []
    for row in actions:
        steps.append(environment.step(state, row))
        state = steps[-1].state
    return first, steps


def rows(steps, env):
    """Return what one environment went through, as `played` does, without rows that are no transition."""
    return [
        (
            step.obs[env].tolist()[1:],
            step.final_obs[env].tolist()[1:],
            step.reward[env],
            step.terminated[env],
            step.truncated[env],
        )
        for step in steps
        if step.valid is None or step.valid[env]
    ]


def autoreset(gym, mode):
    """Return the setting that asks a vector environment for a mode; Gymnasium 1.0 has the first one only."""
    if hasattr(gym.vector, "AutoresetMode"):
        return {"autoreset_mode": gym.vector.AutoresetMode[mode]}
    if mode != "NEXT_STEP":
        pytest.skip(f"this Gymnasium has no {mode}")
    return {}


def vector(gym, envs, mode, **settings):
    makers = [lambda env=env: env for env in envs]
    return gym.vector.SyncVectorEnv(makers, **autoreset(gym, mode), **settings)


scripts = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=3)


# --- episodes ---


@pytest.mark.parametrize("mode", ["SINGLES", *MODES])
@given(scripts, st.integers(0, 2**32 - 1), st.booleans())
@example(scripts=[[1]], seed=0, copies=False)
@example(scripts=[[2, 1], [3], [1, 1, 1, 5]], seed=1, copies=False)
def test_every_mode_tells_the_same_story(gym, scripted, mode, scripts, seed, copies):
    n, n_steps = len(scripts), 13
    actions = np.random.default_rng(seed).integers(4, size=(n_steps, n))
    envs = [scripted(e, lengths) for e, lengths in enumerate(scripts)]
    if mode == "SINGLES":
        order = iter([scripted(), *envs])  # one more is made to see its spaces
        gym.register("Scripted-v0", lambda: next(order))
        try:
            environment = from_gymnasium("Scripted-v0")
            first, steps = rolled(environment, actions)
        finally:
            del gym.registry["Scripted-v0"]
    else:
        environment = from_gymnasium(vector(gym, envs, mode, copy=copies))
        first, steps = rolled(environment, actions)
    assert first.tolist() == [[e, 0, 0] for e in range(n)]
    assert all(step.obs.dtype == step.final_obs.dtype == np.float32 for step in steps)
    assert all(step.reward.dtype == np.float64 for step in steps)
    assert all((step.valid is None) == (mode != "NEXT_STEP") for step in steps)
    for e, lengths in enumerate(scripts):
        if mode != "NEXT_STEP":
            assert rows(steps, e) == played(lengths, actions[:, e])
            continue
        valid = np.array([step.valid[e] for step in steps])
        told = played(lengths, actions[valid, e])
        # here an episode's last row leads to its own end; the next one's first observation comes after it
        assert [(final, final, *rest) for _, final, *rest in told] == rows(steps, e)
        over = [False, *(bool(step.terminated[e] or step.truncated[e]) for step in steps)]
        assert valid.tolist() == [not x for x in over[:-1]]
        for step, before in zip(steps, over, strict=False):
            if before:
                assert step.obs[e].tolist() == step.final_obs[e].tolist() == [e, step.obs[e][1], 0]
                assert (step.reward[e], step.terminated[e], step.truncated[e]) == (0, False, False)


def test_a_new_reset_forgets_which_episodes_had_ended(gym, scripted):
    environment = from_gymnasium(vector(gym, [scripted(0, [1])], "NEXT_STEP"))
    _, (step,) = rolled(environment, [[0]])
    assert step.terminated.all()
    _, (step,) = rolled(environment, [[0]])
    assert step.valid.all()


def test_the_last_observations_may_be_one_array_for_all(gym):
    """As a vector environment of one piece may return them, which also has one generator for all."""

    class Whole(gym.vector.VectorEnv):
        metadata: ClassVar[dict] = {"autoreset_mode": "SameStep"}  # the value serves as well
        num_envs = 2
        single_observation_space = gym.spaces.Discrete(9, start=1)
        single_action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            assert isinstance(seed, int)
            self.seed = seed
            return np.array([1, 1]), {}

        def step(self, actions):
            ended = np.array([True, False])
            return np.array([1, 5]), np.zeros(2), ended, ~ended, {"final_obs": np.array([9, 9])}

    env = Whole()
    environment = from_gymnasium(env)
    assert environment.obs_space == Discrete(9)
    state, obs = environment.reset(np.array([2**31 + 5, 7], np.uint64))
    assert env.seed == 5
    assert obs.tolist() == [0, 0]
    step = environment.step(state, [0, 1])
    assert step.obs.tolist() == [0, 4]
    assert step.final_obs.tolist() == [8, 8]


@pytest.mark.parametrize("mode", MODES)
def test_discrete_observations_restart_in_every_mode(gym, mode):
    envs = [gym.make("FrozenLake-v1", is_slippery=False, max_episode_steps=1) for _ in range(3)]
    first, (step,) = rolled(from_gymnasium(vector(gym, envs, mode)), [[1, 1, 1]])
    assert step.truncated.all()
    assert first.tolist() == [0, 0, 0]
    assert step.final_obs.tolist() == [4, 4, 4]
    assert step.obs.tolist() == [4 if mode == "NEXT_STEP" else 0] * 3
    assert step.obs.dtype == np.int64


@pytest.mark.parametrize("final", [{}, {"final_obs": [None]}, {"final_obs": np.array([None, None])}])
def test_episodes_that_end_without_a_last_observation_are_refused(gym, scripted, final, monkeypatch):
    env = vector(gym, [scripted(0, [9]), scripted(1, [2])], "SAME_STEP")
    step = env.step
    monkeypatch.setattr(env, "step", lambda actions: (*step(actions)[:4], final))
    with pytest.raises(EnvApiError, match="env 1 ended at step 1 without its final_obs in info"):
        rolled(from_gymnasium(env), [[0, 0]] * 2)


@pytest.mark.parametrize("mode", ["Odd", None, 3])
def test_unknown_autoreset_modes_are_refused(gym, scripted, mode):
    env = vector(gym, [scripted()], "DISABLED")
    env.metadata = {"autoreset_mode": mode}
    with pytest.raises(EnvApiError, match=r"must be one of NextStep, SameStep, Disabled, got"):
        from_gymnasium(env)


def test_gymnasium_1_0_knew_one_mode_and_did_not_name_it(gym, scripted, monkeypatch):
    env = vector(gym, [scripted()], "NEXT_STEP")
    env.metadata = {}
    monkeypatch.delattr(gym.vector, "AutoresetMode", raising=False)
    assert from_gymnasium(env).live.mode == "NextStep"


# --- seeds and lives ---


def test_each_environment_gets_the_seed_of_its_own_key_once(gym, scripted):
    keys = np.array([0, 2**31 - 1, 2**31 + 4, 2**64 - 1], np.uint64)
    seeds = [0, 2**31 - 1, 4, 2**31 - 1]
    envs = [scripted(e, [1]) for e in range(4)]
    rolled(from_gymnasium(vector(gym, envs, "DISABLED")), [[0] * 4], keys)
    assert [env.seeds for env in envs] == [[seed, None] for seed in seeds]
    one = scripted(0, [1])
    rolled(from_gymnasium(one), [[0]], keys[1:2])
    assert one.seeds == [2**31 - 1, None]


@pytest.mark.parametrize("id", ["CartPole-v1", "FrozenLake-v1"])
def test_equal_keys_give_equal_runs_and_others_do_not(gym, id):
    environment = from_gymnasium(id)
    actions = np.random.default_rng(0).integers(environment.action_space.n, size=(40, 3))
    runs = [rolled(environment, actions, streams.keys(seed, 3)) for seed in (1, 1, 2)]
    told = [[first.tolist(), *([x.tolist() for x in step[1:6]] for step in steps)] for first, steps in runs]
    assert told[0] == told[1]
    assert told[0] != told[2]


def test_singles_equal_a_vector_environment_with_the_same_seeds(gym):
    actions = np.random.default_rng(0).integers(2, size=(60, 3))
    vectorised = from_gymnasium(vector(gym, [gym.make("CartPole-v1") for _ in range(3)], "SAME_STEP"))
    (first, a), (other, b) = rolled(from_gymnasium("CartPole-v1"), actions), rolled(vectorised, actions)
    assert first.tolist() == other.tolist()
    assert any(step.terminated.any() for step in a)
    for x, y in zip(a, b, strict=True):
        assert [v.tolist() for v in x[1:6]] == [v.tolist() for v in y[1:6]]


def test_a_state_can_be_stepped_once(gym, scripted):
    environment = from_gymnasium(scripted(0, [9]))
    first, _ = environment.reset([0])
    assert not first.resumable
    second = environment.step(first, [0]).state
    with pytest.raises(ArgumentError, match="this state is past, and Gymnasium environments cannot go back"):
        environment.step(first, [0])
    third = environment.step(second, [0]).state
    environment.reset([0])
    with pytest.raises(ArgumentError, match="this state is past"):
        environment.step(third, [0])


def test_two_resets_of_an_id_live_side_by_side(gym):
    environment = from_gymnasium("CartPole-v1")
    (a, _), (b, _) = environment.reset([1]), environment.reset([1])
    assert environment.step(a, [0]).obs.tolist() == environment.step(b, [0]).obs.tolist()


@pytest.mark.parametrize("actions", [[4], [-1], [0.0], [0, 1], [[0]]])
def test_actions_outside_the_space_leave_the_state_as_it_was(gym, scripted, actions):
    environment = from_gymnasium(scripted())
    state, _ = environment.reset([0])
    with pytest.raises((ArgumentError, ArgumentTypeError)):
        environment.step(state, actions)
    assert environment.step(state, [1]).final_obs.tolist() == [[0, 0, 1]]


def test_environments_that_were_made_are_closed_and_those_given_are_not(gym, scripted):
    made = []
    gym.register("Scripted-v0", lambda: made.append(scripted()) or made[-1])
    try:
        environment = from_gymnasium("Scripted-v0")
        assert [env.closed for env in made] == [1]
        state, _ = environment.reset([0, 0])
        environment.close(state)
        assert [env.closed for env in made] == [1, 1, 1]
        with pytest.raises(ArgumentError, match="this state is past"):
            environment.step(state, [0, 0])
    finally:
        del gym.registry["Scripted-v0"]
    env = scripted()
    environment = from_gymnasium(env)
    state, _ = environment.reset([0])
    environment.close(state)
    assert env.closed == 0
    with pytest.raises(ArgumentError, match="this state is past"):
        environment.step(state, [0])


def test_environments_are_closed_where_a_later_one_cannot_be_made(gym, scripted):
    made = []

    def maker():
        if len(made) == 3:
            raise RuntimeError("no more")
        made.append(scripted())
        return made[-1]

    gym.register("Scripted-v0", maker)
    try:
        environment = from_gymnasium("Scripted-v0")
        with pytest.raises(RuntimeError, match="no more"):
            environment.reset([0, 0, 0])
        assert [env.closed for env in made] == [1, 1, 1]
    finally:
        del gym.registry["Scripted-v0"]


@pytest.mark.parametrize("keys", [[], [[1]], 1])
def test_keys_of_another_shape_are_refused(gym, keys):
    with pytest.raises(ArgumentError, match=r"keys must be \[E\] with at least one environment, got shape"):
        from_gymnasium("CartPole-v1").reset(keys)


def test_existing_environments_take_one_key_each(gym, scripted):
    for env, n in ((scripted(), 1), (vector(gym, [scripted(), scripted()], "DISABLED"), 2)):
        message = f"keys must be [{n}], one for each environment, got [3]"
        with pytest.raises(ArgumentError, match=re.escape(message)):
            from_gymnasium(env).reset([1, 2, 3])


def test_an_environment_by_id_can_be_pickled(gym):
    environment = from_gymnasium("FrozenLake-v1", is_slippery=False)
    again = pickle.loads(pickle.dumps(environment))
    _, (step,) = rolled(again, [[2, 1]])
    assert step.obs.tolist() == [1, 4]


# --- spaces ---


@pytest.fixture(scope="session")
def recorder(gym):
    """Return a maker of environments that keep the actions they get and return a given observation."""

    class Recorder(gym.Env):
        metadata: ClassVar[dict] = {"render_modes": []}

        def __init__(self, observation_space, action_space, obs):
            self.observation_space, self.action_space = observation_space, action_space
            self.obs, self.actions = obs, []

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.obs, {}

        def step(self, action):
            assert np.asarray(action) in self.action_space
            self.actions.append(np.array(action).tolist())
            return self.obs, 0.0, False, False, {}

    return Recorder


def action_cases(spaces):
    return [
        (spaces.Discrete(3, start=5), Discrete(3), [2], 7),
        (spaces.Discrete(3, start=-1), Discrete(3), [0], -1),
        (spaces.MultiDiscrete([2, 3]), MultiDiscrete((2, 3)), [[1, 2]], [1, 2]),
        (spaces.MultiDiscrete([2, 3], start=[4, 0]), MultiDiscrete((2, 3)), [[1, 2]], [5, 2]),
        (
            spaces.MultiDiscrete([[2, 3], [4, 5]]),
            MultiDiscrete((2, 3, 4, 5)),
            [[1, 2, 3, 4]],
            [[1, 2], [3, 4]],
        ),
        (spaces.Box(-1, 2, (2,), np.float32), Box((-1, -1), (2, 2)), [[0.5, 2]], [0.5, 2]),
        (
            spaces.Box(-1, 2, (2, 2), np.float64),
            Box((-1,) * 4, (2,) * 4),
            [[0.1, 2, 0, -1]],
            [[0.1, 2], [0, -1]],
        ),
        (spaces.Box(-1, 2, (), np.float32), Box((-1,), (2,)), [[0.5]], 0.5),
    ]


@pytest.mark.parametrize("i", range(8))
def test_actions_arrive_as_the_space_has_them(gym, recorder, i):
    theirs, ours, action, expected = action_cases(gym.spaces)[i]
    env = recorder(gym.spaces.Discrete(1), theirs, 0)
    environment = from_gymnasium(env)
    assert environment.action_space == ours
    given = np.array(action)
    rolled(environment, [given])
    assert env.actions == [expected]
    assert given.tolist() == action
    envs = [recorder(gym.spaces.Discrete(1), theirs, 0) for _ in range(2)]
    rolled(from_gymnasium(vector(gym, envs, "NEXT_STEP")), [given.repeat(2, axis=0)])
    assert [env.actions for env in envs] == [[expected]] * 2


def test_actions_too_large_for_their_precision_are_refused(gym, recorder):
    env = recorder(gym.spaces.Discrete(1), gym.spaces.Box(-np.inf, np.inf, (1,), np.float32), 0)
    with pytest.raises(NonFiniteError, match="actions must be finite"):
        rolled(from_gymnasium(env), [[[1e300]]])


def observation_cases(spaces):
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    return [
        (spaces.Discrete(3, start=5), 6, Discrete(3), 1, np.int64),
        (
            spaces.Box(-1, 1, (2,), np.float32),
            np.float32([0.5, 1]),
            Box((-1, -1), (1, 1)),
            [0.5, 1],
            np.float32,
        ),
        (
            spaces.Box(-1, 1, (1, 2), np.float64),
            np.array([[0.1, 1]]),
            Box((-1, -1), (1, 1)),
            [0.1, 1],
            np.float64,
        ),
        (
            spaces.Box(0, 255, (2, 2, 3), np.uint8),
            image,
            Box((0,) * 12, (255,) * 12),
            list(range(12)),
            np.float32,
        ),
        (spaces.Box(-1, 1, (), np.float32), np.float32(0.5), Box((-1,), (1,)), [0.5], np.float32),
    ]


@pytest.mark.parametrize("i", range(5))
def test_observations_are_flat_and_count_from_zero(gym, recorder, i):
    theirs, returned, ours, expected, dtype = observation_cases(gym.spaces)[i]
    actions = gym.spaces.Discrete(2)
    vectorised = vector(gym, [recorder(theirs, actions, returned) for _ in range(2)], "NEXT_STEP")
    for env, n in ((recorder(theirs, actions, returned), 1), (vectorised, 2)):
        environment = from_gymnasium(env)
        assert environment.obs_space == ours
        first, (step,) = rolled(environment, [[0] * n])
        for obs in (first, step.obs, step.final_obs):
            assert obs.dtype == dtype
            assert obs.tolist() == [expected] * n


def test_spaces_without_a_counterpart_are_refused(gym, recorder):
    spaces = gym.spaces
    for space in (
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(3),
        spaces.Dict(a=spaces.Discrete(2)),
        spaces.Tuple([spaces.Discrete(2)]),
    ):
        with pytest.raises(
            EnvApiError, match=r"wrap the environment in gymnasium\.wrappers\.FlattenObservation"
        ):
            from_gymnasium(recorder(space, spaces.Discrete(2), None))
        if not isinstance(space, spaces.MultiDiscrete):
            with pytest.raises(
                EnvApiError, match="action space must be Discrete, MultiDiscrete or a Box of floats"
            ):
                from_gymnasium(recorder(spaces.Discrete(2), space, 0))
    with pytest.raises(EnvApiError, match="action space must be Discrete, MultiDiscrete or a Box of floats"):
        from_gymnasium(recorder(spaces.Discrete(2), spaces.Box(0, 9, (2,), np.int64), 0))


def test_the_wrapper_that_the_message_names_is_the_remedy(gym):
    with pytest.raises(EnvApiError, match="FlattenObservation"):
        from_gymnasium("Blackjack-v1")
    environment = from_gymnasium(gym.wrappers.FlattenObservation(gym.make("Blackjack-v1")))
    first, _ = rolled(environment, [[0], [1]])
    assert first.shape == (1, 32 + 11 + 2)
    assert first.sum() == 3


# --- faults ---


def broken(gym, scripted, at, **items):
    """Return two environments, the second of which misbehaves at step `at`, counted from 0."""

    class Broken(scripted):
        def step(self, action):
            result = dict(
                zip(("obs", "reward", "terminated", "truncated", "info"), super().step(action), strict=True)
            )
            if self.t == at + 1:
                if "raises" in items:
                    raise items["raises"]
                if "returns" in items:
                    return items["returns"]
                result |= {name: items[name] for name in result if name in items}
            return tuple(result.values())

        def reset(self, *, seed=None, options=None):
            result = super().reset(seed=seed)
            if self.episode == 1 and "resets" in items:
                if isinstance(items["resets"], Exception):
                    raise items["resets"]
                return items["resets"]
            return result

    return [scripted(0, [9]), Broken(1, [at + 2])]


@pytest.fixture
def singles(gym):
    """Return the maker of an environment that runs these single ones."""

    def made(envs):
        order = iter([envs[0], *envs])  # one more is made to see its spaces
        gym.register("Broken-v0", lambda: next(order))
        return from_gymnasium("Broken-v0")

    yield made
    del gym.registry["Broken-v0"]


FAULTS = {
    "nan": (
        {"obs": np.float32([0, np.nan, 0])},
        NonFiniteError,
        "observation from env 1 at step 3 has nan at index (1,)",
    ),
    "shape": (
        {"obs": np.float32([0])},
        ShapeError,
        "observation from env 1 at step 3 has shape (1,), space says (3,)",
    ),
    "dtype": (
        {"obs": np.zeros(3)},
        ArgumentTypeError,
        "observation from env 1 at step 3 has dtype float64, space says float32: the cast would lose digits",
    ),
    "reward": ({"reward": np.inf}, NonFiniteError, "reward from env 1 at step 3 is inf"),
    "text": (
        {"reward": "1.0"},
        ArgumentTypeError,
        "reward must be a real scalar, got str '1.0' from env 1 at step 3",
    ),
    "end": ({"terminated": 1}, EnvApiError, "terminated must be a bool, got int 1 from env 1 at step 3"),
    "cut": (
        {"truncated": None},
        EnvApiError,
        "truncated must be a bool, got NoneType None from env 1 at step 3",
    ),
    "four": ({"returns": (0, 0.0, False, {})}, EnvApiError, "step() returned 4 items, Gymnasium's API has 5"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_single_environments_name_place_and_time(gym, scripted, singles, name):
    items, error, message = FAULTS[name]
    environment = singles(broken(gym, scripted, 3, **items))
    state, _ = environment.reset([1, 2])
    for _ in range(3):
        state = environment.step(state, [0, 0]).state
    with pytest.raises(error) as caught:
        environment.step(state, [0, 0])
    assert str(caught.value) == message
    with pytest.raises(ArgumentError, match="this state is past"):
        environment.step(state, [0, 0])


@pytest.mark.parametrize(
    ("index", "value", "error", "message"),
    [
        (
            0,
            np.float32([[0, 0, 0], [0, 0, -np.inf]]),
            NonFiniteError,
            "observation from env 1 at step 0 has -inf at index (2,)",
        ),
        (0, np.zeros((2, 1), "f4"), ShapeError, "observation at step 0 has shape (2, 1), space says (2, 3)"),
        (1, np.array([0, np.nan]), NonFiniteError, "reward from env 1 at step 0 is nan"),
        (
            1,
            0.0,
            ArgumentTypeError,
            "rewards at step 0 must be real numbers [2], got dtype float64 and shape ()",
        ),
        (
            2,
            np.zeros(2),
            EnvApiError,
            "terminated at step 0 must be bools [2], got dtype float64 and shape (2,)",
        ),
        (3, [0, 0], EnvApiError, "truncated at step 0 must be bools [2], got dtype int64 and shape (2,)"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_faults_of_vector_environments_name_place_and_time(
    gym, scripted, monkeypatch, mode, index, value, error, message
):
    env = vector(gym, [scripted(), scripted()], mode)
    step = env.step
    monkeypatch.setattr(env, "step", lambda actions: (*(r := step(actions))[:index], value, *r[index + 1 :]))
    with pytest.raises(error) as caught:
        rolled(from_gymnasium(env), [[0, 0]])
    assert str(caught.value) == message


def test_a_non_finite_last_observation_of_the_same_step_is_refused(gym, scripted):
    env = vector(gym, broken(gym, scripted, 1, obs=np.float32([0, np.nan, 0]), terminated=True), "SAME_STEP")
    with pytest.raises(NonFiniteError, match="observation from env 1 at step 1 has nan at index"):
        rolled(from_gymnasium(env), [[0, 0]] * 2)


def test_exceptions_of_an_environment_pass_unchanged_with_a_note(gym, scripted, singles):
    raised = ZeroDivisionError("in the environment")
    envs = broken(gym, scripted, 3, raises=raised)
    environment = singles(envs)
    with pytest.raises(ZeroDivisionError) as caught:
        rolled(environment, [[0, 0]] * 4)
    assert caught.value is raised
    assert raised.__notes__ == ["env 1, step 3"]


def test_exceptions_of_a_restart_pass_with_a_note(gym, scripted, singles):
    raised = RuntimeError("in reset")
    with pytest.raises(RuntimeError) as caught:
        rolled(singles(broken(gym, scripted, 3, resets=raised)), [[0, 0]] * 5)
    assert caught.value is raised
    assert raised.__notes__ == ["env 1, step 4"]


def test_exceptions_of_the_first_reset_pass_with_a_note(gym):
    class Stubborn(gym.Env):
        observation_space = gym.spaces.Discrete(2)
        action_space = gym.spaces.Discrete(2)

        def reset(self):
            """As before seeds were given here."""

    with pytest.raises(TypeError, match="unexpected keyword argument 'seed'") as caught:
        from_gymnasium(Stubborn()).reset([0])
    assert caught.value.__notes__ == ["env 0, reset"]


def test_a_restart_without_info_is_refused(gym, scripted, singles):
    with pytest.raises(EnvApiError, match=r"reset\(\) returned ndarray, Gymnasium's API has"):
        rolled(singles(broken(gym, scripted, 3, resets=np.zeros(3, "f4"))), [[0, 0]] * 5)


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_of_a_vector_environment_pass_with_a_note(gym, scripted, mode):
    raised = ZeroDivisionError("in the environment")
    env = vector(gym, broken(gym, scripted, 3, raises=raised), mode)
    environment = from_gymnasium(env)
    with pytest.raises(ZeroDivisionError) as caught:
        rolled(environment, [[0, 0]] * 4)
    assert caught.value is raised
    assert raised.__notes__ == ["step 3"]
    state, _ = environment.reset([1, 2])
    assert not environment.step(state, [0, 0]).terminated.any()


@pytest.mark.parametrize("env", [None, 3, scripts], ids=["None", "3", "other"])
def test_what_is_no_environment_is_refused(gym, env):
    with pytest.raises(EnvApiError, match="env must be a Gymnasium id, Env or VectorEnv, got"):
        from_gymnasium(env)


def test_settings_are_for_ids_only(gym, scripted):
    with pytest.raises(ArgumentError, match="settings are for an id, got an environment and number"):
        from_gymnasium(scripted(), number=1)


# --- names and copies ---


def test_an_environment_has_the_name_of_its_spec_or_class(gym, scripted):
    assert from_gymnasium("CartPole-v1").name == "CartPole-v1"
    assert from_gymnasium(gym.spec("CartPole-v1")).name == "CartPole-v1"
    assert from_gymnasium(gym.make("CartPole-v1")).name == "CartPole-v1"
    assert from_gymnasium(gym.make_vec("CartPole-v1", 2)).name == "CartPole-v1"
    assert from_gymnasium(gym.wrappers.Autoreset(scripted())).name == "Scripted"


def length_of(environment):
    """Return the steps until the first episode ends, always pushed to the same side."""
    state, _ = environment.reset([0])
    for t in itertools.count(1):
        step = environment.step(state, [0])
        if step.terminated[0] or step.truncated[0]:
            return t
        state = step.state


def test_copies_for_evaluation_share_nothing_and_keep_the_settings(gym):
    by_id = from_gymnasium("CartPole-v1", max_episode_steps=4)
    assert by_id.copy_for_evaluation() is by_id
    for env in (
        gym.make("CartPole-v1", max_episode_steps=4),
        gym.wrappers.RescaleAction(
            gym.make("Pendulum-v1", max_episode_steps=4), np.float32(-1), np.float32(1)
        ),
        gym.make_vec("CartPole-v1", 3, max_episode_steps=4),
        gym.make_vec("CartPole-v1", 3, "vector_entry_point", max_episode_steps=4),
        gym.make_vec("CartPole-v1", 3, "sync", {"copy": False}, max_episode_steps=4),
    ):
        original = from_gymnasium(env)
        before = copy.deepcopy(env.spec)
        copied = original.copy_for_evaluation()
        assert env.spec == before
        assert copied.live is None
        assert (copied.name, copied.obs_space) == (original.name, original.obs_space)
        assert copied.action_space == original.action_space
        if copied.name == "CartPole-v1":
            assert length_of(copied) == 4


def test_without_a_spec_that_tells_all_there_is_no_copy(gym, scripted):
    class Odd(gym.Wrapper):
        """Does not record its arguments."""

    for env in (
        scripted(),
        Odd(gym.make("CartPole-v1")),
        vector(gym, [scripted()], "DISABLED"),
        gym.make_vec("CartPole-v1", 2, "sync", wrappers=[Odd]),
        gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("CartPole-v1", 2)),
    ):
        assert from_gymnasium(env).copy_for_evaluation() is None


# --- ours as Gymnasium's ---


class Toy:
    """Counts to the action; observes as it is told to."""

    start_draws, step_draws = 1, 0

    def __init__(self, obs_space, action_space, shown, action=0):
        self.obs_space, self.action_space, self.shown, self.action = obs_space, action_space, shown, action

    def start(self, draws):
        return np.floor(draws * 2)

    def move(self, x, actions, draws):
        assert np.asarray(actions).ndim == (1 if isinstance(self.action_space, Discrete) else 2)
        return Moved(x + 1, np.ones(x.shape[1]), x[0] >= 3)

    def observe(self, x):
        return self.shown(x[0])


TOYS = {
    "box": Toy(Box((0, 0), (9, 1)), Discrete(2), lambda x: np.stack([x, np.full_like(x, 0.1)], 1)),
    "discrete": Toy(Discrete(9), Box((-1,), (1,)), lambda x: x.astype(np.int64)),
    "several": Toy(
        MultiDiscrete((9, 2)), MultiDiscrete((2, 3)), lambda x: np.stack([x, 0 * x], 1).astype(np.int64)
    ),
}


def checked(env, **how):
    """Return the messages of the warnings that Gymnasium's own checker gives."""
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env, **how)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("name", TOYS)
def test_gymnasiums_checker_has_nothing_to_say(gym, name):
    env = gymnasium_export.to_gymnasium(Episodic("Toy", TOYS[name], 9))
    assert checked(env, skip_render_check=True) == []


@pytest.mark.parametrize("name", names.names())
def test_every_registered_environment_passes_gymnasiums_checker(gym, name):
    assert f"pgref/{name}-v0" in gymnasium_export.register()
    env = gym.make(f"pgref/{name}-v0")
    assert env.spec.id == f"pgref/{name}-v0"
    said = checked(env.unwrapped)
    # it recommends bounds of a space that are not the environment's own; nothing else may come
    assert all(
        "infinity. This is probably too" in text or "we recommend using a symmetric" in text for text in said
    )


def test_registering_again_does_no_harm(gym):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids = gymnasium_export.register()
        assert gymnasium_export.register() == ids == [f"pgref/{name}-v0" for name in names.names()]


def test_exported_spaces_are_float32_or_whole_numbers(gym):
    spaces = gym.spaces
    for name, seen, done in (
        ("box", spaces.Box(np.float32([0, 0]), np.float32([9, 1])), spaces.Discrete(2)),
        ("discrete", spaces.Discrete(9), spaces.Box(-1, 1, (1,), np.float32)),
        ("several", spaces.MultiDiscrete([9, 2]), spaces.MultiDiscrete([2, 3])),
    ):
        env = gymnasium_export.to_gymnasium(Episodic("Toy", TOYS[name], 9))
        assert (env.observation_space, env.action_space) == (seen, done)
    assert gymnasium_export.their_space(Box((-1e300,), (1,))) == spaces.Box(-np.inf, 1, (1,), np.float32)


def test_an_exported_environment_replays_its_seed_and_goes_on_from_it(gym):
    env = gymnasium_export.make("CartPole")
    runs = []
    for seed in (5, 5, 6):
        run = [env.reset(seed=seed)[0].tolist()]
        run += [env.step(t % 2)[0].tolist() for t in range(5)]
        runs.append([*run, env.reset()[0].tolist()])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0][0] != runs[0][-1]


def test_an_exported_episode_is_that_of_the_environment(gym):
    environment = names.make("CartPole")
    env = gymnasium_export.to_gymnasium(environment)
    obs, _ = env.reset(seed=7)
    key = np.random.default_rng(np.random.PCG64(np.random.SeedSequence(7))).integers(
        2**64, size=1, dtype=np.uint64
    )
    state, expected = environment.reset(key)
    assert obs.tolist() == expected[0].astype(np.float32).tolist()
    over = False
    while not over:
        step = environment.step(state, np.array([1]))
        state = step.state
        obs, reward, terminated, truncated, info = env.step(1)
        assert obs.tolist() == step.final_obs[0].astype(np.float32).tolist()
        assert (reward, terminated, truncated) == (step.reward[0], step.terminated[0], step.truncated[0])
        assert (type(reward), type(terminated), type(truncated), info) == (float, bool, bool, {})
        over = terminated or truncated


def test_an_exported_episode_that_is_over_needs_a_reset(gym):
    env = gymnasium_export.to_gymnasium(Episodic("Toy", TOYS["discrete"], 2))
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1))
    env.reset(seed=0)
    assert env.step(np.zeros(1))[3] is False
    assert env.step(np.zeros(1))[3] is True
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1))


def test_an_exported_environment_refuses_options_and_foreign_actions(gym):
    env = gymnasium_export.make("CartPole")
    with pytest.raises(ArgumentError, match="options must be empty"):
        env.reset(options={"low": 0})
    env.reset(seed=0)
    for action in (2, -1, 0.5, None, [0, 1]):
        with pytest.raises((ArgumentError, ArgumentTypeError)):
            env.step(action)


def test_there_and_back_is_the_same_environment(gym):
    environment = from_gymnasium(gymnasium_export.make("Pendulum"))
    original = names.make("Pendulum")
    assert (environment.obs_space, environment.action_space) == (original.obs_space, original.action_space)
    actions = np.random.default_rng(0).uniform(-2, 2, (210, 1, 1)).astype(np.float32)
    first, steps = rolled(environment, actions, [3])
    seed = np.random.default_rng(np.random.PCG64(np.random.SeedSequence(3)))
    expected, others = rolled(original, actions[:200], seed.integers(2**64, size=1, dtype=np.uint64))
    assert first.tolist() == expected.tolist()
    for step, other in zip(steps, others, strict=False):
        assert isinstance(step, Step)
        assert step.final_obs.tolist() == other.final_obs.tolist()
        assert (step.reward, step.truncated) == (other.reward, other.truncated)
    assert steps[199].truncated.all()
    assert steps[199].obs.tolist() != steps[199].final_obs.tolist()
