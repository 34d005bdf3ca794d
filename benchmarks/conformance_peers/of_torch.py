"""The adapter to torch.distributions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance_peers.calls import Call, categorical_calls, gaussian_calls, tensor


def torch() -> Iterator[Call]:
    """Yield the calls of torch.distributions."""
    from torch.distributions import Categorical, Independent, Normal, kl_divergence
    from torch.nn.functional import softmax

    def normal(mean: Any, log_std: Any) -> Any:
        return Independent(Normal(tensor(mean), tensor(log_std).exp()), 1)

    def of_probs(logits: Any) -> Any:
        return Categorical(probs=softmax(tensor(logits), dim=-1))

    def from_logits(logits: Any) -> Any:
        return Categorical(logits=tensor(logits))

    def kl_grad(z_old: Any, z_new: Any) -> Any:
        z = tensor(z_new).requires_grad_()
        kl_divergence(from_logits(z_old), Categorical(logits=z)).sum().backward()
        return z.grad.numpy()

    yield from categorical_calls("Categorical(logits)", from_logits, tensor)
    yield Call("categorical_log_prob", "Categorical(probs)", lambda z, a: of_probs(z).log_prob(tensor(a)))
    yield Call(
        "categorical_kl",
        "kl_divergence(Categorical, Categorical)",
        lambda z_old, z_new: kl_divergence(from_logits(z_old), from_logits(z_new)),
    )
    yield Call("categorical_kl_grad", "kl_divergence, backward", kl_grad)
    yield from gaussian_calls("Independent(Normal)", normal, tensor)
    yield Call(
        "gaussian_kl",
        "kl_divergence(Independent, Independent)",
        lambda m, s, mean, log_std: kl_divergence(normal(m, s), normal(mean, log_std)),
    )
