"""The adapter to tianshou: rollouts and updates."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance_peers.calls import SINGLE, Call, ppo_calls, shifted, tensor, vanilla_calls


def tianshou() -> Iterator[Call]:
    """Yield the calls of tianshou, whose ratios are in single precision whatever it is given."""
    from tianshou.algorithm import A2C, PPO

    what = "Algorithm.compute_episodic_return"
    yield Call("gae", what, lambda *args: tianshou_rollout(*args)[1])
    yield Call("returns_to_go", f"{what}, λ = 1", tianshou_returns)
    yield Call("returns_to_go", "Reinforce: add_discounted_returns", tianshou_monte_carlo)
    yield Call("n_step_returns", "Algorithm.compute_nstep_return", tianshou_n_step)
    yield from ppo_calls("PPO._update_with_batch", lambda *a, **o: tianshou_update(PPO, *a, **o), SINGLE)
    yield from vanilla_calls("A2C._update_with_batch", lambda *a, **o: tianshou_update(A2C, *a, **o))


def tianshou_buffers(rewards: Any, terminated: Any, truncated: Any) -> Iterator[Any]:
    """Yield the buffer of each environment, observations being the rows' numbers."""
    from tianshou.data import Batch, ReplayBuffer

    for e in range(rewards.shape[1]):
        buffer = ReplayBuffer(len(rewards))
        for t in range(len(rewards)):
            flags = {"terminated": terminated[t, e], "truncated": truncated[t, e]}
            buffer.add(Batch(obs=t, act=0, rew=rewards[t, e], obs_next=t + 1, info={}, **flags))
        yield buffer


def tianshou_rollout(
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
    trace: float,
) -> Any:
    """Return returns and advantages, each [T, E]."""
    from tianshou.algorithm.algorithm_base import Algorithm

    at, columns = np.arange(len(rewards)), []
    for e, buffer in enumerate(tianshou_buffers(rewards, terminated, truncated)):
        v_next, v = next_values[:, e].copy(), values[:, e].copy()
        columns.append(Algorithm.compute_episodic_return(buffer[at], buffer, at, v_next, v, discount, trace))
    return np.stack(columns, axis=-1)


def tianshou_returns(rewards: Any, next_values: Any, terminated: Any, truncated: Any, discount: float) -> Any:
    """Return the returns with λ = 1, in which V(S_t) cancels."""
    values = shifted(next_values)
    return tianshou_rollout(rewards, values, next_values, terminated, truncated, discount, 1.0)[0]


def tianshou_monte_carlo(
    rewards: Any, next_values: Any, terminated: Any, truncated: Any, discount: float
) -> Any:
    """Return Reinforce's returns."""
    from tianshou.algorithm.modelfree.reinforce import DiscountedReturnComputation

    at, compute = np.arange(len(rewards)), DiscountedReturnComputation(discount)
    buffers = tianshou_buffers(rewards, terminated, truncated)
    return np.stack([compute.add_discounted_returns(b[at], b, at).returns for b in buffers], axis=-1)


def tianshou_n_step(
    rewards: Any, next_values: Any, terminated: Any, truncated: Any, discount: float, n: int
) -> Any:
    """Return n-step returns, next_values being Q of the last action led to."""
    from tianshou.algorithm.algorithm_base import Algorithm

    at, columns = np.arange(len(rewards)), []
    for e, buffer in enumerate(tianshou_buffers(rewards, terminated, truncated)):
        q = tensor(next_values[:, e])[:, None]
        batch = Algorithm.compute_nstep_return(
            buffer[at], buffer, at, lambda buffer, rows, q=q: q[rows].clone(), discount, n
        )
        columns.append(batch.returns[:, 0].numpy())
    return np.stack(columns, axis=-1)


def tianshou_update(
    algorithm: Any, given: Any, clip: float = 0.2, clip_values: bool = False, normalise: bool = False
) -> tuple[Any, Any]:
    """Run an update on one batch; return the losses of its statistics."""
    from tianshou.data import Batch

    batch = Batch(
        obs=np.arange(given.n),
        act=np.arange(given.n),
        adv=given.advantages,
        logp_old=given.old_log_probs,
        v_s=given.old_values,
        returns=given.targets,
    )
    agent = SimpleNamespace(
        policy=lambda minibatch: SimpleNamespace(dist=distribution),
        critic=lambda obs: given.values[obs],
        optim=SimpleNamespace(step=lambda loss: loss.backward()),
        **{"eps_clip": clip, "value_clip": clip_values, "advantage_normalization": normalise},
        **{"dual_clip": None, "recompute_adv": False, "vf_coef": 1.0, "ent_coef": 0.0, "_eps": 1e-8},
    )
    distribution = SimpleNamespace(
        log_prob=lambda rows: given.log_probs[rows], entropy=lambda: 0 * given.values
    )
    said = algorithm._update_with_batch(agent, batch, None, 1)
    return said.actor_loss.mean, said.vf_loss.mean
