"""What is computed in place of conjugate gradients and of a trust-region step, by whom, at what cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from pgref import natural
from pgref.arrays import Array, Matrix, Vector
from pgref.oracle.component import Inputs
from pgref.oracle.deviation import SLIP, Deviation, Source
from pgref.oracle.inputs import error, evaluated

TEST = "tests/test_oracle_steps.py::test_every_deviation_is_named"
BOOK = Source("the book", "printed", "(5.29): ΔᵀHΔ ≤ δ, without the ½ (I-26)")
SPINNING_UP = Source("Spinning Up", "commit 03c57d9", "algos/tf1/trpo/trpo.py: EPS in cg and in alpha")
RLZOO = Source("RLzoo", "commit 5b1d7f6", "trpo/trpo.py, TRPO.cg and a_train: EPS")
MODULAR_RL = Source("modular_rl", "commit 48456f9", "trpo.py, cg: residual_tol 1e-10")
SKRL = Source("skrl", "2.1.1", "agents/torch/trpo/trpo.py, conjugate_gradient: residual_tolerance 1e-10")
TIANSHOU = Source("tianshou", "2.0.1", "algorithm/modelfree/npg.py, _conjugate_gradients: residual_tol 1e-10")
FIXED = Source("tianshou", "2.0.1", "algorithm/modelfree/npg.py: trust_region_size * search_direction")
CONTRIB = Source("sb3-contrib", "2.9.2", "common/utils.py, conjugate_gradient_solver: x = 1e-4 * randn")
NEAR = 1e-2  # how far a noisy start moves a solution, at most
NOISE = 1e-4

Call: TypeAlias = Callable[[Inputs], Array]


@dataclass(frozen=True)
class Solver:
    """Conjugate gradients with something changed; as it stands, the textbook's without a convergence test.

    It divides 0 by 0 where the residual is exactly 0.
    """

    more: int = 0  # iterations beyond those asked for
    after: float = -1.0  # stops after a product that leaves ‖r‖² below it
    before: float = -1.0  # does not start with ‖r‖² below it
    epsilon: float = 0.0  # in the denominator of the step
    noise: float = 0.0  # standard deviation of the first x
    beta: Callable[[float], float] = lambda ratio: ratio

    def __call__(self, hessian: Matrix, b: Vector, iterations: int) -> Array:
        """Return x [P]."""
        x: Array = self.noise * np.random.default_rng(0).normal(size=b.size)
        r = b - hessian @ x
        p, rr = r, r @ r
        if rr < self.before:
            return np.asarray(x)
        for _ in range(iterations + self.more):
            hp = hessian @ p
            step = rr / (p @ hp + self.epsilon)
            x, r = x + step * p, r - step * hp
            rr, rr_before = r @ r, rr
            if rr < self.after:
                break
            p = r + self.beta(rr / rr_before) * p
        return np.asarray(x)


def _dense(hessian: Matrix, b: Vector, iterations: int) -> Array:
    return natural.dense_solve(hessian, b).x


def _same(outputs: list[Array], wanted: Iterable[Array], tolerance: float) -> bool:
    return all(error(o, w) < tolerance for o, w in zip(outputs, wanted, strict=True))


def _stops_at_some_tolerance(at_start: bool, call: Call, cases: list[Inputs], outputs: list[Array]) -> bool:
    """Return whether some absolute limit on ‖r‖², 10⁻² to 10⁻²⁴, explains all outputs."""
    for power in range(2, 25):
        limit = 10.0**-power
        solver = Solver(after=limit, before=limit if at_start else -1.0)
        if _same(outputs, (evaluated(solver, case) for case in cases), 1e-4):
            return True
    return False


def _starts_from_noise(call: Call, cases: list[Inputs], outputs: list[Array]) -> bool:
    """Return whether b = 0 gives something small, not 0, and everything else is nearly right.

    A system as small as the noise may give anything.
    """
    pairs = list(zip(cases, outputs, strict=True))
    idle = [o for c, o in pairs if not c["b"].any()]
    others = [(c, o) for c, o in pairs if np.abs(c["b"]).max() > NEAR]
    wanted = [evaluated(Solver(after=1e-10, before=1e-10), c) for c, _ in others]
    return all(0 < np.abs(o).max() < NEAR for o in idle) and _same([o for _, o in others], wanted, NEAR)


def _steps_at_random(call: Call, cases: list[Inputs], outputs: list[Array]) -> bool:
    """Return whether g = 0 gives a step as long as any, and everything else is nearly right."""
    pairs = list(zip(cases, outputs, strict=True))
    idle = [(c, o) for c, o in pairs if not c["g"].any()]
    others = [(c, o) for c, o in pairs if np.abs(c["g"]).max() > NEAR]
    wanted = [evaluated(_step(Solver(after=1e-10, before=1e-10)), c) for c, _ in others]
    spent = [o @ _damped(c["hessian"], c["damping"]) @ o / (2 * c["kl_limit"]) for c, o in idle]
    return all(abs(s - 1) < 1e-3 for s in spent) and _same([o for _, o in others], wanted, NEAR)


def _is_damped_again(call: Call, cases: list[Inputs], outputs: list[Array]) -> bool:
    """Return whether all are solutions for one and the same H + cI."""
    solved = [(c, o) for c, o in zip(cases, outputs, strict=True) if c["iterations"] >= len(o) and o.any()]
    if not solved:
        return False
    (case, x), *_ = solved
    damping = float(x @ (case["b"] - case["hessian"] @ x) / (x @ x))
    if not 1e-6 < damping < np.inf:
        return False
    wanted = [
        natural.conjugate_gradient(
            partial(np.matmul, _damped(c["hessian"], damping)), c["b"], max_products=c["iterations"]
        ).x
        for c in cases
    ]
    return _same(outputs, wanted, 1e-4)


def _damped(hessian: Matrix, damping: float) -> Array:
    return hessian + damping * np.eye(len(hessian))


def _length(of: Callable[[Matrix, Vector, float], Any]) -> Callable[..., Array]:
    """Return the step along x of a length that is computed otherwise."""
    return lambda hessian, x, kl_limit: np.asarray(of(hessian, x, kl_limit) * x)


def _step(
    solver: Callable[[Matrix, Vector, int], Array],
    solved: float = 1.0,
    measured: float = 1.0,
    limit: float = 1.0,
    epsilon: float = 0.0,
) -> Callable[..., Array]:
    """Return a trust-region step that counts the damping so often in each place, and a multiple of δ."""

    def step(hessian: Matrix, g: Vector, kl_limit: float, damping: float, iterations: int) -> Array:
        x = solver(_damped(hessian, solved * damping), g, iterations)
        curvature = x @ _damped(hessian, measured * damping) @ x
        return np.asarray(np.sqrt(2 * limit * kl_limit / (curvature + epsilon)) * x)

    return step


def _guarded(hessian: Matrix, b: Vector, iterations: int) -> Array:
    return natural.conjugate_gradient(partial(np.matmul, hessian), b, max_products=iterations).x


def _or_zero(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return a function with 0 in place of NaN, as for a zero gradient."""
    return lambda **inputs: np.nan_to_num(function(**inputs))


