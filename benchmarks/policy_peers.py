"""The policies of policy_math.py as users of torch and JAX would write them.

Every function below takes a case of policy_math.py and returns calls without arguments, by what they compute.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

SIZES = (4, 64, 64, 2)
DAMPING, STEPS = 0.1, 10  # of conjugate gradients
SAMPLE, GRADIENT, FISHER, CG = "forward + sample", "gradient", "Fisher product", f"{STEPS} CG steps"
Call = Callable[[], Any]


def split(theta: Any, gaussian: bool) -> tuple[Any, ...]:
    """Return W₁, b₁, …, and a Gaussian's log σ, from θ [P] of torch or JAX in the order of pgref's."""
    shapes = [shape for n_in, n_out in pairwise(SIZES) for shape in ((n_in, n_out), (n_out,))]
    parts, start = [], 0
    for shape in (*shapes, *[(SIZES[-1],)] * gaussian):
        start, stop = start + math.prod(shape), start
        parts.append(theta[stop:start].reshape(shape))
    return tuple(parts)


@dataclass(frozen=True)
class Written:
    """The policy, in the functions `xp` of torch or JAX."""

    xp: Any
    gaussian: bool

    def outputs(self, params: Any, obs: Any) -> Any:
        """Return the logits, or μ and log σ."""
        w1, b1, w2, b2, w3, b3, *log_std = params
        tanh, affine = self.xp.tanh, self.xp.affine
        return (affine(tanh(affine(tanh(affine(obs, w1, b1)), w2, b2)), w3, b3), *log_std)

    def sample(self, params: Any, obs: Any, *key: Any) -> Any:
        """Return actions."""
        z, *log_std = self.outputs(params, obs)
        if self.gaussian:
            return z + self.xp.exp(log_std[0]) * self.xp.normal(*key, z)
        return self.xp.categorical(*key, z)

    def log_prob(self, params: Any, obs: Any, actions: Any) -> Any:
        """Return log π(a|s), [N]."""
        z, *log_std = self.outputs(params, obs)
        if self.gaussian:
            scaled = (actions - z) * self.xp.exp(-log_std[0])
            return -(scaled**2 / 2 + log_std[0] + math.log(2 * math.pi) / 2).sum(-1)
        return self.xp.take(self.xp.log_softmax(z), actions[:, None])[:, 0]

    def mean_kl(self, old: Any, params: Any, obs: Any) -> Any:
        """Return the mean KL divergence from a policy with the outputs `old`."""
        (z_old, *log_old), (z, *log_new) = old, self.outputs(params, obs)
        if self.gaussian:
            squares = self.xp.exp(2 * log_old[0]) + (z_old - z) ** 2
            shares = log_new[0] - log_old[0] + squares * self.xp.exp(-2 * log_new[0]) / 2 - 0.5
        else:
            log_p_old = self.xp.log_softmax(z_old)
            shares = self.xp.exp(log_p_old) * (log_p_old - self.xp.log_softmax(z))
        return shares.sum(-1).mean()

    def fisher(self, at: Any, u: Any) -> Any:
        """Return Fu/N, F the Fisher matrix of the outputs `at`; log σ is the same for all N."""
        n = len(at[0])
        if self.gaussian:
            return u[0] * self.xp.exp(-2 * at[1]) / n, 2 * u[1]
        p = self.xp.exp(self.xp.log_softmax(at[0]))
        return (p * (u[0] - (p * u[0]).sum(-1)[:, None]) / n,)


def functional(xp: Any, case: Any) -> dict[str, Callable[..., Any]]:
    """Return functions of θ, obs, actions, weights, v that a compiler makes one program of.

    The Fisher product is Jᵀ(F(Jv)), which here is faster than a derivative of the KL's gradient.
    """
    gaussian = case.gaussian
    policy = Written(xp, gaussian)

    def gradient(theta: Any, obs: Any, actions: Any, weights: Any, v: Any) -> Any:
        def surrogate(params: Any) -> Any:
            return policy.log_prob(params, obs, actions) @ weights

        return xp.flat(xp.grad(surrogate)(split(theta, gaussian)))

    def product(theta: Any, obs: Any) -> Callable[[Any], Any]:
        params, outputs = split(theta, gaussian), partial(policy.outputs, obs=obs)
        at, back = xp.vjp(outputs, params)

        def times(u: Any) -> Any:  # the compiler sees that the forward pass is always the same
            ahead = xp.jvp(outputs, (params,), (split(u, gaussian),))[1]
            return xp.flat(back(policy.fisher(at, ahead))[0])

        return times

    return {
        SAMPLE: lambda theta, obs, *key: policy.sample(split(theta, gaussian), obs, *key),
        GRADIENT: gradient,
        FISHER: lambda theta, obs, actions, weights, v: product(theta, obs)(v),
        CG: lambda theta, obs, actions, weights, v: plain_cg(product(theta, obs), v, case.products),
    }


def plain_cg(product: Callable[[Any], Any], b: Any, steps: int) -> Any:
    """Return x after so many conjugate gradients for (H + damping)x = b, as the peers have them."""
    x, r, p, rr = 0 * b, b, b, b @ b
    for _ in range(steps):
        hp = product(p) + DAMPING * p
        alpha, before = rr / (p @ hp), rr
        x, r = x + alpha * p, r - alpha * hp
        rr = r @ r
        p = r + (rr / before) * p
    return x


def of_torch(device: str, case: Any) -> tuple[SimpleNamespace, tuple[Any, ...], Callable[..., Any]]:
    """Return torch's functions, the case's arrays as its tensors, and what waits for the device."""
    import torch

    torch.set_num_threads(1)
    xp = SimpleNamespace(
        tanh=torch.tanh,
        exp=torch.exp,
        affine=lambda x, w, b: torch.addmm(b, x, w),
        log_softmax=partial(torch.log_softmax, dim=-1),
        take=lambda rows, at: torch.gather(rows, 1, at),
        categorical=lambda z: (z - torch.empty_like(z).exponential_().log()).argmax(-1),
        normal=torch.randn_like,
        flat=lambda parts: torch.cat([part.reshape(-1) for part in parts]),
        **{name: getattr(torch.func, name) for name in ("grad", "jvp", "vjp")},
    )

    def waited(run: Callable[..., Any], *args: Any) -> Any:
        result = run(*args)
        if device != "cpu":
            torch.cuda.synchronize()
        return result

    return xp, tuple(torch.as_tensor(array, device=device) for array in case.arrays), waited


def torch_eager(case: Any, device: str) -> dict[str, Call]:
    """Return what torch computes op by op; the Fisher product by double backward, as sb3-contrib has it."""
    import torch

    grad = torch.autograd.grad
    xp, (theta, obs, actions, weights, v), waited = of_torch(device, case)
    policy, params = Written(xp, case.gaussian), split(theta, case.gaussian)
    params = tuple(part.clone().requires_grad_() for part in params)

    def product() -> Callable[[Any], Any]:
        outputs = tuple(part.detach() for part in policy.outputs(params, obs))
        slope = xp.flat(grad(policy.mean_kl(outputs, params, obs), params, create_graph=True))
        return lambda u: xp.flat(grad(slope @ u, params, retain_graph=True))

    works = {
        SAMPLE: lambda: torch.no_grad()(policy.sample)(params, obs),
        GRADIENT: lambda: xp.flat(grad(policy.log_prob(params, obs, actions) @ weights, params)),
        FISHER: lambda: product()(v),
        CG: lambda: plain_cg(product(), v, case.products),
    }
    return {work: partial(waited, run) for work, run in works.items()}


def torch_functional(case: Any, device: str, compiled: bool = False) -> dict[str, Call]:
    """Return what torch.func computes, or what torch.compile makes of it, which knows no double backward."""
    if compiled:  # anew at every run, by this very process
        os.environ.update(TORCHINDUCTOR_FORCE_DISABLE_CACHES="1", TORCHINDUCTOR_COMPILE_THREADS="1")
    import torch

    torch.compiler.reset()  # else it gives up after some sizes
    xp, arrays, waited = of_torch(device, case)
    calls = {}
    for work, run in functional(xp, case).items():
        program = torch.compile(run, dynamic=False) if compiled else run
        calls[work] = partial(torch.no_grad()(waited), program, *(arrays[:2] if work == SAMPLE else arrays))
    return calls


def jax_jit(case: Any, device: str) -> dict[str, Call]:
    """Return what JAX compiles."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", str(case.theta.dtype) == "float64")
    xp = SimpleNamespace(
        tanh=jnp.tanh,
        exp=jnp.exp,
        affine=lambda x, w, b: x @ w + b,
        log_softmax=jax.nn.log_softmax,
        take=lambda rows, at: jnp.take_along_axis(rows, at, 1),
        categorical=jax.random.categorical,
        normal=lambda key, z: jax.random.normal(key, z.shape, z.dtype),
        flat=lambda parts: jnp.concatenate([part.ravel() for part in parts]),
        **{name: getattr(jax, name) for name in ("grad", "jvp", "vjp")},
    )
    where = jax.devices("cpu" if device == "cpu" else "gpu")[0]
    arrays, works = [jax.device_put(array, where) for array in case.arrays], functional(xp, case)
    draw, key = works.pop(SAMPLE), [jax.device_put(jax.random.key(0), where)]

    @jax.jit
    def sample(theta: Any, obs: Any, key: Any) -> Any:
        key, now = jax.random.split(key)
        return draw(theta, obs, now), key

    def next_sample() -> Any:
        actions, key[0] = jax.block_until_ready(sample(*arrays[:2], key[0]))
        return actions

    def call(run: Any) -> Any:
        return run(*arrays).block_until_ready()

    return {SAMPLE: next_sample, **{work: partial(call, jax.jit(run)) for work, run in works.items()}}
