"""What is to be learned: an environment, with a policy and a critic that fit its spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Matrix, Vector, Workspace, finite, in_precision, positive
from pgref.critic import Critic
from pgref.distributions import Categorical, DiagonalGaussian, MultiCategorical
from pgref.envs.protocol import Environment
from pgref.errors import ArgumentTypeError
from pgref.knobs import check_knobs, flag, knob, one_of, widths
from pgref.networks import MLP, Both, Network, Table, WithFreeOutputs, linearize_both
from pgref.policy import Policy
from pgref.spaces import Box, Discrete, Space


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Knobs of every algorithm: the networks and their first weights."""

    hidden: tuple[int, ...] = knob((64, 64), widths, "widths of the hidden layers of policy and critic")
    activation: str = knob("tanh", one_of("tanh", "relu"), "activation of the hidden layers")
    dtype: str = knob(
        "float32", one_of("float32", "float64"), "precision of θ, ψ and all that is made of them"
    )
    orthogonal: bool = knob(
        False, flag, "first weights with orthonormal rows or columns; off: normal", source="Saxe et al. 2014"
    )
    hidden_layers: float = knob(
        1.0,
        positive,
        "factor on the first weights of the hidden layers, √2 for relu",
        source="He et al. 2015",
    )
    last_layer: float = knob(
        1.0,
        positive,
        "factor on the first weights of the policy's last layer",
        source="Andrychowicz et al. 2021",
    )
    log_std: float = knob(0.0, finite, "first log σ of a Gaussian policy")

    def __post_init__(self) -> None:
        check_knobs(self)


class Task(NamedTuple):
    """An environment, and what acts and judges in it; parameters are one vector, θ and then ψ [P + Q]."""

    env: Environment
    policy: Policy
    critic: Critic

    def split(self, weights: Vector) -> tuple[Vector, Vector]:
        """Return the views θ [P] and ψ [Q] of the weights [P + Q]."""
        return weights[: self.policy.n_params], weights[self.policy.n_params :]

    def linearize(self, weights: Vector, obs: Array, work: Workspace | None = None) -> Both:
        """Return z [N, K] and V [N, 1] at the observations, and the product with both Jacobians."""
        return linearize_both(self.policy.network, self.critic.network, weights, obs, work)


def make_task(env: Environment, networks: Networks) -> Task:
    """Return the task with a policy and a critic as the spaces ask for.

    Actions of a Discrete space are categorical, of a MultiDiscrete several categoricals, of a Box Gaussian
    with a log σ that no state moves. Observations of a Discrete space index a table.

    Raises:
        ArgumentTypeError: observations of another space than a Box or Discrete.
    """
    outputs, distribution = _actions(env.action_space)
    network = _network(env.obs_space, outputs, networks)
    if isinstance(distribution, DiagonalGaussian):
        network = WithFreeOutputs(network, outputs)
    return Task(env, Policy(network, distribution), Critic(_network(env.obs_space, 1, networks)))


def first_weights(task: Task, networks: Networks, rng: np.random.Generator) -> Vector:
    """Draw the first weights [P + Q].

    Raises:
        NonFiniteError: a factor or `log_std` is too large for the dtype.
    """
    theta, psi = task.policy.init(rng), task.critic.init(rng)
    actor: Any = task.policy.network
    if isinstance(actor, WithFreeOutputs):
        theta[actor.network.n_params :] = networks.log_std
        actor = actor.network
    with np.errstate(over="ignore"):  # looked at below
        for network, weights in ((actor, theta), (task.critic.network, psi)):
            if isinstance(network, MLP):
                layers = network.layers(weights)
                for layer in layers if networks.orthogonal else ():
                    layer[:-1] = _orthogonal(layer[:-1])
                for layer in layers[:-1]:
                    layer *= networks.hidden_layers
        if isinstance(actor, MLP):
            actor.layers(theta)[-1][...] *= networks.last_layer
    return in_precision("first weights", np.concatenate([theta, psi]), np.dtype(networks.dtype))


def _orthogonal(w: Matrix) -> Matrix:
    """Return a matrix of the shape of w, drawn from N(0, 1/in), whose shorter side is orthonormal."""
    q, r = np.linalg.qr(w if w.shape[0] >= w.shape[1] else w.T)
    q *= np.where(np.diag(r) < 0, -1, 1)  # uniform over all such matrices, as q alone is not
    return np.asarray(q if w.shape[0] >= w.shape[1] else q.T)


def _actions(space: Space) -> tuple[int, Any]:
    if isinstance(space, Discrete):
        return space.n, Categorical()
    if isinstance(space, Box):
        return space.d, DiagonalGaussian()
    return sum(space.sizes), MultiCategorical(space.sizes)


def _network(space: Space, outputs: int, networks: Networks) -> Network:
    if isinstance(space, Discrete):
        return Table(space.n, outputs)
    if isinstance(space, Box):
        return MLP((space.d, *networks.hidden, outputs), networks.activation)
    raise ArgumentTypeError(f"observations must be a Box or Discrete, got {space}")