def _deviation(
    component: str,
    name: str,
    summary: str,
    function: Callable[..., Any],
    cost: str,
    *sources: Source,
    recognise: Any = None,
    test: str = TEST,
) -> Deviation:
    return Deviation(name, component, summary, function, sources or SLIP, cost, test, recognise)


_cg, _ns = partial(_deviation, "conjugate_gradient"), partial(_deviation, "natural_step")
_tr = partial(_deviation, "trust_region_step")
RANDOM_TEST = "tests/test_oracle_steps.py::test_a_random_start_is_named"
HALF_COST = "an effective trust-region factor of ½: steps √½ as long"
EPSILON_COST = "steps that are too short once x·Hx is not far above 1e-8, as for a policy that is almost sure"
NAN_COST = "NaN parameters after a batch of equal advantages"

# fmt: off
CONJUGATE_GRADIENT = (
    _cg("no_convergence_test", "goes on from an exact solution: 0/0", Solver(), NAN_COST),
    _cg("epsilon", "adds 1e-8 to p·Hp, and has no convergence test", Solver(epsilon=1e-8),
        EPSILON_COST + "; NaN for a zero gradient", SPINNING_UP, RLZOO),
    _cg("random_start", "starts from noise, not from 0", Solver(after=1e-10, before=1e-10, noise=NOISE),
        "another result each time; a zero gradient gives a random direction", CONTRIB,
        recognise=_starts_from_noise, test=RANDOM_TEST),
    _cg("absolute_tolerance", "stops once ‖r‖² is below an absolute limit, however small b is",
        Solver(after=1e-10), "one product and no more for gradients below 1e-5: then x is along g itself; "
        "NaN for a zero gradient", MODULAR_RL, SKRL, TIANSHOU,
        recognise=partial(_stops_at_some_tolerance, False)),
    _cg("absolute_tolerance_at_start", "does not start if ‖b‖² is below an absolute limit",
        Solver(after=1e-10, before=1e-10), "no step for gradients below 1e-5",
        recognise=partial(_stops_at_some_tolerance, True)),
    _cg("one_iteration_fewer", "runs n − 1 iterations", _or_zero(Solver(more=-1)),
        "a less accurate direction"),
    _cg("one_iteration_more", "runs n + 1 iterations", _or_zero(Solver(more=1)), "one more product"),
    _cg("exact", "solves the system exactly, whatever n is", _dense,
        "none but its cost; but 10 iterations also keep x out of directions in which H is almost 0"),
    _cg("beta_inverted", "divides the old ‖r‖² by the new one",
        _or_zero(Solver(beta=lambda ratio: 1 / ratio)),
        "directions that are not conjugate: it diverges"),
    _cg("beta_of_norms", "takes ‖r_new‖/‖r_old‖ for β, not its square", _or_zero(Solver(beta=math.sqrt)),
        "directions that are not conjugate: it may diverge"),
    _cg("steepest_descent", "takes β = 0: each direction is the residual",
        _or_zero(Solver(beta=lambda ratio: 0.0)),
        "slow convergence: 10 iterations are far from the solution"),
    _cg("damped_again", "adds a damping of its own to the product", lambda hessian, b, iterations: _guarded(
        _damped(hessian, 0.1), b, iterations), "the damping counts twice: shorter steps where H is small",
        recognise=_is_damped_again, test="tests/test_oracle_steps.py::test_a_damping_of_any_size_is_named"),
)
NATURAL_STEP = (
    _ns("missing_half", "takes √(δ/x·Hx): the ½ of ½ΔᵀHΔ is missing",
        _or_zero(_length(lambda hessian, x, limit: np.sqrt(limit / (x @ hessian @ x)))), HALF_COST, BOOK),
    _ns("no_root", "takes 2δ/x·Hx, without the root",
        _or_zero(_length(lambda hessian, x, limit: 2 * limit / (x @ hessian @ x))),
        "the length depends on that of x: no trust region"),
    _ns("euclidean", "takes √(2δ)/‖x‖",
        _or_zero(_length(lambda hessian, x, limit: math.sqrt(2 * limit) / np.linalg.norm(x))),
        "a trust region in parameters: the KL is whatever H makes of it"),
    _ns("epsilon", "adds 1e-8 to x·Hx",
        _length(lambda hessian, x, limit: np.sqrt(2 * limit / (x @ hessian @ x + 1e-8))), EPSILON_COST,
        SPINNING_UP, RLZOO),
    _ns("unguarded", "is NaN for x = 0",
        _length(lambda hessian, x, limit: np.sqrt(2 * limit / (x @ hessian @ x))), NAN_COST, SKRL, TIANSHOU),
    _ns("fixed", "takes δ·x: a step size, not a trust region", _length(lambda hessian, x, limit: limit),
        "the KL is whatever H and g make of it: the natural gradient without a trust region", FIXED),
)
TRUST_REGION_STEP = (
    _tr("missing_half", "takes √(δ/x·Hx): the ½ of ½ΔᵀHΔ is missing", _or_zero(_step(_guarded, limit=0.5)),
        HALF_COST, BOOK),
    _tr("undamped_length", "leaves the damping out of x·Hx", _or_zero(_step(_guarded, measured=0)),
        "none: a quadratic KL of exactly δ; an effective factor x·(H + cI)x/x·Hx beside those who count it"),
    _tr("damping_forgotten", "leaves the damping out", _or_zero(_step(_guarded, 0, 0)),
        "steps that overshoot by orders of magnitude where H is almost singular"),
    _tr("damped_twice", "adds the damping twice", _or_zero(_step(_guarded, 2, 2)),
        "shorter steps where H is small"),
    _tr("damped_length_only", "adds the damping to x·Hx only", _or_zero(_step(_guarded, solved=0)),
        "shorter steps, and a direction that overshoots where H is almost singular"),
    _tr("gradient_direction", "steps along g, not along H⁻¹g", _or_zero(_step(lambda hessian, g, n: g)),
        "the plain gradient with a trust region: slow where H is ill-conditioned"),
    _tr("one_iteration_fewer", "runs n − 1 iterations", _or_zero(_step(Solver(more=-1))),
        "a less accurate direction, where n is as small as P"),
    _tr("epsilon", "adds 1e-8 to p·Hp and to x·Hx", _step(Solver(epsilon=1e-8), epsilon=1e-8), EPSILON_COST,
        SPINNING_UP, RLZOO),
    _tr("unguarded", "is NaN for a zero gradient", _step(Solver()), NAN_COST),
    _tr("absolute_tolerance", "stops the solver once ‖r‖² is below 1e-10, however small g is",
        _step(Solver(after=1e-10)), "the direction of g itself for gradients below 1e-5; " + NAN_COST,
        MODULAR_RL, SKRL, TIANSHOU),
    _tr("random_start", "starts the solver from noise, not from 0",
        _step(Solver(after=1e-10, before=1e-10, noise=NOISE)),
        "a zero gradient gives a step of full length in a random direction", CONTRIB,
        recognise=_steps_at_random, test=RANDOM_TEST),
)
