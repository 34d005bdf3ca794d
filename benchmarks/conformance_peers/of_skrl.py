"""The adapter to skrl: rollouts, updates, distributions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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
    same,
    tensor,
)


def skrl() -> Iterator[Call]:
    """Yield the calls of skrl; advantages are normalised at once, returns are Â + V, γ is rounded."""
    yield Call("gae", "PPO.record_transition, compute_gae", skrl_gae, SINGLE)
    bootstrapped = partial(skrl_gae, time_limit_bootstrap=True)
    yield Call("gae", "the same, time_limit_bootstrap=True", bootstrapped, SINGLE)
    yield Call("normalise_advantages", "compute_gae", skrl_normalised)
    yield from (c for c in ppo_calls("PPO.update", skrl_update) if c.component != "normalise_advantages")


def skrl_gae(
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
    trace: float,
    **options: bool,
) -> Any:
    """Return the advantages; next observations are final ones, as `record_transition` takes them to be."""
    import torch
    from skrl.agents.torch.ppo.ppo import PPO, compute_gae

    stored: list[Any] = []
    agent = PPO.__new__(PPO)
    agent.__dict__.update(write_interval=0, training=True, _current_log_prob=None, _current_values=None)
    agent.cfg = SimpleNamespace(rewards_shaper=None, discount_factor=discount, time_limit_bootstrap=False)
    agent.cfg.__dict__.update(options)
    agent.memory = SimpleNamespace(add_samples=lambda **row: stored.append(row["rewards"]))
    agent.value = SimpleNamespace(act=lambda inputs, role: (inputs["observations"], {}))
    agent._observation_preprocessor = agent._state_preprocessor = agent._value_preprocessor = same
    agent.device, agent._device_type, agent.cfg.mixed_precision = "cpu", "cpu", False
    flags = {"terminated": tensor(terminated)[..., None], "truncated": tensor(truncated)[..., None]}
    for t, row in enumerate(tensor(rewards)[..., None]):
        agent.record_transition(
            **{name: None for name in ("observations", "states", "actions", "next_states", "infos")},
            **{name: flag[t] for name, flag in flags.items()},
            **{"rewards": row, "next_observations": tensor(next_values[t])[:, None]},
            **{"timestep": t, "timesteps": len(rewards)},
        )
    v = tensor(values)[..., None]
    returns, _ = compute_gae(
        rewards=torch.stack(stored),
        values=v,
        last_values=tensor(next_values[-1])[:, None],
        discount_factor=discount,
        lambda_coefficient=trace,
        **flags,
        **options,
    )
    return (returns - v)[..., 0]


def skrl_normalised(advantages: Any) -> Any:
    """Return the normalised advantages of steps that all end an episode, at V = 0."""
    from skrl.agents.torch.ppo.ppo import compute_gae

    a = tensor(advantages)[:, None]
    ends = tensor(np.ones(a.shape, bool))
    zeros = {"values": 0 * a, "last_values": 0 * a[0]}
    return compute_gae(rewards=a, terminated=ends, truncated=ends, **zeros)[1][:, 0]


def skrl_update(given: Any, clip: float = 0.2, clip_values: bool = False) -> tuple[Any, Any]:
    """Run an update on one batch; return the losses that it tracks."""
    import torch
    from skrl.agents.torch.ppo.ppo import PPO
    from skrl.agents.torch.ppo.ppo_cfg import PPO_CFG

    tracked: dict[str, Any] = {}
    columns = (given.old_log_probs, given.old_values, given.targets, given.advantages)

    class Memory:
        def __len__(self) -> int:
            return given.n

        def get_tensor_by_name(self, name: str) -> Any:
            return torch.zeros(2, given.n, 1, dtype=torch.bool if name.startswith("t") else None)

        set_tensor_by_name = noop

        def sample(self, **options: Any) -> Any:
            return [(None, None, None, *(column[:, None] for column in columns))]

    def values(inputs: Any, role: str) -> Any:
        return given.values[:, None], {}

    agent = SimpleNamespace(
        memory=Memory(),
        value=SimpleNamespace(act=values, enable_training_mode=noop, parameters=list),
        policy=SimpleNamespace(
            act=lambda inputs, role: (None, {"log_prob": given.log_probs[:, None]}),
            distribution=lambda role: SimpleNamespace(stddev=torch.zeros(1)),
            parameters=list,
        ),
        optimizer=SimpleNamespace(zero_grad=noop, step=noop),
        scaler=SimpleNamespace(scale=same, step=noop, update=noop),
        cfg=PPO_CFG(
            learning_epochs=1,
            mini_batches=1,
            ratio_clip=clip,
            value_clip=clip if clip_values else 0.0,
            value_loss_scale=1.0,
            grad_norm_clip=0.0,
        ),
        track_data=tracked.__setitem__,
        **{"scheduler": None, "_tensors_names": None},
        **{"_current_next_observations": None, "_current_next_states": None, "_device_type": "cpu"},
        **dict.fromkeys(("_observation_preprocessor", "_state_preprocessor", "_value_preprocessor"), same),
    )
    PPO.update(agent, timestep=0, timesteps=1)
    return tracked["Loss / Policy loss"], tracked["Loss / Value loss"]


def distributions() -> Iterator[Call]:
    """Yield the calls of skrl's models."""
    from skrl.models.torch import CategoricalMixin, GaussianMixin

    def law(mixin: Any, **model: Any) -> Any:
        model = SimpleNamespace(action_space=None, device=None, **model)
        mixin.__init__(model)

        def entropy() -> Any:
            mixin.act(model, {})
            return mixin.get_entropy(model)[:, 0]

        return SimpleNamespace(
            log_prob=lambda actions: mixin.act(model, {"taken_actions": actions})[1]["log_prob"][:, 0],
            entropy=entropy,
        )

    def categorical(logits: Any) -> Any:
        return law(CategoricalMixin, compute=lambda inputs, role: (tensor(logits), {}))

    def gaussian(mean: Any, log_std: Any) -> Any:
        outputs = {"log_std": tensor(log_std)}
        return law(GaussianMixin, compute=lambda inputs, role: (tensor(mean), outputs))

    yield from categorical_calls("CategoricalMixin.act", categorical, tensor)
    yield from gaussian_calls("GaussianMixin.act", gaussian, tensor)
