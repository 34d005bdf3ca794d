"""Bad input meets the error that names it; good input gives the same bits in any memory layout.

One table of public functions with arguments that they accept; each test spoils or rearranges one argument.
"""

import numpy as np
import pytest

from pgref import bounds, critic, estimates, exact, mdp, natural, objectives, tabular
from pgref.arrays import Workspace
from pgref.categorical import Categorical
from pgref.distributions import MultiCategorical
from pgref.errors import (
    ArgumentError,
    ArgumentTypeError,
    NonFiniteError,
    NotAbsorbingError,
    PgrefError,
    ShapeError,
)
from pgref.gaussian import DiagonalGaussian
from pgref.networks import MLP, Table, WithFreeOutputs
from pgref.policy import Policy

RNG = np.random.default_rng(8)
S, A, T, E, N = 4, 3, 5, 2, 6
TRANSITIONS, REWARDS = RNG.dirichlet(np.ones(S), (S, A)), RNG.normal(size=(S, A))
START, OLD, NEW = RNG.dirichlet(np.ones(S)), RNG.dirichlet(np.ones(A), S), RNG.dirichlet(np.ones(A), S)
MDP = mdp.TabularMDP(TRANSITIONS, REWARDS, START, 0.9)
NET = Policy(MLP((3, 4, A)), Categorical())
TABLE = Policy(Table(S, A), Categorical())
GAUSS = Policy(WithFreeOutputs(MLP((3, 4, 2)), 2), DiagonalGaussian())
V = critic.Critic(MLP((3, 4, 1)))
THETA, OTHER, PSI = NET.init(RNG), NET.init(RNG), V.init(RNG)
OBS, NEXT, ACTIONS = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3)), RNG.integers(0, A, N)
WEIGHTS, ENDED = RNG.normal(size=N), RNG.random(N) < 0.3
GRID = [RNG.normal(size=(T, E)) for _ in range(3)]
FLAGS = [RNG.random((T, E)) < 0.3 for _ in range(2)]
LOG_PROB = NET.log_prob(OTHER, OBS, ACTIONS)


def batch(obs, actions, advantages, old):
    return objectives.Batch(obs, actions, advantages, old)


def transitions(obs, rewards, following, ended):
    return critic.Transitions(obs, rewards, following, ended)


