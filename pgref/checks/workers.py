"""The claims on the A2C worker: what its sums estimate, and what its critic's loss really descends."""

from __future__ import annotations

from functools import partial

import numpy as np

from pgref import critic as critics
from pgref import exact, mdp, objectives, worker
from pgref.arrays import Vector
from pgref.categorical import Categorical
from pgref.checks.derivatives import complex_step_gradient, relative_error
from pgref.checks.draws import small_mdp, table_case, trajectories
from pgref.checks.finding import Finding, at_least, at_most, larger
from pgref.critic import Critic, Transitions
from pgref.networks import MLP, Table
from pgref.policy import Policy


def worker_objective(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """With the exact critic, E[g_θ] is the first L terms of (5.15): a sum, not a mean, without γ^t."""
    printed = with_gamma = slope = 0.0
    length, n = 3, max(1, mdps // 50)
    for _ in range(n):
        case = table_case(rng, small_mdp(rng, 0.5, states=2, actions=2, ending=0.1))
        pi = exact.policy_matrix(*case.arguments)
        values = np.append(mdp.state_values(case.mdp, pi), 0.0)  # [−1] is the end
        total, batches = np.zeros(case.policy.n_params), []
        for p, s, a, following in trajectories(case.mdp, pi, length):
            td = case.mdp.rewards[s, a] + case.mdp.discount * values[following] - values[s]
            batches.append(objectives.Batch(s, a, td, np.zeros(len(s))))
            total += p * objectives.score_objective_grad(case.policy, case.theta, batches[-1])
        joined = objectives.Batch(*(np.concatenate(column) for column in zip(*batches, strict=True)))
        reference = complex_step_gradient(
            partial(objectives.score_objective, case.policy, batch=joined), case.theta
        )
        g = objectives.score_objective_grad(case.policy, case.theta, joined)
        slope = larger(slope, relative_error(g, reference))
        first = exact.policy_gradient(*case.arguments, discounted=False, horizon=length)
        printed = larger(printed, relative_error(total, first))
        discounted = exact.policy_gradient(*case.arguments, horizon=length)
        with_gamma += relative_error(total, discounted) / n
    return [
        at_most("|g_θ − ∇ Σ log π Â| / |·|", slope, 1e-13),
        at_most("|E g_θ − Σ_{t<L} E ∇log π A| / |·|, all paths", printed, 1e-12),
        at_least("|E g_θ − Σ_{t<L} γ^t E ∇log π A| / |·|", with_gamma, 0.01),
    ]


def td_advantage(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """E[R + γV_ψ(S′) − V_ψ(S)] is A where V_ψ = V, otherwise off Q − V_ψ by γP(V_ψ − V) (I-2)."""
    exact_error = bias_error = largest = 0.0
    table = Critic(Table(4, 1))
    for _ in range(max(4, mdps)):
        m = small_mdp(rng, 0.9, ending=0.2)
        pi = rng.dirichlet(np.ones(3), 4)
        values, advantages = mdp.state_values(m, pi), mdp.advantages(m, pi)
        guess = rng.standard_normal(4)
        exact_error = larger(exact_error, np.abs(_mean_td(table, values, m) - advantages).max())
        bias = _mean_td(table, guess, m) - (mdp.action_values(m, pi) - guess[:, None])
        predicted = 0.9 * np.einsum("sat,t->sa", m.transitions, guess - values)
        bias_error = larger(bias_error, np.abs(bias - predicted).max())
        largest = larger(largest, np.abs(bias).max())
    return [
        at_most("|E Â − A|, V_ψ = V", exact_error, 1e-12),
        at_most("|E Â − (Q − V_ψ) − γP(V_ψ − V)|", bias_error, 1e-12),
        at_least("bias |γP(V_ψ − V)|, V_ψ drawn", largest, 0.1),
    ]


def critic_gradients(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """∇_ψ Σ Â² is the residual gradient; only the semi-gradient's fixed point is V (I-3)."""
    residual = semi = 0.0
    network = Critic(MLP((2, 4, 1)))
    for _ in range(max(1, mdps // 10)):
        batch = Transitions(
            rng.standard_normal((6, 2)),
            rng.standard_normal(6),
            rng.standard_normal((6, 2)),
            rng.random(6) < 0.3,
        )
        psi = network.init(rng)

        def loss(p: Vector, batch: Transitions = batch) -> complex:
            return critics.td_loss(network, p, batch, 0.9)

        def frozen(p: Vector, batch: Transitions = batch, psi: Vector = psi) -> complex:
            target = critics.td_advantages(network, psi, batch, 0.9) + network.values(psi, batch.obs)
            errors = target - network.values(p, batch.obs)
            return complex((errors @ errors).item())

        printed = critics.residual_gradient(network, psi, batch, 0.9)
        residual = larger(residual, relative_error(printed, complex_step_gradient(loss, psi)))
        half = critics.semi_gradient(network, psi, batch, 0.9)
        semi = larger(semi, relative_error(half, complex_step_gradient(frozen, psi)))
    at_v, away, deterministic = np.max([_fixed_points(rng) for _ in range(8)], axis=0)
    return [
        at_most("|residual gradient − ∇Σ Â²| / |·|", residual, 1e-13),
        at_most("|semi-gradient − ∇Σ Â², target fixed| / |·|", semi, 1e-13),
        at_most("|fixed point of the semi-gradient − V|", at_v, 1e-12),
        at_least("|fixed point of the printed gradient − V|", away, 0.05),
        at_most("|fixed point of the printed gradient − V|, all deterministic", deterministic, 1e-10),
    ]


def worker_returns(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """The Worker returns (g_ψ, g_θ): down its critic's loss, up its surrogate, Â a constant in both (I-4)."""
    error_psi = error_theta = 0.0
    policy, critic = _actor_critic()
    for _ in range(max(1, mdps // 10)):
        theta, psi, segment = policy.init(rng), critic.init(rng), _segment(rng, 7)
        g_psi, g_theta = worker.worker_gradients(policy, critic, theta, psi, segment, 0.9)
        following = np.where(segment.terminated, 0.0, 0.9) * critic.values(psi, segment.next_obs)
        targets = segment.rewards + following
        td = targets - critic.values(psi, segment.obs)

        def surrogate(t: Vector, segment: worker.Segment = segment, td: Vector = td) -> complex:
            return complex((policy.log_prob(t, segment.obs, segment.actions) @ td).item())

        def loss(p: Vector, segment: worker.Segment = segment, targets: Vector = targets) -> complex:
            return complex(((targets - critic.values(p, segment.obs)) ** 2).sum().item())

        error_theta = larger(error_theta, relative_error(g_theta, complex_step_gradient(surrogate, theta)))
        error_psi = larger(error_psi, relative_error(g_psi, complex_step_gradient(loss, psi)))
    return [
        at_most("|g_θ − ∇ Σ log π_θ Â| / |·|", error_theta, 1e-13),
        at_most("|g_ψ − ∇ Σ (R + γV − V_ψ)²| / |·|", error_psi, 1e-13),
    ]


def worker_sums(rng: np.random.Generator, mdps: int) -> list[Finding]:
    """A2C: N workers of L steps give, added up, the gradient of one worker on the N·L transitions."""
    error = 0.0
    policy, critic = _actor_critic()
    for _ in range(max(1, mdps // 10)):
        theta, psi, n = policy.init(rng), critic.init(rng), int(rng.integers(2, 6))
        segments = [_segment(rng, 5) for _ in range(n)]
        apart = [worker.worker_gradients(policy, critic, theta, psi, s, 0.9) for s in segments]
        joined = worker.Segment(*(np.concatenate(column) for column in zip(*segments, strict=True)))
        together = worker.worker_gradients(policy, critic, theta, psi, joined, 0.9)
        for parts, whole in zip(zip(*apart, strict=True), together, strict=True):
            error = larger(error, relative_error(np.sum(parts, 0), whole))
    return [at_most("|Σ gradients of N workers − gradient on N·L| / |·|", error, 1e-13)]


def _mean_td(table: Critic, psi: Vector, m: mdp.TabularMDP) -> Vector:
    """Return E[Â | s, a] [S, A]: the code's Â for every (s, a, s′) and the end, weighed by probability."""
    n_states, n_actions = m.rewards.shape
    s, a, following = (i.ravel() for i in np.indices((n_states, n_actions, n_states + 1)))
    ends = following == n_states
    batch = Transitions(s, m.rewards[s, a], np.where(ends, 0, following), ends)
    td = critics.td_advantages(table, psi, batch, m.discount).reshape(n_states, n_actions, n_states + 1)
    chances = np.concatenate([m.transitions, 1 - m.transitions.sum(2, keepdims=True)], 2)
    return np.asarray((chances * td).sum(2))


def _fixed_points(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return |fixed point − V| of the mean semi-gradient, of the residual one, and of that without chance.

    Each of two actions leads to one of two states, all equally likely, so that a plain batch is the mean.
    """
    table, off = Critic(Table(3, 1)), []
    for gradient, successors in (
        (critics.semi_gradient, rng.integers(0, 3, (3, 2, 2))),
        (critics.residual_gradient, np.array([[[0, 1], [1, 2]], [[2, 2], [0, 1]], [[0, 2], [1, 1]]])),
        (critics.residual_gradient, np.repeat(rng.integers(0, 3, (3, 1, 1)), 4).reshape(3, 2, 2)),
    ):
        rewards = np.repeat(rng.standard_normal((3, 1)), 2, 1)
        s, a, k = (i.ravel() for i in np.indices((3, 2, 2)))
        batch = Transitions(s, rewards[s, a], successors[s, a, k], np.zeros(12, bool))
        transitions = np.zeros((3, 2, 3))
        np.add.at(transitions, (s, a, successors[s, a, k]), 0.5)
        m = mdp.TabularMDP(transitions, rewards, np.eye(3)[0], 0.9)
        offset = gradient(table, np.zeros(3), batch, 0.9)
        columns = [gradient(table, e, batch, 0.9) - offset for e in np.eye(3)]
        zero = np.linalg.solve(np.stack(columns, -1), -offset)
        off.append(float(np.abs(zero - mdp.state_values(m, np.full((3, 2), 0.5))).max()))
    return off[0], off[1], off[2]


def _actor_critic() -> tuple[Policy, Critic]:
    return Policy(MLP((2, 4, 3)), Categorical()), Critic(MLP((2, 4, 1)))


def _segment(rng: np.random.Generator, n: int) -> worker.Segment:
    obs, next_obs = rng.standard_normal((2, n, 2))
    return worker.Segment(obs, rng.integers(0, 3, n), rng.standard_normal(n), next_obs, rng.random(n) < 0.2)
