"""Each check holds on several seeds, and rejects a wrong version of what it checks."""

import numpy as np
import pytest
from checking import checks_of

from pgref import asynchrony, optimizers
from pgref.asynchrony import Weights
from pgref.checks import asynchronous

real = {module: dict(vars(module)) for module in (asynchrony, optimizers)}


def rejected(check, seed=1):
    """What the check finds false."""
    return [finding.what for finding in check(np.random.default_rng(seed), 30) if not finding.ok]


def simulate_with(service):
    """`simulate` whose workers all serve by another law than asked for."""

    def mutant(workers, step, curvature, w0, n, asked, rng, **options):
        return real[asynchrony]["simulate"](workers, step, curvature, w0, n, service, rng, **options)

    return mutant


def uniform(rng, size):
    return 1.0 - rng.random(size)


def exponential(rng, size):
    return rng.standard_exponential(size)


def momentum_with(momentum=None, step_factor=None, first_factor=1.0):
    """`momentum_iterates` with another momentum, step or first step."""

    def mutant(workers, step, curvature, w0, n):
        mu = 1.0 - 1.0 / workers if momentum is None else momentum(workers)
        factor = 1.0 / workers if step_factor is None else step_factor(workers)
        w, move = [w0], -first_factor * step * curvature * w0
        for _ in range(n):
            w.append(w[-1] + move)
            move = mu * move - factor * step * curvature * w[-1]
        return np.array(w)

    return mutant


def without_bias_correction(state, gradient, step_size, **options):
    update = step_size * 0.1 * np.asarray(gradient) / np.sqrt(0.001 * np.square(gradient) + 1e-30)
    return state, update


def master_with(theta_sign=1.0, psi_sign=1.0, swap=False):
    """`master_step` that moves the wrong way, or takes each gradient for the other."""

    def mutant(theta, psi, g_theta, g_psi, step_theta, step_psi):
        if swap:
            g_theta, g_psi = g_psi[: len(g_theta)], g_theta[: len(g_psi)]
        args = (theta, psi, theta_sign * g_theta, psi_sign * g_psi, step_theta, step_psi)
        return real[asynchrony]["master_step"](*args)

    return mutant


def loop_without(switch):
    """`worker_loop` that does not heed one of its switches."""

    def mutant(*args, **switches):
        switches.pop(switch, None)
        return real[asynchrony]["worker_loop"](*args, **switches)

    return mutant


def loop_that_pushes_first(theta, psi, collect, step_theta, step_psi, rounds, **switches):
    """`worker_loop` whose first push is a gradient, so that K rounds make K updates even unfinished."""
    state = switches.pop("environment", None)
    for _ in range(rounds):
        g_theta, g_psi, state = collect(theta, psi, state)
        theta, psi = real[asynchrony]["master_step"](theta, psi, g_theta, g_psi, step_theta, step_psi)
    return Weights(theta, psi)