FUNCTIONS = {
    "TabularMDP": (lambda *a: mdp.expected_return(mdp.TabularMDP(*a, 0.9), OLD), TRANSITIONS, REWARDS, START),
    "state_values": (lambda pi: mdp.state_values(MDP, pi), OLD),
    "action_values": (lambda pi: mdp.action_values(MDP, pi), OLD),
    "advantages": (lambda pi: mdp.advantages(MDP, pi), OLD),
    "visitation": (lambda pi: mdp.visitation(MDP, pi), OLD),
    "expected_return": (lambda pi: mdp.expected_return(MDP, pi), OLD),
    "performance_difference": (lambda *p: bounds.performance_difference(MDP, *p), NEW, OLD),
    "local_surrogate": (lambda *p: bounds.local_surrogate(MDP, *p), NEW, OLD),
    "importance_surrogate": (lambda *p: bounds.importance_surrogate(MDP, *p), NEW, OLD),
    "surrogate_gap": (lambda *p: bounds.surrogate_gap(MDP, *p), NEW, OLD),
    "gap_bounds": (lambda *p: bounds.gap_bounds(MDP, *p), NEW, OLD),
    "max_kl": (bounds.max_kl, OLD, NEW),
    "max_tv": (bounds.max_tv, OLD, NEW),
    "log_prob": (NET.log_prob, THETA, OBS, ACTIONS),
    "score_sum": (NET.score_sum, THETA, OBS, ACTIONS, WEIGHTS),
    "entropy": (NET.entropy, THETA, OBS),
    "entropy_grad": (NET.entropy_grad, THETA, OBS, WEIGHTS),
    "mean_kl": (NET.mean_kl, THETA, OTHER, OBS, WEIGHTS),
    "mean_kl_grad": (NET.mean_kl_grad, THETA, OTHER, OBS, WEIGHTS),
    "fisher_product": (lambda *a: NET.fisher_product(*a)(OTHER), THETA, OBS, WEIGHTS),
    "kl_hessian": (NET.kl_hessian, THETA, OBS, WEIGHTS),
    "values": (V.values, PSI, OBS),
    "semi_gradient": (
        lambda p, *b: critic.semi_gradient(V, p, transitions(*b), 0.9), PSI, OBS, WEIGHTS, NEXT, ENDED,
    ),
    "residual_gradient": (
        lambda p, *b: critic.residual_gradient(V, p, transitions(*b), 0.9), PSI, OBS, WEIGHTS, NEXT, ENDED,
    ),
    "value_loss_grad": (lambda *a: critic.value_loss_grad(V, *a), PSI, OBS, WEIGHTS),
    "surrogate_grad": (
        lambda t, *b: objectives.surrogate_grad(NET, t, batch(*b)), THETA, OBS, ACTIONS, WEIGHTS, LOG_PROB,
    ),
    "clipped": (
        lambda t, *b: objectives.clipped(NET, t, batch(*b), clip=0.2), THETA, OBS, ACTIONS, WEIGHTS, LOG_PROB,
    ),
    "policy_gradient": (lambda t, o: exact.policy_gradient(MDP, NET, t, o), THETA, OBS[:S]),
    "natural_gradient": (lambda t, o: exact.natural_gradient(MDP, NET, t, o), THETA, OBS[:S]),
    "trpo_exact_tabular": (lambda pi: exact.trpo_exact_tabular(MDP, pi, 0.01), OLD),
    "npg_iterates": (lambda pi: tabular.npg_iterates(MDP, pi, 0.1, 2), OLD),
    "td_errors": (lambda *a: estimates.td_errors(*a, 0.9), *GRID, FLAGS[0]),
    "gae": (lambda *a: estimates.gae(*a, 0.9, 0.8), *GRID, *FLAGS),
    "dense_solve": (lambda h, g: natural.dense_solve(h, g).x, np.diag([1.0, 2.0, 3.0]), np.ones(3)),
    "conjugate_gradient": (lambda b: natural.conjugate_gradient(lambda v: 2 * v, b).x, WEIGHTS),
    "natural_step": (lambda x: natural.natural_step(lambda v: 2 * v, x, kl_limit=0.1), WEIGHTS),
}  # fmt: skip
ARGUMENTS = [(name, i) for name, (_, *arguments) in FUNCTIONS.items() for i in range(len(arguments))]


def call(name, position, argument):
    function, *arguments = FUNCTIONS[name]
    arguments[position] = argument
    return np.asarray(function(*arguments))


def layouts(array):
    """The same numbers, elsewhere in memory."""
    strided = np.zeros(tuple(2 * n for n in array.shape), array.dtype)[
        tuple(slice(None, None, 2) for _ in array.shape)
    ]
    strided[...] = array
    yield "strided", strided
    yield "fortran", np.asfortranarray(array)
    yield "negative strides", array[::-1].copy()[::-1]
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))
    read_only = array.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    yield "list", array.tolist()


@pytest.mark.parametrize(("name", "position"), ARGUMENTS)
def test_any_layout_gives_the_same_bits_and_is_left_alone(name, position):
    array = FUNCTIONS[name][1 + position]
    expected = call(name, position, array)
    for layout, other in layouts(array):
        if layout == "list" and name not in ("TabularMDP", "state_values", "td_errors", "gae", "max_kl"):
            continue
        before = np.array(other)
        assert call(name, position, other).tobytes() == expected.tobytes(), layout
        assert np.array(other).tobytes() == before.tobytes(), layout


