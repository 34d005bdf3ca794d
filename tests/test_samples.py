"""Samples against sums that are written out, one environment, one step and one term at a time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import assert_same, frozen, script

from pgref.arrays import Workspace
from pgref.critic import Critic
from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.envs import probes
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError, NonFiniteError
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.policy import Policy
from pgref.rollout import Rollout, collect, start
from pgref.samples import Samples, estimated, looked_at, values_along
from pgref.spaces import Box, Discrete, MultiDiscrete

seeds = st.integers(0, 2**32 - 1)
POLICY = Policy(MLP((2, 3)), Categorical())
CRITIC = Critic(MLP((2, 5, 1)))


def segment(env, n_steps, policy=POLICY, dtype=np.float64, skipped=0):
    """Return a segment of a script, after another one of `skipped` steps."""
    rng = np.random.default_rng(0)
    theta, runner = policy.init(rng, dtype), start(env, len(env.first), 0)
    if skipped:
        _, runner = collect(env, policy, theta, runner, skipped, rng)
    return collect(env, policy, theta, runner, n_steps, rng)[0]


@st.composite
def segments(draw):
    later = draw(st.booleans())
    n_steps = draw(st.integers(2 if later else 1, 8))
    ends, skipped = draw(st.sampled_from([0.0, 0.3, 1.0])), draw(st.sampled_from([0, 2]))
    env = script(draw(seeds), skipped + n_steps, draw(st.integers(1, 3)), ends, later)
    return segment(env, n_steps, skipped=skipped)


def value(critic, psi, obs):
    """Return V of a single observation."""
    return critic.values(psi, obs[None])[0]


def enumerated(critic, psi, rollout, discount, trace):
    """Return Â of every transition in the order of the samples, from its definition."""
    n_steps, n_envs = rollout.rewards.shape
    rows = []
    for t in range(n_steps):
        for e in range(n_envs):
            if rollout.valid is not None and not rollout.valid[t, e]:
                continue
            total, k = 0.0, t
            while True:  # Σ_l (γλ)^l δ_{t+l} to the end of the episode or of the segment
                ahead = (
                    0.0 if rollout.terminated[k, e] else discount * value(critic, psi, rollout.next_obs[k, e])
                )
                delta = rollout.rewards[k, e] + ahead - value(critic, psi, rollout.obs[k, e])
                total += (discount * trace) ** (k - t) * delta
                if rollout.terminated[k, e] or rollout.truncated[k, e] or k + 1 == n_steps:
                    break
                k += 1
            rows.append(total)
    return np.array(rows)


def discounted_returns(critic, psi, rollout, discount):
    """Return Σ γᵏ R to the end of the episode, or to a cut and γᵏ V of what the last action led to."""
    n_steps, n_envs = rollout.rewards.shape
    rows = []
    for t in range(n_steps):
        for e in range(n_envs):
            if rollout.valid is not None and not rollout.valid[t, e]:
                continue
            total, factor, k = 0.0, 1.0, t
            while True:
                total += factor * rollout.rewards[k, e]
                factor *= discount
                if rollout.terminated[k, e]:
                    break
                if rollout.truncated[k, e] or k + 1 == n_steps:
                    total += factor * value(critic, psi, rollout.next_obs[k, e])
                    break
                k += 1
            rows.append(total)
    return np.array(rows)


@given(segments(), seeds, st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.0, 0.3, 1.0]))
def test_advantages_are_the_sum_that_defines_them(rollout, seed, discount, trace):
    psi = CRITIC.init(np.random.default_rng(seed))
    batch = estimated(CRITIC, psi, rollout, discount, trace)
    wanted = enumerated(CRITIC, psi, rollout, discount, trace)
    # at most 8 terms, each of a few roundings
    scale = 8 * (1 + np.abs(rollout.rewards).max() + 2 * np.abs(batch.values).max())
    np.testing.assert_allclose(batch.advantages, wanted, rtol=0, atol=8e-16 * scale)
    np.testing.assert_array_equal(batch.targets, batch.advantages + batch.values)


@given(segments(), seeds, st.sampled_from([0.0, 0.9, 1.0]))
def test_with_trace_1_the_targets_are_discounted_returns(rollout, seed, discount):
    psi = CRITIC.init(np.random.default_rng(seed))
    batch = estimated(CRITIC, psi, rollout, discount, 1.0)
    wanted = discounted_returns(CRITIC, psi, rollout, discount)
    scale = 8 * (1 + np.abs(rollout.rewards).max() + 2 * np.abs(batch.values).max())
    np.testing.assert_allclose(batch.targets, wanted, rtol=0, atol=8e-16 * scale)


@given(segments(), seeds)
def test_rows_are_the_transitions_time_by_time(rollout, seed):
    psi = CRITIC.init(np.random.default_rng(seed))
    batch = estimated(CRITIC, psi, rollout, 0.9, 0.5)
    n_steps, n_envs = rollout.rewards.shape
    kept = [
        (t, e)
        for t in range(n_steps)
        for e in range(n_envs)
        if rollout.valid is None or rollout.valid[t, e]
    ]  # fmt: skip
    for name in ("obs", "actions", "ages"):
        array = getattr(rollout, name)
        np.testing.assert_array_equal(getattr(batch, name), [array[t, e] for t, e in kept])
    values = [value(CRITIC, psi, rollout.obs[t, e]) for t, e in kept]
    np.testing.assert_allclose(batch.values, values, rtol=0, atol=1e-14)
    assert Samples._fields == ("obs", "actions", "advantages", "values", "targets", "ages")


@given(segments(), seeds)
@example(segment(script(0, 1, 1), 1), 0)
def test_values_along_are_those_of_what_was_seen_and_of_what_actions_led_to(rollout, seed):
    psi = CRITIC.init(np.random.default_rng(seed))
    values, next_values = values_along(rollout, CRITIC.values(psi, looked_at(rollout)))
    flat = rollout.obs.reshape(-1, 2), rollout.next_obs.reshape(-1, 2)
    for got, obs in zip((values, next_values), flat, strict=True):
        np.testing.assert_allclose(got.ravel(), CRITIC.values(psi, obs), rtol=0, atol=1e-14)


def test_only_a_termination_stops_the_look_ahead():
    # a step terminates, one is cut off, the last one ends the segment; elsewhere V(S′) is V of the next row
    env = script(1, 6, 1, ends=0.0)
    over, cut = np.zeros((6, 1), bool), np.zeros((6, 1), bool)
    over[1], cut[3] = True, True
    rollout = segment(replace(env, terminated=over, truncated=cut), 6)
    psi = CRITIC.init(np.random.default_rng(2))
    plain = estimated(CRITIC, psi, rollout, 0.9, 0.0).advantages
    for t, moves in ((1, False), (3, True), (5, True)):
        elsewhere = rollout.next_obs.copy()
        elsewhere[t] += 1
        moved = estimated(CRITIC, psi, rollout._replace(next_obs=elsewhere), 0.9, 0.0).advantages
        step = value(CRITIC, psi, elsewhere[t, 0]) - value(CRITIC, psi, rollout.next_obs[t, 0])
        wanted = plain + np.where(np.arange(6) == t, 0.9 * step * moves, 0)
        np.testing.assert_allclose(moved, wanted, rtol=0, atol=1e-14)
        assert (np.abs(moved - plain).max() > 0.01) == moves


def probed(probe, discount, n_steps=13, n_envs=4):
    """Return a segment of a probe as its states, a critic, and ψ that holds the exact values."""
    tabular = Episodic("probe", probe.tabular, probe.time_limit)
    table = Policy(Table(probe.mdp.n_states, 2), Categorical())
    rng = np.random.default_rng(5)
    rollout, _ = collect(tabular, table, np.zeros(table.n_params), start(tabular, n_envs, 2), n_steps, rng)
    return rollout, Critic(Table(probe.mdp.n_states, 1)), probe.values(discount)


@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("probe", [probes.observation, probes.delay, probes.termination, probes.time_limit])
def test_where_no_action_matters_the_true_values_leave_no_advantage(probe, trace):
    # a critic that bootstrapped past an end, or not past a time limit, would leave one
    rollout, critic, psi = probed(probe(), 0.9)
    assert len(rollout.episodes.lengths)
    batch = estimated(critic, psi, rollout, 0.9, trace)
    assert np.abs(batch.advantages).max() < 13 * 4e-16 * max(1, np.abs(psi).max())
    np.testing.assert_allclose(batch.targets, batch.values, rtol=0, atol=13 * 4e-16 * np.abs(psi).max())


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_workspace_changes_no_bit(later, dtype):
    rollout = segment(script(4, 9, 3, later=later), 9)
    psi, work = CRITIC.init(np.random.default_rng(1), dtype), Workspace()
    plain = estimated(CRITIC, psi, rollout, 0.9, 0.5)
    reused = estimated(CRITIC, psi, rollout, 0.9, 0.5, work)
    estimated(CRITIC, psi + 1, rollout, 0.9, 0.5, work)  # which writes over what the first one left there
    assert_same(reused, plain)
    assert [array.dtype for array in plain[2:]] == [dtype, dtype, dtype, np.int64]


def test_every_space_has_its_shapes():
    box, choices = Box((-1.0,) * 2, (1.0,) * 2), MultiDiscrete((2, 3))
    gaussian = Policy(WithFreeOutputs(Table(4, 2), 2), DiagonalGaussian())
    several = Policy(Table(4, 5), MultiCategorical((2, 3)))
    critic = Critic(Table(4, 1))
    for policy, space in ((gaussian, box), (several, choices)):
        rng = np.random.default_rng(3)
        env = script(
            3, 7, 2, draw=lambda *shape, rng=rng: rng.integers(0, 4, shape), obs_space=Discrete(4),
            action_space=space,
        )  # fmt: skip
        rollout = segment(env, 7, policy)
        batch = estimated(critic, np.arange(4.0), rollout, 0.9, 1.0)
        assert [array.shape for array in batch] == [(14,), (14, 2), *[(14,)] * 4]
        np.testing.assert_array_equal(batch.values, batch.obs)  # V(s) = s
        np.testing.assert_array_equal(batch.actions, rollout.actions.reshape(14, 2))


def test_columns_do_not_know_of_each_other():
    rollout = segment(script(6, 9, 3, later=True), 9)
    critic, psi = Critic(MLP((2, 1))), np.array([0.5, -2.0, 1.0])
    whole = estimated(critic, psi, rollout, 0.9, 0.5)
    env = np.tile(np.arange(3), 9)[rollout.valid.ravel()]
    for e in range(3):
        alone = Rollout(*(a[:, e : e + 1] for a in rollout[:-1]), rollout.episodes)
        for got, wanted in zip(estimated(critic, psi, alone, 0.9, 0.5), whole, strict=True):
            np.testing.assert_allclose(got, wanted[env == e], rtol=0, atol=1e-14)


def test_arguments_stay_as_they_are():
    rollout = frozen(segment(script(4, 9, 3, later=True), 9))
    estimated(CRITIC, frozen(CRITIC.init(np.random.default_rng(0))), rollout, 0.9, 0.5)


def test_unusable_arguments_are_refused_by_name():
    rollout, psi = segment(script(4, 9, 3), 9), CRITIC.init(np.random.default_rng(0))
    for name, arguments in (("discount", (1.5, 0.5)), ("trace", (0.5, -0.5))):
        with pytest.raises(ArgumentError, match=f"{name} must be in"):
            estimated(CRITIC, psi, rollout, *arguments)
    large = rollout._replace(rewards=np.full((9, 3), 1e308))
    with pytest.raises(NonFiniteError, match="advantage overflowed at t="):
        estimated(CRITIC, psi, large, 1.0, 1.0)
    with pytest.raises(NonFiniteError, match="advantages must be finite, got inf"):
        estimated(CRITIC, psi.astype(np.float32), rollout._replace(rewards=np.full((9, 3), 1e39)), 0.9, 0.5)
