"""The adapter to stable-baselines3: rollouts, updates, distributions."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance_peers.calls import (
    SINGLE,
    Call,
    categorical_calls,
    gaussian_calls,
    noop,
    ppo_calls,
    shifted,
    tensor,
    vanilla_calls,
)


def stable_baselines3() -> Iterator[Call]:
    """Yield the calls of stable-baselines3."""
    from stable_baselines3 import A2C, PPO

    what = "OnPolicyAlgorithm.collect_rollouts"
    yield Call("gae", what, lambda *args: sb3_rollout(*args).advantages, SINGLE)
    yield Call("returns_to_go", f"{what}, λ = 1", sb3_returns, SINGLE)
    yield from ppo_calls("PPO.train", lambda *args, **options: sb3_update(PPO, *args, **options))
    yield from vanilla_calls("A2C.train", lambda *args, **options: sb3_update(A2C, *args, **options))
    yield from distributions()


def distributions() -> Iterator[Call]:
    """Yield those of its distributions."""
    yield from categorical_calls("CategoricalDistribution", sb3_categorical, tensor)
    yield from gaussian_calls("DiagGaussianDistribution", sb3_gaussian, tensor)


def sb3_categorical(logits: Any) -> Any:
    """Return its distribution of one discrete action."""
    from stable_baselines3.common.distributions import CategoricalDistribution

    return CategoricalDistribution(np.shape(logits)[1]).proba_distribution(torch_of(logits))


def sb3_gaussian(mean: Any, log_std: Any) -> Any:
    """Return its diagonal Gaussian."""
    from stable_baselines3.common.distributions import DiagGaussianDistribution

    distribution = DiagGaussianDistribution(np.shape(mean)[1])
    return distribution.proba_distribution(torch_of(mean), torch_of(log_std))


def torch_of(x: Any) -> Any:
    """Return a tensor: the same one, or a copy of an array."""
    return tensor(x) if isinstance(x, np.ndarray) else x


def sb3_rollout(
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
    trace: float,
) -> Any:
    """Return the buffer after a rollout in a scripted environment whose observation is the value."""
    import torch
    from gymnasium import spaces
    from stable_baselines3.common.buffers import RolloutBuffer
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

    steps, envs = rewards.shape
    seen = np.concatenate([values, next_values[-1:]])[..., None].astype(np.float32)
    line = spaces.Box(-np.inf, np.inf, (1,))
    buffer = RolloutBuffer(steps, line, line, "cpu", trace, discount, envs)
    clock = iter(range(steps))

    def step(actions: Any) -> tuple[Any, ...]:
        t = next(clock)
        infos = [
            {"terminal_observation": last, "TimeLimit.truncated": bool(cut)}
            for last, cut in zip(next_values[t, :, None].astype(np.float32), truncated[t], strict=True)
        ]
        return seen[t + 1], rewards[t].copy(), terminated[t] | truncated[t], infos

    class Policy:
        squash_output = False
        set_training_mode = noop

        def __call__(self, obs: Any) -> tuple[Any, ...]:
            return torch.zeros(len(obs), 1), obs, torch.zeros(len(obs))

        def predict_values(self, obs: Any) -> Any:
            return obs

        def obs_to_tensor(self, obs: Any) -> tuple[Any, bool]:
            return torch.tensor(obs)[None], False

    agent = SimpleNamespace(policy=Policy(), use_sde=False, device="cpu", action_space=line, num_timesteps=0)
    agent.gamma, agent._last_obs, agent._last_episode_starts = discount, seen[0], np.ones(envs, bool)
    agent._update_info_buffer = noop
    callback = SimpleNamespace(
        on_rollout_start=noop, on_rollout_end=noop, update_locals=noop, on_step=lambda: True
    )
    env = SimpleNamespace(num_envs=envs, step=step)
    OnPolicyAlgorithm.collect_rollouts(agent, env, callback, buffer, steps)
    return buffer


def sb3_returns(rewards: Any, next_values: Any, terminated: Any, truncated: Any, discount: float) -> Any:
    """Return the buffer's returns with λ = 1, in which V(S_t) cancels."""
    return sb3_rollout(
        rewards, shifted(next_values), next_values, terminated, truncated, discount, 1.0
    ).returns


def sb3_update(
    algorithm: Any, given: Any, clip: float = 0.2, clip_values: bool = False, normalise: bool = False
) -> tuple[Any, Any]:
    """Run `train` on one batch; return the losses that it logs."""
    from stable_baselines3.common.type_aliases import RolloutBufferSamples

    batch = RolloutBufferSamples(
        None, None, given.old_values, given.old_log_probs, given.advantages, given.targets
    )
    logged: dict[str, Any] = {}
    policy = SimpleNamespace(
        optimizer=SimpleNamespace(zero_grad=noop, step=noop),
        evaluate_actions=lambda obs, actions: (given.values, given.log_probs, 0 * given.values),
        set_training_mode=noop,
        parameters=list,
    )
    arrays = {"values": given.old_values.numpy(), "returns": given.targets.numpy()}
    agent = SimpleNamespace(
        policy=policy,
        rollout_buffer=SimpleNamespace(get=lambda batch_size: [batch], **arrays),
        logger=SimpleNamespace(record=lambda name, value, exclude=None: logged.update({name: value})),
        clip_range=lambda progress: clip,
        clip_range_vf=(lambda progress: clip) if clip_values else None,
        normalize_advantage=normalise,
        _update_learning_rate=noop,
        **{"_current_progress_remaining": 1.0, "_n_updates": 0, "n_epochs": 1, "batch_size": given.n},
        **{"ent_coef": 0.0, "vf_coef": 1.0, "max_grad_norm": np.inf, "target_kl": None, "action_space": None},
    )
    algorithm.train(agent)
    policy_loss = logged.get("train/policy_gradient_loss", logged.get("train/policy_loss"))
    return policy_loss, logged["train/value_loss"]
