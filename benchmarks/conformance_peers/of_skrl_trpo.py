"""The adapter to skrl's TRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance_peers.calls import Call, noop, tensor
from conformance_peers.trust import BEFORE, LARGE, halving_uphill, normal_outputs, parameters, root


def skrl() -> Iterator[Call]:
    """Yield the calls of skrl's TRPO, whose policies are Gaussian; its search halves, and asks for a gain."""
    yield Call("gaussian_mean_kl", "trpo.kl_divergence(old, new)", skrl_kl)
    yield Call("gaussian_fisher_product", "trpo.fisher_vector_product, damping=0", skrl_product)
    yield Call("conjugate_gradient", "trpo.conjugate_gradient", skrl_solver)
    yield Call("trust_region_step", f"TRPO.update: {BEFORE}", skrl_step)
    yield Call("line_search", "TRPO.update: line search, halving", skrl_search, {}, halving_uphill)


def skrl_policy(outputs: Callable[[], tuple[Any, Any]], theta: Any = None, log_prob: Any = noop) -> Any:
    """Return a model with that mean and log σ, and with log-probabilities of the actions taken."""

    def act(inputs: Any, role: str) -> tuple[None, dict[str, Any]]:
        mean, log_std = outputs()
        return None, {"mean_actions": mean, "log_std": log_std, "log_prob": log_prob()}

    policy = SimpleNamespace(act=act, parameters=lambda: iter([theta]), update_parameters=noop)
    policy.distribution = lambda role: SimpleNamespace(stddev=tensor(1.0))
    return policy


def skrl_kl(*given: Any) -> Any:
    """Return the KL divergence of two policies with these outputs, in the order of `update`."""
    from skrl.agents.torch.trpo.trpo import kl_divergence

    old, new = ([tensor(array) for array in half] for half in (given[:2], given[2:]))
    policies = {"policy_1": skrl_policy(lambda: old), "policy_2": skrl_policy(lambda: new)}
    return kl_divergence(**policies, observations=None, states=None)


def skrl_product(theta: Any, obs: Any, v: Any) -> Any:
    """Return its product."""
    from skrl.agents.torch.trpo.trpo import fisher_vector_product

    theta = parameters(theta)
    policy = skrl_policy(lambda: normal_outputs(theta, obs), theta)
    nothing = {"observations": None, "states": None, "damping": 0.0}
    return fisher_vector_product(policy=policy, vector=tensor(v).ravel(), **nothing).reshape(theta.shape)


def skrl_solver(product: Any, b: Any, iterations: int) -> Any:
    """Return its solution where the policy's KL has the Hessian H."""
    from skrl.agents.torch.trpo.trpo import conjugate_gradient

    theta, half = parameters(0 * b), root(product, len(b))
    policy = skrl_policy(lambda: ((half @ theta)[None], tensor(0 * b)[None]), theta)
    nothing = {"observations": None, "states": None, "damping": 0.0}
    return conjugate_gradient(policy=policy, b=tensor(b), num_iterations=iterations, **nothing)


def skrl_step(product: Any, g: Any, kl_limit: float, damping: float, iterations: int) -> Any:
    """Return what is added to θ = 0; its line search compares the policy with itself and takes any step."""
    theta, b, half = parameters(0 * g), tensor(g), root(product, len(g))
    policy = skrl_policy(
        lambda: ((half @ theta)[None], tensor(0 * g)[None]), theta, lambda: (theta @ b)[None, None]
    )
    settings = {"max_kl_divergence": kl_limit, "damping": damping, "conjugate_gradient_steps": iterations}
    skrl_train(policy, policy, **settings, max_backtrack_steps=1, accept_ratio=-np.inf)
    return theta.detach().numpy()


def skrl_search(
    evaluate: Any, theta: Any, step: Any, kl_limit: float, shrink: float, tries: int, expected: float
) -> Any:
    """Return where its line search ends, H being a multiple of I that makes its full step the one given."""
    at, start = parameters(theta), tensor(theta)
    square = float(step @ step)
    along, root_of_curvature = tensor(step) * (expected / square), (2 * kl_limit / square) ** 0.5

    def outputs() -> tuple[Any, Any]:
        moved = bool((at != start).any())
        kl = np.nan_to_num(evaluate(at.detach().numpy())[1], nan=np.inf)
        first = tensor([[np.sqrt(2 * kl)]]).expand(1, len(step)) / len(step) ** 0.5
        return first if moved else (root_of_curvature * (at - start))[None], tensor(0 * theta)[None]

    def log_prob() -> Any:
        moved, gain = bool((at != start).any()), evaluate(at.detach().numpy())[0]
        return tensor([[np.log1p(gain / LARGE)]]) if moved else (along @ (at - start) / LARGE)[None, None]

    policy = skrl_policy(outputs, at, log_prob)
    backup = skrl_policy(lambda: (tensor(0 * theta)[None], tensor(0 * theta)[None]))
    policy.update_parameters = lambda other: at.data.copy_(start)
    settings = {"max_kl_divergence": kl_limit, "damping": 0.0, "max_backtrack_steps": tries}
    skrl_train(policy, backup, LARGE, **settings)
    return at.detach().numpy()


def skrl_train(policy: Any, backup: Any, advantage: float = 1.0, **settings: Any) -> None:
    """Run an update of its TRPO on one sample; its value function stays out."""
    import torch
    from skrl.agents.torch.trpo.trpo import TRPO
    from skrl.agents.torch.trpo.trpo_cfg import TRPO_CFG

    one = torch.ones(1, 1, dtype=torch.float64)
    samples = iter([[(None, None, None, 0 * one, advantage * one)], []])

    class Memory:
        def __len__(self) -> int:
            return 1

        def get_tensor_by_name(self, name: str) -> Any:
            return torch.zeros(2, 1, 1, dtype=torch.bool if name.startswith("t") else None)

        def sample(self, **options: Any) -> Any:
            return next(samples)

        set_tensor_by_name = noop

    value = SimpleNamespace(act=lambda inputs, role: (0 * one, {}), enable_training_mode=noop)
    agent = SimpleNamespace(
        policy=policy, backup_policy=backup, memory=Memory(), value=value, track_data=noop
    )
    agent.cfg = TRPO_CFG(learning_epochs=1, mini_batches=1, **settings)
    names = ("_observation_preprocessor", "_state_preprocessor", "_value_preprocessor")
    agent.__dict__.update(dict.fromkeys(names, lambda x, **options: x))
    names = (
        "_current_next_observations",
        "_current_next_states",
        "_tensors_names_policy",
        "_tensors_names_value",
    )
    agent.__dict__.update(dict.fromkeys((*names, "value_scheduler")))
    TRPO.update(agent, timestep=0, timesteps=1)
