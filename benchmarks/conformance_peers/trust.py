"""What the adapters to TRPO share: policies with the Hessian, surrogate and KL that the oracle has drawn.

Their updates run as they are; θ is the drawn parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conformance_peers.calls import Call, tensor

BEFORE = "step before its search"
LARGE = 1e6  # a surrogate's value at θ; ratios of 1 + L/LARGE are then positive


class FoundError(Exception):
    """Ends an update once it has computed what was asked for."""


def kl_calls(what: str, asked: Callable[..., Any], **laws: Callable[..., Any]) -> Iterator[Call]:
    """Yield the checks of the mean KL of a line search: asked(law, old parameters, new ones)."""
    for name, law in laws.items():

        def call(*given: Any, law: Callable[..., Any] = law) -> Any:
            arrays = [tensor(array) for array in given]
            return asked(law, arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :])

        yield Call(f"{name}_mean_kl", what, call)


def turns(law: Callable[..., Any], old: list[Any], new: list[Any]) -> tuple[Any, Callable[[], Any]]:
    """Return θ = 0 and what gives twice the old distribution, with θ in its parameters, then the new one."""
    import torch

    theta, seen = torch.zeros_like(old[0], requires_grad=True), []

    def next_law() -> Any:
        seen.append(None)
        return law(*new) if len(seen) > 2 else law(old[0] + theta, *old[1:])

    return theta, next_law


def root(product: Callable[[Any], Any], size: int) -> Any:
    """Return a tensor R with RᵀR = H, so that a Gaussian with the mean Rθ and σ = 1 has the KL Hessian H."""
    hessian = np.stack([product(unit) for unit in np.eye(size)])
    values, basis = np.linalg.eigh(hessian)
    return tensor(np.sqrt(np.maximum(values, 0))[:, None] * basis.T)


def with_ones(obs: Any) -> Any:
    """Return observations with a column of ones, for the bias."""
    return tensor(np.hstack([obs, np.ones((len(obs), 1))]))


def softmax_outputs(theta: Any, obs: Any) -> tuple[Any]:
    """Return the logits of the oracle's linear policy."""
    return (with_ones(obs) @ theta,)


def normal_outputs(theta: Any, obs: Any) -> tuple[Any, Any]:
    """Return the mean and log σ of the oracle's linear policy."""
    mean = with_ones(obs) @ theta[:-1]
    return mean, theta[-1].expand_as(mean)


def parameters(theta: Any) -> Any:
    """Return a tensor that takes gradients."""
    return tensor(theta).requires_grad_()


def scripted(evaluate: Any, at: Any) -> tuple[Any, Any]:
    """Return log(1 + L), L no less than −½, and a mean whose Gaussian with σ = 1 has the KL evaluated at θ′.

    Of L the sign counts. A KL of NaN becomes ∞: torch refuses a mean of NaN.
    """
    gain, kl = evaluate(at.detach().numpy())
    return np.log1p(np.maximum(gain, -0.5)), np.sqrt(2 * np.nan_to_num(kl, nan=np.inf))


def moving(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return inputs of a line search with a step: no solver here ends at 0."""
    return inputs if inputs["step"].any() else {**inputs, "step": np.ones_like(inputs["step"])}


def halving_uphill(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return inputs of a line search with the fractions ½ʲ and a step that goes uphill."""
    step = moving(inputs)["step"]
    uphill = float(inputs["gradient"] @ step)
    gradient = np.sign(uphill) * inputs["gradient"] if uphill else step / (step @ step)
    return {**inputs, "step": step, "gradient": gradient, "shrink": 0.5}
