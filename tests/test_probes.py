"""Probes: their values and best returns in closed form and by trying every plan; what a failure means."""

import dataclasses
import pickle

import numpy as np
import pytest

from pgref import streams
from pgref.envs import probes
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, NotAbsorbingError, ShapeError
from pgref.estimates import td_errors
from pgref.spaces import Box, Discrete

MAKERS = [
    probes.observation,
    probes.delay,
    probes.termination,
    probes.time_limit,
    probes.action,
    probes.match,
    probes.credit,
]
SURE = MAKERS[:4]  # where no action makes a difference
all_probes = pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
G = 0.75  # a discount, exact in binary


def episodic(probe):
    return Episodic("probe", probe, probe.time_limit)


def paths(probe, n_envs, n_steps, rng):
    """What n environments show under random actions, each [T, E, …], and the first observations."""
    env = episodic(probe)
    state, obs = env.reset(streams.keys(3, n_envs))
    seen, steps = [obs], []
    for _ in range(n_steps):
        steps.append(env.step(state, rng.integers(2, size=n_envs)))
        state = steps[-1].state
        seen.append(steps[-1].obs)
    fields = {name: np.stack([getattr(step, name) for step in steps]) for name in steps[0]._fields[1:6]}
    return np.stack(seen[:-1]), fields


def value(probe, discount, obs):
    """V as a function of observations [..., d]."""
    which = (obs[..., None, :] == np.array(probe.features)).all(-1)
    assert (which.sum(-1) == 1).all()
    return which @ probe.values(discount)


@pytest.mark.parametrize(
    ("maker", "values"),
    [
        (probes.observation, [-1, 1]),
        (probes.delay, [G**2, G, 1]),
        (probes.termination, [sum(G**k for k in range(n)) for n in (5, 4, 3, 2, 1)]),
        (probes.time_limit, [1 / (1 - G)]),
        (probes.action, [0]),
        (probes.match, [0, 0]),
        (probes.credit, [0, -1, 1]),
    ],
)
def test_values_of_the_uniform_policy_in_closed_form(maker, values):
    np.testing.assert_allclose(maker().values(G), values, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("maker", "pi", "values"),
    [
        (probes.action, [[0.25, 0.75]], [0.5]),
        (probes.match, [[0, 1], [0.25, 0.75]], [-1, 0.5]),
        (probes.credit, [[0.25, 0.75], [1, 0], [1, 0]], [G * 0.5, -1, 1]),
    ],
)
def test_values_of_another_policy_in_closed_form(maker, pi, values):
    np.testing.assert_allclose(maker().values(G, pi), values, rtol=1e-15, atol=0)


@all_probes
@pytest.mark.parametrize("discount", [1.0, G])
def test_the_best_return_is_that_of_the_best_plan(maker, discount):
    """Every plan of actions is tried from every first observation."""
    probe = maker()
    longest = min(probe.time_limit, len(probe.features) if maker is not probes.time_limit else 5)
    plans = np.arange(2**longest)
    env, best = episodic(probe), []
    for key in range(40):  # whatever a probe can start with comes up
        state, first = env.reset(np.full(len(plans), key))
        total, under_way = np.zeros(len(plans)), np.ones(len(plans), bool)
        for t in range(longest):
            step = env.step(state, plans >> t & 1)
            total += discount**t * under_way * step.reward
            under_way &= ~(step.terminated | step.truncated)
            state = step.state
        assert not under_way.any()
        best.append((tuple(first[0]), total.max()))
    each = dict(best)
    assert len(each) == (probe.mdp.start > 0).sum()
    assert probe.optimal_return(discount) == pytest.approx(np.mean(list(each.values())), rel=1e-15)
    assert dict(best[::-1]) == each


@pytest.mark.parametrize("maker", SURE, ids=lambda maker: maker.__name__)
def test_the_values_leave_no_td_error_on_what_the_environment_shows(maker, rng):
    probe = maker()
    obs, path = paths(probe, 8, 12, rng)
    v, following = value(probe, G, obs), value(probe, G, path["final_obs"])
    errors = td_errors(path["reward"], v, following, path["terminated"], G)
    np.testing.assert_allclose(errors, 0, rtol=0, atol=1e-14)


