"""The adapters to rlax, distrax and rejax."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance_peers.calls import MEAN, Call, categorical_calls, gaussian_calls

LONGEST = 16  # rows of a segment, and more than the oracle draws


def in_double() -> None:
    """Let JAX compute in double precision."""
    import jax

    jax.config.update("jax_enable_x64", True)


def compiled(calls: Iterable[Call]) -> Iterator[Call]:
    """Yield the calls as programs of JAX: op by op, each shape would take it far longer."""
    import jax

    for call in calls:
        yield call._replace(function=jax.jit(call.function))


def rlax() -> Iterator[Call]:
    """Yield the calls of rlax, whose sequences are single episodes: discounts are 0 where they terminate."""
    in_double()
    import jax
    import jax.numpy as jnp
    import rlax

    advantages = jax.jit(rlax.truncated_generalized_advantage_estimation)
    to_go = jax.jit(rlax.discounted_returns)

    def gae(*segment: Any) -> Any:
        *segment, trace = segment
        return by_episode(lambda r, v, ahead, d: advantages(r, d, trace, np.append(v, ahead[-1])), *segment)

    def returns(rewards: Any, *rest: Any) -> Any:
        return by_episode(lambda r, v, ahead, d: to_go(r, d, ahead), rewards, rewards, *rest)

    def n_steps(rewards: Any, *rest: Any) -> Any:
        *rest, n = rest
        return by_episode(
            lambda r, v, ahead, d: rlax.n_step_bootstrapped_returns(r, d, ahead, n), rewards, rewards, *rest
        )

    def vanilla(logits: Any, actions: Any, advantages: Any) -> Any:
        return rlax.policy_gradient_loss(logits, actions, advantages, np.ones_like(advantages))

    def clipped(log_probs: Any, old_log_probs: Any, advantages: Any, clip: float) -> Any:
        return rlax.clipped_surrogate_pg_loss(jnp.exp(log_probs - old_log_probs), advantages, clip)

    yield Call("gae", "truncated_generalized_advantage_estimation", gae)
    yield Call("returns_to_go", "discounted_returns", returns)
    yield Call("n_step_returns", "n_step_bootstrapped_returns", n_steps)
    yield Call("policy_gradient_loss_grad", "policy_gradient_loss", jax.grad(vanilla), MEAN)
    yield Call("ppo_loss", "clipped_surrogate_pg_loss", clipped)
    yield Call("ppo_loss_grad", "clipped_surrogate_pg_loss", jax.grad(clipped))
    yield from compiled(rlax_laws())


def rlax_laws() -> Iterator[Call]:
    """Yield them as written."""
    import jax.numpy as jnp
    import rlax

    def categorical(logits: Any) -> Any:
        law = rlax.softmax()
        return SimpleNamespace(log_prob=lambda a: law.logprob(a, logits), entropy=lambda: law.entropy(logits))

    def gaussian(mean: Any, log_std: Any) -> Any:
        law, std = rlax.gaussian_diagonal(), jnp.exp(log_std)
        return SimpleNamespace(
            log_prob=lambda a: law.logprob(a, mean, std), entropy=lambda: law.entropy(mean, std)
        )

    yield from categorical_calls("softmax()", categorical)
    yield Call("categorical_kl", "categorical_kl_divergence", rlax.categorical_kl_divergence)
    yield from gaussian_calls("gaussian_diagonal()", gaussian)
    yield Call(
        "gaussian_kl",
        "multivariate_normal_kl_divergence",
        lambda m, s, mean, log_std: rlax.multivariate_normal_kl_divergence(
            m, jnp.exp(s), mean, jnp.exp(log_std)
        ),
    )


def distrax() -> Iterator[Call]:
    """Yield the calls of distrax."""
    in_double()
    return compiled(distrax_laws())


def distrax_laws() -> Iterator[Call]:
    """Yield them as written."""
    import distrax
    import jax
    import jax.numpy as jnp

    def gaussian(mean: Any, log_std: Any) -> Any:
        return distrax.MultivariateNormalDiag(mean, jnp.exp(log_std))

    def of_probs(logits: Any, actions: Any) -> Any:
        return distrax.Categorical(probs=jax.nn.softmax(logits)).log_prob(actions)

    def kl(z_old: Any, z_new: Any) -> Any:
        return distrax.Categorical(z_old).kl_divergence(distrax.Categorical(z_new))

    yield from categorical_calls("Categorical(logits)", distrax.Categorical)
    yield Call("categorical_log_prob", "Categorical(probs)", of_probs)
    yield Call("categorical_kl", "Categorical.kl_divergence", kl)
    yield Call(
        "categorical_kl_grad", "Categorical.kl_divergence, jax.grad", jax.grad(lambda *z: kl(*z).sum(), 1)
    )
    yield from gaussian_calls("MultivariateNormalDiag", gaussian)
    yield Call(
        "gaussian_kl",
        "MultivariateNormalDiag.kl_divergence",
        lambda m, s, mean, log_std: gaussian(m, s).kl_divergence(gaussian(mean, log_std)),
    )


def by_episode(
    piece: Callable[..., Any],
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
) -> Any:
    """Return [T, E] from a function of an episode's rewards, values, next values and discounts."""
    result, ends = np.empty_like(rewards), terminated | truncated
    discounts = discount * ~terminated
    for e in range(rewards.shape[1]):
        edges = [0, *np.flatnonzero(ends[:-1, e]) + 1, len(rewards)]
        for start, stop in pairwise(edges):
            part = np.s_[start:stop, e]
            given = [in_front(array[part]) for array in (rewards, values, next_values, discounts)]
            result[part] = piece(*given)[start - stop :]
    return result