MUTANTS = {
    "staleness law that starts at 1": (
        asynchronous.stale_gradients,
        asynchrony,
        "staleness_law",
        lambda m, n: (1.0 - 1.0 / m) ** np.arange(1, n + 1) / m,
        "P(τ = k)",
    ),
    "throughput that is linear in M": (
        asynchronous.stale_gradients,
        asynchrony,
        "throughput_ratio",
        lambda m: float(m),
        "H_M",
    ),
    "one worker that is always fresh": (
        asynchronous.stale_gradients,
        asynchrony,
        "simulate",
        lambda m, *args, **options: real[asynchrony]["simulate"](1, *args, **options),
        "share of stale gradients",
    ),
    "uniform service passed off as exponential": (
        asynchronous.stale_gradients,
        asynchrony,
        "simulate",
        simulate_with(uniform),
        "P(fresh)",
    ),
    "momentum 1/M": (
        asynchronous.momentum,
        asynchrony,
        "momentum_iterates",
        momentum_with(momentum=lambda m: 1.0 / m),
        "heavy ball",
    ),
    "step α": (
        asynchronous.momentum,
        asynchrony,
        "momentum_iterates",
        momentum_with(step_factor=lambda m: 1.0),
        "heavy ball",
    ),
    "first step α/M": (
        asynchronous.momentum,
        asynchrony,
        "expected_iterates",
        lambda m, *args: momentum_with(first_factor=1.0 / m)(m, *args),
        "orders of finishing",
    ),
    "fresh gradients only": (
        asynchronous.momentum,
        asynchrony,
        "expected_iterates",
        lambda m, *args: real[asynchrony]["expected_iterates"](1, *args),
        "mean of runs",
    ),
    "SGD without its momentum": (
        asynchronous.momentum,
        optimizers,
        "sgd",
        lambda state, g, step, momentum: real[optimizers]["sgd"](state, g, step),
        "optimizers.sgd",
    ),
    "exponential service passed off as uniform": (
        asynchronous.other_service_laws,
        asynchrony,
        "simulate",
        simulate_with(exponential),
        "1/(M+1)",
    ),
    "uniform service with the exponential's share of fresh gradients": (
        asynchronous.other_service_laws,
        asynchrony,
        "simulate",
        simulate_with(exponential),
        "(1/M − p)·M",
    ),
    "workers that are never stale": (
        asynchronous.other_service_laws,
        asynchrony,
        "simulate",
        lambda m, *args, **options: real[asynchrony]["simulate"](1, *args, **options),
        "constant service",
    ),
    "limit 2/M": (
        asynchronous.single_runs,
        asynchrony,
        "mean_square_limit",
        lambda m: 2.0 / m,
        "spectral radius",
    ),
    "limit 2, as without staleness": (
        asynchronous.single_runs,
        asynchrony,
        "mean_square_limit",
        lambda m: 2.0,
        "limit of αλ −",
    ),
    "second moments without the squared step": (
        asynchronous.single_runs,
        asynchrony,
        "second_moment_matrix",
        lambda m, a: real[asynchrony]["second_moment_matrix"](m, a) * (np.arange(4) != 2),
        "spectral radius",
    ),
    "mean stable only below 2": (
        asynchronous.single_runs,
        asynchrony,
        "mean_limit",
        lambda m: 2.0,
        "limit of αλ for E w",
    ),
    "a mean that leaves out momentum": (
        asynchronous.single_runs,
        asynchrony,
        "expected_iterates",
        momentum_with(momentum=lambda m: 1.0),
        "|E wₙ|",
    ),
    "mean squares that are the squares of the mean": (
        asynchronous.single_runs,
        asynchrony,
        "expected_squares",
        lambda *args: real[asynchrony]["expected_iterates"](*args) ** 2,
        "E wₙ², same",
    ),
    "runs that follow the mean": (
        asynchronous.single_runs,
        asynchrony,
        "simulate",
        lambda m, step, curvature, w0, n, *args, **options: asynchrony.Simulation(
            asynchrony.expected_iterates(m, step, curvature, w0, n)[:, None], None, None
        ),
        "smallest |wₙ|",
    ),
    "an actor that descends": (
        asynchronous.master_signs,
        asynchrony,
        "master_step",
        master_with(theta_sign=-1.0),
        "surrogate rises",
    ),
    "a critic that ascends": (
        asynchronous.master_signs,
        asynchrony,
        "master_step",
        master_with(psi_sign=-1.0),
        "critic's loss falls",
    ),
    "a critic with half its step": (
        asynchronous.master_signs,
        asynchrony,
        "master_step",
        master_with(psi_sign=0.5),
        "critic's loss falls",
    ),
    "a printed reply that is put right": (
        asynchronous.master_signs,
        asynchrony,
        "worker_loop",
        loop_without("printed_reply"),
        "printed reply",
    ),
    "a loop that heeds the printed reply always": (
        asynchronous.master_signs,
        asynchrony,
        "worker_loop",
        lambda *args, printed_reply: real[asynchrony]["worker_loop"](*args, printed_reply=True),
        "distance to the optimum",
    ),
    "a first push that moves": (
        asynchronous.worker_pushes,
        asynchrony,
        "worker_loop",
        loop_that_pushes_first,
        "first fetch",
    ),
    "a printed loop that makes K updates": (
        asynchronous.worker_pushes,
        asynchrony,
        "worker_loop",
        loop_that_pushes_first,
        "K rounds as printed",
    ),
    "a printed loop that pushes all": (
        asynchronous.worker_pushes,
        asynchrony,
        "worker_loop",
        loop_without("push_last"),
        "never pushed, as printed",
    ),
    "a completed loop that does not push": (
        asynchronous.worker_pushes,
        asynchrony,
        "worker_loop",
        lambda *args, **switches: real[asynchrony]["worker_loop"](*args, **{**switches, "push_last": False}),
        "never pushed, completed",
    ),
    "Adam without bias correction": (
        asynchronous.worker_pushes,
        optimizers,
        "adam",
        without_bias_correction,
        "√(1+β₂)/(1+β₁)",
    ),
    "Adam that a zero push costs nothing": (
        asynchronous.worker_pushes,
        optimizers,
        "adam",
        without_bias_correction,
        "share of Adam's step",
    ),
    "an environment that is always carried over": (
        asynchronous.worker_pushes,
        asynchrony,
        "worker_loop",
        loop_without("carry_over"),
        "reset for each k",
    ),
    "an environment that is always reset": (
        asynchronous.worker_pushes,
        asynchrony,
        "worker_loop",
        lambda *args, **switches: real[asynchrony]["worker_loop"](*args, **{**switches, "carry_over": False}),
        "carried over",
    ),
}


@pytest.mark.parametrize(("check", "module", "name", "mutant", "what"), MUTANTS.values(), ids=MUTANTS)
def test_each_finding_rejects_a_wrong_version(monkeypatch, check, module, name, mutant, what):
    assert not rejected(check)
    monkeypatch.setattr(module, name, mutant)
    assert any(what in finding for finding in rejected(check)), rejected(check)


def test_every_finding_has_been_rejected_at_least_once():
    for check in checks_of(asynchronous):
        for finding in check(np.random.default_rng(0), 3):
            assert any(row[0] is check and row[4] in finding.what for row in MUTANTS.values()), finding.what


def test_a_nan_fails_every_check_that_computes_with_it(monkeypatch):
    monkeypatch.setattr(
        asynchrony, "master_step", lambda theta, psi, *rest: Weights(theta * np.nan, psi * np.nan)
    )
    assert len(rejected(asynchronous.master_signs)) == 4
    assert len(rejected(asynchronous.worker_pushes)) >= 2
    monkeypatch.setattr(asynchrony, "momentum_iterates", lambda m, a, c, w, n: np.full(n + 1, np.nan))
    assert len(rejected(asynchronous.momentum)) == 1
