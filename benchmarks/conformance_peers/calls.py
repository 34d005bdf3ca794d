"""What the adapters share: calls for the oracle, and updates of one batch whose gradients can be read.

The batch's log-probabilities and values are tensors of ours, and an update's own backward pass reaches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np


class Call(NamedTuple):
    """One formula of a framework, for one check of the oracle."""

    component: str  # the check's name
    what: str  # the framework's own name of what is called
    function: Callable[..., Any]
    options: dict[str, Any] = {}  # noqa: RUF012  of the check; never written to
    narrowed: Callable[[dict[str, Any]], dict[str, Any]] | None = None  # inputs ↦ those that it can be given


Update = Callable[..., tuple[Any, Any]]  # rows, clip, clip_values, normalise ↦ policy loss, value loss
SINGLE = {"dtype": "float32"}
MEAN = {"reduction": "mean"}


def noop(*args: Any, **kwargs: Any) -> None:
    """Do nothing, for the parts of an agent that compute nothing."""


def same(x: Any, **options: Any) -> Any:
    """Return what was given, as a preprocessor that does nothing."""
    return x


def tensor(array: Any) -> Any:
    """Return a tensor of torch with a copy of the array."""
    import torch

    return torch.tensor(np.asarray(array))


def shifted(next_values: Any) -> Any:
    """Return values [T, E] that are next_values of the row before."""
    return np.concatenate([np.zeros_like(next_values[:1]), next_values[:-1]])


def rows(**given: Any) -> SimpleNamespace:
    """Return tensors [N] for an update, zeros where nothing is given; log_probs and values take gradients."""
    import torch

    like = np.asarray(next(iter(given.values())))
    n, dtype = len(like), torch.float32 if like.dtype == np.float32 else torch.float64
    names = ("log_probs", "old_log_probs", "advantages", "values", "old_values", "targets")
    made = {name: tensor(given[name]) if name in given else torch.zeros(n, dtype=dtype) for name in names}
    for name in ("log_probs", "values"):
        made[name].requires_grad_()
    return SimpleNamespace(**made, n=n)


def ppo_calls(what: str, update: Update, precision: dict[str, Any] | None = None) -> Iterator[Call]:
    """Yield the checks of PPO: losses as it reports them, gradients as its backward pass leaves them."""
    precision = precision or {}
    actor, clipped = ("log_probs", "old_log_probs", "advantages"), ("values", "targets", "old_values")

    def updated(names: tuple[str, ...], args: Any, options: Any) -> tuple[Any, Any]:
        given = rows(**dict(zip(names, args, strict=False)))
        return given, update(given, *args[len(names) :], **options)

    def loss(names: tuple[str, ...], which: int, **options: Any) -> Callable[..., Any]:
        return lambda *args: updated(names, args, options)[1][which]

    def slope(names: tuple[str, ...], **options: Any) -> Callable[..., Any]:
        return lambda *args: getattr(updated(names, args, options)[0], names[0]).grad.numpy()

    def normalised(advantages: Any) -> Any:
        given = rows(advantages=advantages)  # all ratios are 1: the gradient is −Â/N
        update(given, normalise=True)
        return -given.n * given.log_probs.grad.numpy()

    yield Call("ppo_loss", what, loss(actor, 0), precision)
    yield Call("ppo_loss_grad", what, slope(actor), precision)
    yield Call("value_loss", what, loss(clipped[:2], 1))
    yield Call("value_loss_grad", what, slope(clipped[:2]))
    yield Call("clipped_value_loss", what, loss(clipped, 1, clip_values=True))
    yield Call("clipped_value_loss_grad", what, slope(clipped, clip_values=True))
    yield Call("normalise_advantages", what, normalised, precision)


def vanilla_calls(what: str, update: Update, precision: dict[str, Any] | None = None) -> Iterator[Call]:
    """Yield the checks of an update of A2C; torch's Categorical turns logits into log-probabilities."""
    options = {**MEAN, **(precision or {})}

    def loss(log_probs: Any, advantages: Any) -> Any:
        return update(rows(log_probs=log_probs, advantages=advantages))[0]

    def slope(logits: Any, actions: Any, advantages: Any) -> Any:
        import torch

        z = tensor(logits).requires_grad_()
        given = rows(advantages=advantages)
        given.log_probs = torch.distributions.Categorical(logits=z).log_prob(tensor(actions))
        update(given)
        return z.grad.numpy()

    yield Call("policy_gradient_loss", what, loss, options)
    yield Call("policy_gradient_loss_grad", what, slope, options)


def as_given(x: Any) -> Any:
    """Return the argument, for frameworks that take NumPy's arrays."""
    return x


def categorical_calls(
    what: str, law: Callable[..., Any], given: Callable[[Any], Any] = as_given
) -> Iterator[Call]:
    """Yield the checks of log-probability and entropy of a distribution made from logits."""
    yield Call("categorical_log_prob", what, lambda logits, actions: law(logits).log_prob(given(actions)))
    yield Call("categorical_entropy", what, lambda logits: law(logits).entropy())


def gaussian_calls(
    what: str, law: Callable[..., Any], given: Callable[[Any], Any] = as_given
) -> Iterator[Call]:
    """Yield the checks of log-probability and entropy of a distribution made from means and log σ."""
    yield Call("gaussian_log_prob", what, lambda mean, s, actions: law(mean, s).log_prob(given(actions)))
    yield Call("gaussian_entropy", what, lambda log_std: law(0 * log_std, log_std).entropy())