@pytest.mark.parametrize(
    ("name", "position"), [(n, i) for n, i in ARGUMENTS if FUNCTIONS[n][1 + i].dtype.kind == "f"]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(name, position, bad):
    spoilt = FUNCTIONS[name][1 + position].copy()
    spoilt.flat[-1] = bad
    with pytest.raises(NonFiniteError, match=r"finite|is nan|is inf|is -inf"):
        call(name, position, spoilt)


@pytest.mark.parametrize(("name", "position"), ARGUMENTS)
def test_another_shape_is_refused_even_if_it_would_broadcast(name, position):
    array = FUNCTIONS[name][1 + position]
    for other in (array[:1], array[..., None], array[0]):
        if (name, other.ndim) in (("conjugate_gradient", 1), ("natural_step", 1)):
            continue  # any length is right there
        one_sample = other.ndim == array.ndim and (name, position) in (("entropy", 1), ("values", 1))
        if one_sample:
            continue  # a batch of one
        with pytest.raises(PgrefError):
            call(name, position, other)


@pytest.mark.parametrize(("name", "position"), ARGUMENTS)
def test_a_dtype_that_would_lose_something_is_refused(name, position):
    array = FUNCTIONS[name][1 + position]
    wrong = [array.astype(object), array.astype(str)]
    wrong += [array.astype(float)] if array.dtype.kind in "ib" else [array > 0]
    for other in wrong:
        with pytest.raises(ArgumentTypeError, match=r"must (hold|be) .*, got"):
            call(name, position, other)


NUMBERS = {
    "discount": [
        lambda x: mdp.TabularMDP(TRANSITIONS, REWARDS, START, x),
        lambda x: estimates.td_errors(*GRID, FLAGS[0], x),
        lambda x: estimates.gae(*GRID, *FLAGS, x, 0.9),
        lambda x: critic.td_loss(V, PSI, transitions(OBS, WEIGHTS, NEXT, ENDED), x),
    ],
    "trace": [lambda x: estimates.gae(*GRID, *FLAGS, 0.9, x)],
    "clip": [
        lambda x: objectives.clipped(NET, THETA, batch(OBS, ACTIONS, WEIGHTS, LOG_PROB), clip=x),
        lambda x: objectives.clipped_grad(NET, THETA, batch(OBS, ACTIONS, WEIGHTS, LOG_PROB), clip=x),
        lambda x: critic.clipped_value_loss(V, PSI, OBS, WEIGHTS, WEIGHTS, x),
    ],
    "kl_limit": [
        lambda x: natural.natural_step(lambda v: v, WEIGHTS, kl_limit=x),
        lambda x: natural.line_search(lambda t: (1.0, 0.0), THETA, THETA, kl_limit=x),
        lambda x: exact.trpo_step(MDP, TABLE, np.zeros(S * A), x),
    ],
    "delta": [lambda x: exact.trpo_exact_tabular(MDP, OLD, x)],
    "penalty": [
        lambda x: objectives.kl_penalised(
            NET, THETA, batch(OBS, ACTIONS, WEIGHTS, LOG_PROB), OTHER, penalty=x
        ),
        lambda x: tabular.penalty_step(MDP, OLD, x),
    ],
    "step": [lambda x: tabular.npg_iterates(MDP, OLD, x, 3)],
}


@pytest.mark.parametrize(
    ("name", "index"), [(name, i) for name, fs in NUMBERS.items() for i in range(len(fs))]
)
@pytest.mark.parametrize("bad", [-0.5, np.nan, np.inf, True, "0.5", 1j])
def test_a_parameter_out_of_range_is_named(name, index, bad):
    with pytest.raises(ArgumentError, match=rf"{name} must be .*, got ") as caught:
        NUMBERS[name][index](bad)
    assert isinstance(caught.value, ValueError)


def test_the_wording_of_the_commonest_errors():
    with pytest.raises(ValueError, match=r"^discount must be in \[0, 1\], got -0.5$"):
        mdp.TabularMDP(TRANSITIONS, REWARDS, START, -0.5)
    rows = TRANSITIONS.copy()
    rows[2, 0, 1] += 0.0009999
    with pytest.raises(
        ValueError, match=r"transitions\[2, 0\] sums to 1.0009999 \(at most 1, tolerance 1e-09\)"
    ):
        mdp.TabularMDP(rows, REWARDS, START, 0.9)
    closed = mdp.TabularMDP(TRANSITIONS, REWARDS, START, 1.0)
    with pytest.raises(NotAbsorbingError, match=r"discount=1 and states \{0,1,2,3\} form a closed class"):
        mdp.state_values(closed, OLD)
    with pytest.raises(ValueError, match=r"^action 5 not in Discrete\(3\)$"):
        NET.log_prob(THETA, OBS, np.full(N, 5))
    with pytest.raises(ValueError, match=r"^action -1 not in Discrete\(3\)$"):
        NET.log_prob(THETA, OBS, np.full(N, -1))
    with pytest.raises(ValueError, match=r"^empty batch \(0 samples\)$"):
        NET.log_prob(THETA, OBS[:0], ACTIONS[:0])
    with pytest.raises(TypeError, match="actions must hold integers"):
        NET.log_prob(THETA, OBS, np.ones(N))
    with pytest.raises(NonFiniteError, match="log σ must be within"):
        GAUSS.log_prob(np.full(GAUSS.n_params, 400.0), OBS, np.zeros((N, 2)))
    with pytest.raises(NonFiniteError, match="theta must be finite, got nan at index"):
        NET.entropy(np.full_like(THETA, np.nan), OBS)


def test_an_output_that_overflows_is_reported_and_not_repaired():
    with pytest.raises(NonFiniteError, match="network output must be finite"):
        NET.entropy(np.full_like(THETA, 1e308), OBS)


def test_wrong_compositions_are_refused_at_once():
    for make in (
        lambda: Policy(MLP((3, 3)), DiagonalGaussian()),
        lambda: Policy(MLP((3, 4)), MultiCategorical((2, 3))),
        lambda: critic.Critic(MLP((3, 2))),
    ):
        with pytest.raises(ShapeError):
            make()
    for make in (
        lambda: MLP((3,)),
        lambda: MLP((3, 0)),
        lambda: MLP((3, 2), "sigmoid"),
        lambda: Table(0, 2),
        lambda: Table(2, True),
        lambda: WithFreeOutputs(MLP((1, 1)), 0),
        lambda: MultiCategorical(()),
        lambda: MultiCategorical((2.0,)),
    ):
        with pytest.raises(ArgumentError):
            make()


def test_non_success_is_a_status_with_the_parameters_untouched():
    zero = np.zeros(3)
    assert natural.conjugate_gradient(lambda v: 0 * v, np.ones(3)).status == "flat"
    assert natural.dense_solve(np.zeros((3, 3)), np.ones(3)).status == "flat"
    assert not natural.natural_step(lambda v: v, zero, kl_limit=0.1).any()
    for evaluate in (
        lambda t: (np.nan, 0.0),
        lambda t: (1.0, np.inf),
        lambda t: (-1.0, 0.0),
        lambda t: (1.0, 1.0),
    ):
        found = natural.line_search(evaluate, THETA, np.ones_like(THETA), kl_limit=0.5)
        assert (found.accepted, found.status) == (False, "refused")
        assert found.theta.tobytes() == THETA.tobytes()
    assert natural.line_search(lambda t: (1.0, 0.0), THETA, 0 * THETA, kl_limit=0.5).status == "no_step"
    for constant in (np.ones(5), np.full(3, 1e300), np.array([7.0])):
        result = estimates.normalise_advantages(constant)
        assert result.status == "degenerate_advantages"
        assert not result.values.any()


def test_a_refused_call_leaves_a_workspace_usable():
    work = Workspace()
    before = NET.score_sum(THETA, OBS, ACTIONS, WEIGHTS, work).copy()
    with pytest.raises(PgrefError):
        NET.score_sum(THETA, OBS, ACTIONS + 5, WEIGHTS, work)
    assert NET.score_sum(THETA, OBS, ACTIONS, WEIGHTS, work).tobytes() == before.tobytes()


def test_every_error_has_one_base_class_and_the_standard_one():
    for error in (ArgumentError, ShapeError, NonFiniteError, NotAbsorbingError):
        assert issubclass(error, PgrefError)
        assert issubclass(error, ValueError)
    assert issubclass(ArgumentTypeError, PgrefError)
    assert issubclass(ArgumentTypeError, TypeError)
