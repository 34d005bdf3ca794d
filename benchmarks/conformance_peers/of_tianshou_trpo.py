"""The adapter to tianshou's TRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance_peers.calls import SINGLE, Call, noop, tensor
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


def tianshou() -> Iterator[Call]:
    """Yield the calls of tianshou; its KL is the one that TRPO reports; what a Gaussian is, its user says."""
    from tianshou.algorithm import TRPO
    from torch.distributions import Categorical, Independent, Normal

    def solver(product: Any, b: Any, iterations: int) -> Any:
        agent = SimpleNamespace(_MVP=lambda v, slope: tensor(product(v.numpy())))
        return TRPO._conjugate_gradients(agent, tensor(b), None, iterations)

    def joint(mean: Any, log_std: Any) -> Any:
        return Independent(Normal(mean, log_std.exp()), 1)

    def each(mean: Any, log_std: Any) -> Any:
        return Normal(mean, log_std.exp())

    what = "TRPO._update_…: KL"
    yield from kl_calls(what, tianshou_kl, categorical=lambda z: Categorical(logits=z))
    yield from kl_calls(f"{what}, Independent(Normal)", tianshou_kl, gaussian=joint)
    yield from kl_calls(f"{what}, Normal", tianshou_kl, gaussian=each)
    for name, law, outputs, which in (
        ("categorical", lambda z: Categorical(logits=z), softmax_outputs, ""),
        ("gaussian", joint, normal_outputs, ", Independent(Normal)"),
        ("gaussian", each, normal_outputs, ", Normal"),
    ):
        product = partial(tianshou_product, law, outputs)
        yield Call(f"{name}_fisher_product", f"NPG._MVP{which}, _damping=0", product)
    yield Call("conjugate_gradient", "NPG._conjugate_gradients", solver)
    yield Call("trust_region_step", f"TRPO._update_…: {BEFORE}", tianshou_step, SINGLE)
    yield Call("line_search", "TRPO._update_…: line search", tianshou_search, SINGLE, moving)


def tianshou_product(law: Any, outputs: Any, theta: Any, obs: Any, v: Any) -> Any:
    """Return the product that an update hands to its solver, with v."""
    theta, found = parameters(theta), []

    def first(b: Any, slope: Any, nsteps: int) -> Any:
        found.append(agent._MVP(tensor(v).ravel(), slope))
        raise FoundError

    agent = tianshou_agent(theta, lambda: law(*outputs(theta, obs)), _damping=0.0, _conjugate_gradients=first)
    actions = law(*outputs(theta, obs)).sample().detach()
    try:
        tianshou_train(agent, actions, law(*outputs(theta, obs)).log_prob(actions).detach())
    except FoundError:
        return found[0].reshape(theta.shape)


def with_log_prob(law: Any, log_prob: Any) -> Any:
    """Return a distribution of torch that has these log-probabilities, whatever the actions."""
    law.log_prob = lambda actions: log_prob
    return law


def tianshou_step(product: Any, g: Any, kl_limit: float, damping: float, iterations: int) -> Any:
    """Return what is added to θ = 0; this TRPO runs 10 iterations, for which those asked for are put."""
    from torch.distributions import Independent, Normal

    g = g.astype(float)  # its surrogate is in single precision, and nothing else
    theta, b, turn, half = parameters(0 * g), tensor(g), iter(range(3)), root(product, len(g))

    def law() -> Any:
        moved = next(turn) == 2  # the line search finds no KL and a gain
        mean = tensor(0 * g) if moved else half @ theta
        normal = Independent(Normal(mean[None], 1.0), 1)
        return with_log_prob(normal, tensor([1.0]) if moved else (theta @ b)[None])

    agent = tianshou_agent(theta, law, max_kl=kl_limit, _damping=damping)
    solve = agent._conjugate_gradients
    agent._conjugate_gradients = lambda b, slope, nsteps: solve(b, slope, nsteps=iterations)
    tianshou_train(agent, tensor(np.zeros((1, 1))), tensor(np.zeros(1)))
    return theta.detach().numpy()


def tianshou_search(
    evaluate: Any, theta: Any, step: Any, kl_limit: float, shrink: float, tries: int, expected: float
) -> Any:
    """Return where its line search ends, H being a multiple of I that makes its full step the one given."""
    from torch.distributions import Independent, Normal

    at, along, turn = parameters(theta), tensor(step), []

    def law() -> Any:
        turn.append(None)
        searching = len(turn) > 2
        log_prob, mean = scripted(evaluate, at) if searching else (0.0, 0.0)
        gain = tensor([log_prob]) if searching else (along @ (at - tensor(theta)))[None]
        normal = Independent(Normal(tensor([[mean]]) + (0 if searching else 0 * at.sum()), 1.0), 1)
        return with_log_prob(normal, gain)

    agent = tianshou_agent(at, law, max_kl=kl_limit, max_backtracks=tries, backtrack_coeff=shrink)
    curvature = 2 * kl_limit / float(step @ step)
    agent._MVP = lambda v, slope: curvature * v
    tianshou_train(agent, tensor(np.zeros((1, 1))), tensor(np.zeros(1)))
    return at.detach().numpy()


def tianshou_kl(law: Callable[..., Any], old: list[Any], new: list[Any]) -> float:
    """Run an update with one step of its line search; return the KL divergence of its statistics."""
    import torch

    theta, next_law = turns(law, old, new)
    actions = torch.zeros_like(law(*old).sample())
    return tianshou_train(tianshou_agent(theta, next_law), actions, law(*old).log_prob(actions)).kl.mean


def tianshou_agent(theta: Any, next_law: Callable[[], Any], **settings: Any) -> Any:
    """Return what TRPO's methods use of a TRPO, with the parameters θ and the settings."""
    from tianshou.algorithm import TRPO

    class Policy:
        actor = SimpleNamespace(parameters=lambda: iter([theta]))

        def __call__(self, minibatch: Any) -> Any:
            return SimpleNamespace(dist=next_law())

    agent = SimpleNamespace(policy=Policy(), critic=lambda obs: tensor(np.zeros(len(obs))))
    agent.optim = SimpleNamespace(step=noop)
    agent.__dict__.update(
        {"max_kl": 1.0, "_damping": 1.0, "max_backtracks": 1, "backtrack_coeff": 0.8, "optim_critic_iters": 1}
    )
    for name in ("_get_flat_grad", "_conjugate_gradients", "_MVP", "_set_from_flat_params"):
        setattr(agent, name, partial(getattr(TRPO, name), agent))
    agent.__dict__.update(settings)
    return agent


def tianshou_train(agent: Any, actions: Any, old_log_probs: Any) -> Any:
    """Run an update on one batch with advantages of 1; return its statistics."""
    import torch
    from tianshou.algorithm import TRPO
    from tianshou.data import Batch

    ones = torch.ones(len(actions), dtype=torch.float64)
    batch = Batch(obs=ones, act=actions, adv=ones, logp_old=old_log_probs, returns=ones)
    return TRPO._update_with_batch(agent, batch, None, 1)
