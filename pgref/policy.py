"""A policy π_θ(a|s): a network from what is seen to z, and a distribution of actions given z.

Every gradient is a vector-Jacobian product of the network with a closed-form gradient in z, and the Hessian
of the mean KL divergence at θ_old is JᵀFJ exactly, F the distribution's Fisher matrix: no second derivatives
anywhere. Expectations over states weigh sample n by `weights` [N] (ρ(s), say), which are not normalised
again; None means 1/N.

Imports NumPy only; knows nothing of environments or algorithms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector, Workspace, as_array, as_parameters, in_precision
from pgref.categorical import Categorical
from pgref.distributions import Distribution
from pgref.errors import ArgumentError, ArgumentTypeError, PgrefError
from pgref.networks import Linearization, Network
from pgref.passes import BLOCK
from pgref.special import softmax

KEPT = 32 * BLOCK  # samples whose activations are kept, 37 MB of two hidden layers of 64 units


class Scores(NamedTuple):
    """What a batch of actions says about θ."""

    log_prob: Array  # [N] log π_θ(a|s), in nats
    score_sum: Callable[[Array], Vector]  # w [N] ↦ Σ_n w_n ∇log π_θ(a_n|s_n) [P]
    entropy: Callable[[], Array]  # ↦ H(π_θ(·|s)) [N], in nats
    gradient: Callable[[Array, float], Vector]  # w, c ↦ Σ_n [w_n ∇log π_θ(a_n|s_n) + c ∇H(π_θ(·|s_n))] [P],
    # w finite and in the precision of log π


@dataclass(frozen=True)
class Policy:
    """The composition of a network and a distribution; θ is one flat vector [P] and always an argument.

    `obs` [N, …] is what the network takes, `actions` what the distribution gives. Functions of (θ, obs)
    raise ArgumentTypeError, ShapeError, NonFiniteError or ArgumentError for input they cannot use.

    >>> from pgref.networks import Table
    >>> policy = Policy(Table(n_states=1, n_outputs=2), Categorical())
    >>> policy.log_prob(np.array([0.0, np.log(3.0)]), [0, 0], [0, 1]).round(6)
    array([-1.386294, -0.287682])
    """

    network: Network
    distribution: Distribution

    def __post_init__(self) -> None:
        self.distribution.check_width(self.network.n_outputs)

    @property
    def n_params(self) -> int:
        """P, the length of θ."""
        return self.network.n_params

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> Vector:
        """Draw a first θ [P]."""
        return self.network.init(rng, dtype)

    def sample(
        self, theta: Vector, obs: Array, rng: np.random.Generator, work: Workspace | None = None
    ) -> Array:
        """Draw actions a ~ π_θ(·|s), one for each observation."""
        with np.errstate(over="ignore", invalid="ignore"):  # looked at before anything is drawn
            z = self.network.forward(theta, work)(self.network.checked(obs))
        return self.distribution.sample(z, rng)

    def act(self, theta: Vector, obs: Array, noise: Array, work: Workspace | None = None) -> Array:
        """Return the actions that noise drawn beforehand picks: `sample` is `act` with fresh noise.

        `noise` [N, …] is a slice of `distribution.noise(rng, (T, N), n_outputs, dtype)`.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # looked at before anything is drawn
            return self.actor(theta, work)(self.network.checked(obs), noise)

    def actor(self, theta: Vector, work: Workspace | None = None) -> Callable[[Array, Array], Array]:
        """Return (obs, noise) ↦ actions, `act` at a θ that is checked here, once, and not copied.

        What is acted on must be usable already, and NumPy may warn of an overflow before it is raised.
        """
        forward, draw = self.network.forward(theta, work), self.distribution.draw
        return lambda obs, noise: draw(forward(obs), noise)

    def mode(self, theta: Vector, obs: Array, work: Workspace | None = None) -> Array:
        """Return the likeliest action for each observation."""
        return self.distribution.mode(self.network.linearize(theta, obs, work).value)

    def probabilities(self, theta: Vector, obs: Array) -> Matrix:
        """Return π_θ [N, A] of a categorical policy.

        Raises:
            ArgumentTypeError: the actions are not categorical.
        """
        if not isinstance(self.distribution, Categorical):
            raise ArgumentTypeError(f"probabilities need a Categorical policy, got {self.distribution}")
        return softmax(self.network.linearize(theta, obs).value)

    def log_prob(self, theta: Vector, obs: Array, actions: Array, work: Workspace | None = None) -> Array:
        """Return log π_θ(a|s), [N]."""
        return self.scores(theta, obs, actions, work).log_prob

    def scores(self, theta: Vector, obs: Array, actions: Array, work: Workspace | None = None) -> Scores:
        """Return log π_θ(a|s), and the sums and entropies that go with it, from one forward pass."""
        z, _, vjp = self.network.linearize(theta, obs, work)
        return self.scored(z, actions, vjp)

    def scored(self, z: Array, actions: Array, vjp: Callable[[Array], Array]) -> Scores:
        """Return what `scores` does, given the network's outputs z [N, K] and its u [N, K] ↦ Jᵀu.

        With u ↦ u in its place the sums are left as their rows in z, to be used with another's.

        Raises:
            ArgumentError: no samples, or actions that the distribution does not have.
        """
        if not len(z):
            raise ArgumentError("empty batch (0 samples)")
        actions, pi = self.distribution.check_actions(actions, z), self.distribution
        prepared = pi.prepared(z)

        def gradient(weights: Array, entropy: float) -> Vector:
            rows = weights[:, None] * pi.log_prob_grad(prepared, actions)
            return vjp(rows + entropy * pi.entropy_grad(prepared) if entropy else rows)

        return Scores(
            pi.log_prob(prepared, actions),
            lambda weights: gradient(as_weights(weights, z), 0.0),
            lambda: pi.entropy(prepared),
            gradient,
        )

    def score_sum(
        self, theta: Vector, obs: Array, actions: Array, weights: Array, work: Workspace | None = None
    ) -> Vector:
        """Return Σ_n w_n ∇log π_θ(a_n|s_n), [P]."""
        z, _, vjp = self.network.linearize(theta, obs, work)
        actions = self.distribution.check_actions(actions, z)
        return vjp(_weighted(self.distribution.log_prob_grad(z, actions), weights))

    def entropy(self, theta: Vector, obs: Array, work: Workspace | None = None) -> Array:
        """Return the entropy of π_θ(·|s), [N] in nats."""
        return self.distribution.entropy(self.network.linearize(theta, obs, work).value)

    def entropy_grad(
        self, theta: Vector, obs: Array, weights: Array | None = None, work: Workspace | None = None
    ) -> Vector:
        """Return Σ_n w_n ∇H(π_θ(·|s_n)), [P]."""
        z, _, vjp = self.network.linearize(theta, obs, work)
        return vjp(_weighted(self.distribution.entropy_grad(z), weights))

    def mean_kl(
        self,
        theta_old: Vector,
        theta_new: Vector,
        obs: Array,
        weights: Array | None = None,
        work: Workspace | None = None,
    ) -> float:
        """Return Σ_n w_n D(π_old(·|s_n) ‖ π_new(·|s_n)) in nats, the constraint of (5.26)."""
        old, new = _both(self.network, theta_old, theta_new, obs, work)
        kl = self.distribution.kl(old.value, new.value)
        mean: float = (as_weights(weights, kl) @ kl).item()  # complex for a complex θ
        return mean

    def mean_kl_grad(
        self,
        theta_old: Vector,
        theta_new: Vector,
        obs: Array,
        weights: Array | None = None,
        work: Workspace | None = None,
    ) -> Vector:
        """Return the gradient of `mean_kl` in θ_new, [P]; 0 at θ_new = θ_old."""
        old, new = _both(self.network, theta_old, theta_new, obs, work)
        return new.vjp(_weighted(self.distribution.kl_grad_new(old.value, new.value), weights))

    def mean_kl_grad_old(
        self,
        theta_old: Vector,
        theta_new: Vector,
        obs: Array,
        weights: Array | None = None,
        work: Workspace | None = None,
    ) -> Vector:
        """Return the gradient of `mean_kl` in θ_old, [P]."""
        old, new = _both(self.network, theta_old, theta_new, obs, work)
        return old.vjp(_weighted(self.distribution.kl_grad_old(old.value, new.value), weights))

    def fisher_product(
        self, theta: Vector, obs: Array, weights: Array | None = None, work: Workspace | None = None
    ) -> Callable[[Vector], Vector]:
        """Return v [P] ↦ Hv [P] with H = Σ_n w_n JᵀFJ, the Hessian of `mean_kl` at θ_new = θ_old = θ.

        The activations of one forward pass serve all products. Those of more than `KEPT` samples would take
        too much memory: each product makes them again, block by block, to the same bits.
        """
        n = len(obs)
        if n <= KEPT:
            return self._fisher_product(theta, obs, weights, work)
        w = as_weights(weights, np.empty(n, as_parameters("theta", theta, self.n_params).dtype))
        parts = [slice(first, first + BLOCK) for first in range(0, n, BLOCK)]
        try:
            for part in parts:
                self.network.linearize(theta, obs[part], work)
        except PgrefError:
            return self._fisher_product(theta, obs, weights, None)  # which raises, and says where among all

        def hessian_product(v: Vector) -> Vector:
            total = self._fisher_product(theta, obs[parts[0]], w[parts[0]], work)(v).copy()
            for part in parts[1:]:
                total += self._fisher_product(theta, obs[part], w[part], work)(v)
            return total

        return hessian_product

    def _fisher_product(
        self, theta: Vector, obs: Array, weights: Array | None, work: Workspace | None
    ) -> Callable[[Vector], Vector]:
        z, jvp, vjp = self.network.linearize(theta, obs, work)
        product, w = self.distribution.fisher_product(z), as_weights(weights, z)[:, None]

        def hessian_product(v: Vector) -> Vector:
            v = as_array("v", v, (self.n_params,), "c" if z.dtype.kind == "c" else "f")
            return vjp(w * product(jvp(in_precision("v", v, z.dtype))))

        return hessian_product

    def kl_hessian(self, theta: Vector, obs: Array, weights: Array | None = None) -> Matrix:
        """Return the same H [P, P] written out, H = Σ_n w_n JₙᵀFₙJₙ, for small problems.

        Builds each sample's Jacobian [K, P] column by column, N·K·P numbers.
        """
        z, jvp, _ = self.network.linearize(theta, obs)
        jacobian = np.stack([jvp(e) for e in np.eye(self.n_params, dtype=z.dtype)], -1)  # [N, K, P]
        fisher = as_weights(weights, z)[:, None, None] * self.distribution.fisher_matrix(z)
        rows = -1, self.n_params  # Σ_n JₙᵀFₙJₙ as one product
        return np.asarray(jacobian.reshape(rows).T @ (fisher @ jacobian).reshape(rows))

    def mean_kl_hessian(
        self, theta_old: Vector, theta_new: Vector, obs: Array, weights: Array | None = None
    ) -> Matrix:
        """Return the true Hessian [P, P] of `mean_kl` in θ_new, for any θ_new: complex steps of its gradient.

        It equals `kl_hessian` at θ_new = θ_old; away from there an MLP's has another form, often indefinite.
        """
        step = 1e-20  # exact to rounding: nothing is subtracted
        steps = 1j * step * np.eye(self.n_params)
        old = as_parameters("theta", theta_old, self.n_params).astype(complex)
        new = as_parameters("theta", theta_new, self.n_params)
        columns = [self.mean_kl_grad(old, new + e, obs, weights).imag / step for e in steps]
        return np.stack(columns, -1)


def _both(
    network: Network, theta_old: Vector, theta_new: Vector, obs: Array, work: Workspace | None
) -> tuple[Linearization, Linearization]:
    old = network.linearize(theta_old, obs, work and work.part("old"))
    return old, network.linearize(theta_new, obs, work and work.part("new"))


def _weighted(rows: Array, weights: Array | None) -> Array:
    return np.asarray(as_weights(weights, rows)[:, None] * rows)


def as_weights(weights: Array | None, rows: Array) -> Vector:
    """Return weights [N] in the precision of the rows [N, …]; None stands for 1/N each.

    Raises:
        ArgumentTypeError: complex weights for real rows; ShapeError, NonFiniteError: as for any array.
    """
    real = rows.real.dtype
    if weights is None:
        return np.full(len(rows), 1 / len(rows), real)
    w = as_array("weights", weights, (len(rows),), "c" if rows.dtype.kind == "c" else "f")
    return in_precision("weights", w, rows.dtype if w.dtype.kind == "c" else real)
