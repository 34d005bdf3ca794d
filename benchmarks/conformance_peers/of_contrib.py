"""The adapter to sb3-contrib's TRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance_peers.calls import Call, noop, tensor
from conformance_peers.of_sb3 import sb3_categorical, sb3_gaussian, torch_of
from conformance_peers.trust import (
    BEFORE,
    FoundError,
    kl_calls,
    moving,
    normal_outputs,
    parameters,
    root,
    scripted,
    softmax_outputs,
    turns,
)


def sb3_contrib() -> Iterator[Call]:
    """Yield the calls of sb3-contrib; its KL is the one that TRPO logs when it accepts a step."""
    import torch
    from sb3_contrib.common.utils import conjugate_gradient_solver

    torch.manual_seed(0)  # its solver draws

    def solver(product: Any, b: Any, iterations: int) -> Any:
        return conjugate_gradient_solver(lambda v: tensor(product(v.numpy())), tensor(b), max_iter=iterations)

    laws = {"categorical": sb3_categorical, "gaussian": sb3_gaussian}
    yield from kl_calls("TRPO.train: the KL of its line search", contrib_kl, **laws)
    for (name, law), outputs in zip(laws.items(), (softmax_outputs, normal_outputs), strict=True):
        product = partial(contrib_product, law, outputs)
        yield Call(f"{name}_fisher_product", "TRPO.hessian_vector_product, cg_damping=0", product)
    yield Call("conjugate_gradient", "conjugate_gradient_solver", solver)
    yield Call("trust_region_step", f"TRPO.train: {BEFORE}", contrib_step)
    yield Call("line_search", "TRPO.train: line search", contrib_search, {}, moving)


def contrib_product(law: Any, outputs: Any, theta: Any, obs: Any, v: Any) -> Any:
    """Return the product that `train` hands to its solver, with v."""
    from sb3_contrib import TRPO

    theta, found = parameters(theta), []

    def get_distribution(obs_of_batch: Any) -> Any:
        distribution = law(*outputs(theta, obs))
        distribution.log_prob = lambda actions: theta.sum().expand(len(obs))
        return distribution

    def first(*args: Any, **options: Any) -> Any:
        found.append(TRPO.hessian_vector_product(agent, *args[:2], tensor(v).ravel()))
        raise FoundError

    agent = contrib_agent(theta, get_distribution, len(obs), cg_damping=0.0)
    agent.hessian_vector_product = first
    try:
        contrib_train(agent)
    except FoundError:
        return found[0].detach().reshape(theta.shape)


def contrib_step(product: Any, g: Any, kl_limit: float, damping: float, iterations: int) -> Any:
    """Return what is added to θ = 0 where the KL, averaged over dimensions, has the Hessian H."""
    theta, b, turn = parameters(0 * g), tensor(g), iter(range(3))
    scaled = root(product, len(g)) * len(g) ** 0.5

    def get_distribution(obs: Any) -> Any:
        moved = next(turn) == 2  # the line search finds no KL and a gain
        mean = tensor(0 * g) if moved else scaled @ theta
        distribution = sb3_gaussian(mean[None], tensor(0 * g)[None])
        distribution.log_prob = lambda actions: tensor([1.0]) if moved else (theta @ b)[None]
        return distribution

    settings = {"target_kl": kl_limit, "cg_damping": damping, "cg_max_steps": iterations}
    contrib_train(contrib_agent(theta, get_distribution, 1, **settings))
    return theta.detach().numpy()


def contrib_search(
    evaluate: Any, theta: Any, step: Any, kl_limit: float, shrink: float, tries: int, expected: float
) -> Any:
    """Return where its line search ends, H being a multiple of I that makes its full step the one given."""
    at, along, turn = parameters(theta), tensor(step), []

    def get_distribution(obs: Any) -> Any:
        turn.append(None)
        searching = len(turn) > 2
        log_prob, mean = scripted(evaluate, at) if searching else (0.0, 0.0)
        distribution = sb3_gaussian(tensor([[mean]]) + (0 if searching else 0 * at.sum()), tensor([[0.0]]))
        gain = tensor([log_prob]) if searching else (along @ (at - tensor(theta)))[None]
        distribution.log_prob = lambda actions: gain
        return distribution

    settings = {"line_search_shrinking_factor": shrink, "line_search_max_iter": tries, "target_kl": kl_limit}
    agent = contrib_agent(at, get_distribution, 1, **settings)
    curvature = 2 * kl_limit / float(step @ step)
    agent.hessian_vector_product = lambda params, slope, v, retain_graph=True: curvature * v
    contrib_train(agent)
    return at.detach().numpy()


def contrib_kl(law: Callable[..., Any], old: list[Any], new: list[Any]) -> float:
    """Run `train` with the limit ∞ and a surrogate that improves; ∞ if it refuses the step all the same."""
    theta, next_law = turns(law, old, new)
    calls: list[None] = []

    def get_distribution(obs: Any) -> Any:
        distribution = next_law()
        calls.append(None)
        gain = torch_of(np.ones(len(theta))) if len(calls) > 2 else theta.sum(-1)  # which is 0 at first
        distribution.log_prob = lambda actions: gain
        return distribution

    logged = contrib_train(contrib_agent(theta, get_distribution, len(theta)))
    return logged["train/kl_divergence_loss"] if logged["train/is_line_search_success"] else np.inf


def contrib_agent(theta: Any, get_distribution: Callable[..., Any], n: int, **settings: Any) -> Any:
    """Return a TRPO with the parameters θ, a batch of n advantages 1, and the settings."""
    from sb3_contrib import TRPO
    from stable_baselines3.common.type_aliases import RolloutBufferSamples

    zeros = tensor(np.zeros(n))
    batch = RolloutBufferSamples(None, None, zeros, zeros, zeros + 1, zeros)
    agent = TRPO.__new__(TRPO)
    agent.policy = SimpleNamespace(
        optimizer=SimpleNamespace(zero_grad=noop, step=noop),
        get_distribution=get_distribution,
        named_parameters=lambda: [("theta", theta)],
        set_training_mode=noop,
    )
    arrays = {"values": zeros.numpy(), "returns": zeros.numpy()}
    agent.rollout_buffer = SimpleNamespace(get=lambda batch_size: [batch], **arrays)
    agent._update_learning_rate = noop
    defaults = {"target_kl": np.inf, "cg_max_steps": 1, "cg_damping": 1.0, "line_search_max_iter": 1}
    fixed = {"action_space": None, "sub_sampling_factor": 1, "normalize_advantage": False, "batch_size": n}
    fixed |= {"n_critic_updates": 0, "_n_updates": 0, "line_search_shrinking_factor": 0.8}
    agent.__dict__.update(fixed | defaults | settings)
    return agent


def contrib_train(agent: Any) -> dict[str, Any]:
    """Run `train`; return what it logs."""
    logged: dict[str, Any] = {}
    agent._logger = SimpleNamespace(record=lambda name, value, exclude=None: logged.update({name: value}))
    agent.train()
    return logged