def test_each_probe_sees_the_mistake_it_is_for(rng):
    """With the true values, these mistakes make TD errors that are not there."""
    limited, ended, seen, late = (maker() for maker in (probes.time_limit, probes.termination, *SURE[:2]))
    _, path = paths(limited, 4, 10, rng)
    v = np.full((10, 4), limited.values(G)[0])
    over = path["terminated"] | path["truncated"]
    assert path["truncated"][[4, 9]].all()
    assert np.abs(td_errors(path["reward"], v, v, over, G)).max() == G / (1 - G)  # cut off taken for an end

    obs, path = paths(ended, 4, 10, rng)
    v = value(ended, G, obs)
    never = np.zeros_like(path["terminated"])
    for wrong in (
        "obs",
        "final_obs",
    ):  # bootstrapped past the end, from the next episode or from the last state
        assert np.abs(td_errors(path["reward"], v, value(ended, G, path[wrong]), never, G)).max() >= G

    obs, path = paths(seen, 8, 3, rng)
    v = np.roll(value(seen, G, obs), 1, axis=1)  # values of other observations
    assert np.abs(td_errors(path["reward"], v, v, path["terminated"], G)).max() == 2

    obs, path = paths(late, 4, 6, rng)
    v, following = value(late, G, obs), value(late, G, path["final_obs"])
    assert np.abs(td_errors(path["reward"], v, following, path["terminated"], 1.0)).max() > 0.1  # another γ


@all_probes
def test_observations_tell_states_apart_and_lie_in_the_space(maker):
    probe = maker()
    features = np.array(probe.features)
    assert len(np.unique(features, axis=0)) == len(features) == probe.mdp.n_states
    d = features.shape[1]
    assert probe.obs_space == Box((-1,) * d, (1,) * d)
    assert probe.action_space == Discrete(2)
    assert (np.abs(features) <= 1).all()
    obs = episodic(probe).reset(np.arange(3))[1]
    assert obs.shape == (3, d)
    assert obs.dtype == np.float64
    assert probe.failure


@all_probes
def test_equal_descriptions_are_equal(maker):
    probe = maker()
    assert probe == maker() == pickle.loads(pickle.dumps(probe))
    assert hash(probe) == hash(maker())
    assert [other() for other in MAKERS].count(probe) == 1


def test_a_probe_that_never_terminates_has_no_undiscounted_values():
    with pytest.raises(NotAbsorbingError, match="discount=1"):
        probes.time_limit().values(1.0)
    assert probes.time_limit().optimal_return() == 5.0


def test_bad_arguments_are_refused():
    probe = probes.action()
    for call in (probe.values, probe.optimal_return):
        with pytest.raises(ArgumentError, match="discount must be in"):
            call(1.5)
    with pytest.raises(ShapeError, match="pi must have shape"):
        probe.values(0.5, [[1.0]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"successors": ((1, 0),)}, ArgumentError, r"successors must be in -1 … 0, got \(\(1, 0\),\)"),
        ({"successors": ((-2, 0),)}, ArgumentError, "successors must be in"),
        ({"successors": ((0.5, 0.5),)}, ArgumentTypeError, "successors must hold integers"),
        ({"rewards": ((1.0,),)}, ShapeError, "transitions must have shape"),
        ({"rewards": ((1.0, np.nan),)}, NonFiniteError, "rewards must be finite"),
        ({"n_starts": 0}, ArgumentError, "n_starts must be a whole number"),
        ({"n_starts": 2}, ArgumentError, "n_starts must be at most the 1 states, got 2"),
        ({"features": ((1.0,), (2.0,))}, ShapeError, "features must have shape"),
        ({"time_limit": 0}, ArgumentError, "time_limit must be a whole number"),
    ],
)
def test_a_bad_description_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(probes.action(), **change)