def in_front(rows: Any) -> Any:
    """Return LONGEST rows, zeros before the given ones: of one shape JAX makes one program."""
    return np.concatenate([np.zeros((LONGEST - len(rows), *rows.shape[1:]), rows.dtype), rows])


def rejax() -> Iterator[Call]:
    """Yield the calls of rejax's PPO, which normalises whatever advantages its loss is given."""
    in_double()
    import jax
    from rejax.algos.ppo import PPO, Trajectory

    @jax.jit
    def advantages(discount: float, trace: float, last: Any, *rows: Any) -> Any:
        agent = SimpleNamespace(gamma=discount, gae_lambda=trace)
        return PPO.calculate_gae(agent, Trajectory(None, None, None, *rows), last)[0]

    yield Call("gae", "PPO.calculate_gae", partial(rejax_gae, advantages))
    yield Call("normalise_advantages", "PPO.update_actor", partial(rejax_normalised, PPO))
    yield Call("clipped_value_loss_grad", "PPO.update_critic", partial(rejax_critic, PPO))


def rejax_gae(
    compute: Callable[..., Any],
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
    trace: float,
) -> Any:
    """Return the advantages; a transition has one flag, and the last value is 0 after an end."""
    ends = terminated | truncated
    rows = [in_front(array) for array in (rewards, values, ends)]
    return compute(discount, trace, np.where(ends[-1], 0, next_values[-1]), *rows)[-len(rewards) :]


def updated(update: Callable[..., Any], agent: Any, state: str, at: Any, batch: Any) -> Any:
    """Return the gradient that an update applies to the parameters `at`."""
    seen = []
    train = SimpleNamespace(params=at, apply_gradients=lambda grads: seen.append(grads))
    update(agent, SimpleNamespace(**{state: train}, replace=lambda **parts: None), batch)
    return seen[0]


def rejax_normalised(algorithm: Any, advantages: Any) -> Any:
    """Return −N times the gradient of the actor's loss in the log-probabilities, where all ratios are 1."""
    zeros = np.zeros_like(advantages)
    agent = SimpleNamespace(clip_eps=0.2, ent_coef=0.0)
    agent.actor = SimpleNamespace(apply=lambda params, *inputs, method: (params, zeros))
    path = SimpleNamespace(obs=None, action=None, log_prob=zeros)
    batch = SimpleNamespace(trajectories=path, advantages=advantages)
    return -len(zeros) * updated(algorithm.update_actor, agent, "actor_ts", zeros, batch)


def rejax_critic(algorithm: Any, values: Any, targets: Any, old_values: Any, clip: float) -> Any:
    """Return the gradient of the critic's loss in the values, with the coefficient 1."""
    agent = SimpleNamespace(clip_eps=clip, vf_coef=1.0)
    agent.critic = SimpleNamespace(apply=lambda params, obs: params)
    batch = SimpleNamespace(trajectories=SimpleNamespace(obs=None, value=old_values), targets=targets)
    return updated(algorithm.update_critic, agent, "critic_ts", values, batch)
