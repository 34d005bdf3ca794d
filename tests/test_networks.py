"""Networks against loops over single numbers, complex steps, and each product against the other."""

import dataclasses
import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import passes
from pgref.arrays import Workspace
from pgref.checks.derivatives import STEP, complex_step_jacobian, relative_error
from pgref.errors import ArgumentError, ArgumentTypeError, NonFiniteError, ShapeError
from pgref.networks import MLP, Table, WithFreeOutputs, linearize_both

EPS = float(np.finfo(float).eps)
seeds, rows = st.integers(0, 2**32 - 1), st.integers(1, 9)
widths = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)
activations = st.sampled_from(["tanh", "relu"])
mlps = st.builds(MLP, widths, activations)
tables = st.builds(Table, st.integers(1, 6), st.integers(1, 5))
plain = st.one_of(mlps, tables)
networks = st.one_of(
    plain,
    st.builds(WithFreeOutputs, plain, st.integers(1, 3)),
    st.builds(WithFreeOutputs, st.builds(WithFreeOutputs, plain, st.integers(1, 2)), st.integers(1, 2)),
)


def draw(network, seed, n, dtype=np.float64):
    """Return θ and n observations, with biases and weights of size 1."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal(network.n_params).astype(dtype)
    while isinstance(network, WithFreeOutputs):
        network = network.network
    if isinstance(network, Table):
        return theta, rng.integers(0, network.n_states, n)
    return theta, rng.standard_normal((n, network.sizes[0]))


def forward(network, theta, obs):
    """Return the outputs of the forward pass alone."""
    with np.errstate(over="ignore", invalid="ignore"):
        return network.forward(theta)(network.checked(obs))


def by_loops(network, theta, obs):
    """Return the outputs for one observation, number by number."""
    theta = list(theta)
    if isinstance(network, WithFreeOutputs):
        split = network.network.n_params
        return by_loops(network.network, theta[:split], obs) + theta[split:]
    if isinstance(network, Table):
        return theta[int(obs) * network.n_outputs :][: network.n_outputs]
    h = [float(x) for x in obs]
    for layer, (n_in, n_out) in enumerate(pairwise(network.sizes)):
        weights, theta = theta[: n_in * n_out], theta[n_in * n_out :]
        biases, theta = theta[:n_out], theta[n_out:]
        h = [
            math.fsum([biases[j], *(h[i] * weights[i * n_out + j] for i in range(n_in))])
            for j in range(n_out)
        ]
        if layer < len(network.sizes) - 2:
            h = [math.tanh(x) if network.activation == "tanh" else max(x, 0.0) for x in h]
    return h


# --- what the networks compute ---------------------------------------------------------------------------


@given(networks, seeds, rows)
@example(MLP((1, 1)), 0, 1)
@example(MLP((2, 3, 1), "relu"), 0, 2)
def test_outputs_are_those_of_loops_over_single_numbers(network, seed, n):
    theta, obs = draw(network, seed, n)
    wanted = np.array([by_loops(network, theta, row) for row in obs])
    # at most 5 layers of at most 7 terms; each layer passes errors on times at most Σ|w| < 40
    np.testing.assert_allclose(network.linearize(theta, obs).value, wanted, rtol=1e-12, atol=1e-12)


@given(mlps, seeds)
def test_layers_are_views_of_theta_weights_above_the_bias(network, seed):
    theta, _ = draw(network, seed, 1)
    layers = network.layers(theta)
    assert [w.shape for w in layers] == [(i + 1, o) for i, o in pairwise(network.sizes)]
    assert all(np.shares_memory(w, theta) and w.flags.c_contiguous for w in layers)
    assert np.concatenate([w.ravel() for w in layers]).tobytes() == theta.tobytes()
    layers[-1][-1] = 7.0  # the last bias is the end of θ
    assert (theta[-network.n_outputs :] == 7.0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_the_constant_renews_itself_exactly_and_nothing_flows_through_it(name, dtype):
    activation = passes.ACTIVATIONS[name]
    sums, h = np.full((3, 5), activation.one, dtype), np.empty((3, 5), dtype)
    activation.apply(sums, h)
    assert (h == 1).all()
    assert (sums == activation.one).all()
    slope = np.empty_like(h)
    activation.slope(h, slope)
    assert name == "relu" or (slope == 0).all()
    network, work = MLP((2, 3, 4, 1), name), Workspace()
    for _ in range(2):  # also when the memory is used again
        network.linearize(np.ones(network.n_params, dtype), np.ones((6, 2)), work).vjp(np.ones((6, 1), dtype))
        (block,) = work.kept(
            "pass", (((network, 0),), network.n_params, 6, np.dtype(dtype)), lambda: None
        ).blocks
        (share,) = block.shares
        assert [h.shape for h in share.inputs] == [(6, n + 1) for n in network.sizes[:-1]]
        assert all((h[:, -1] == 1).all() for h in share.inputs)


@given(seeds, st.integers(1, 6), st.integers(1, 5), rows)
def test_a_table_picks_rows_and_adds_up_what_comes_back(seed, states, outputs, n):
    network = Table(states, outputs)
    theta, obs = draw(network, seed, n)
    u = np.random.default_rng(seed).standard_normal((n, outputs))
    value, _, vjp = network.linearize(theta, obs)
    one_hot = np.eye(states)[obs]
    np.testing.assert_array_equal(value, one_hot @ theta.reshape(states, outputs))
    np.testing.assert_allclose(vjp(u), (one_hot.T @ u).ravel(), rtol=1e-13, atol=1e-13)


def test_free_outputs_follow_the_network_s_own():
    network = WithFreeOutputs(Table(2, 1), 2)
    value, jvp, vjp = network.linearize(np.array([1.0, 2.0, 3.0, 4.0]), [1, 0])
    np.testing.assert_array_equal(value, [[2, 3, 4], [1, 3, 4]])
    np.testing.assert_array_equal(jvp(np.array([5.0, 6.0, 7.0, 8.0])), [[6, 7, 8], [5, 7, 8]])
    np.testing.assert_array_equal(vjp(np.array([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]])), [2, 1, 30, 300])


@given(networks, seeds, rows, rows, st.sampled_from(["f4", "f8", "c16"]), st.booleans())
def test_the_forward_pass_alone_gives_the_bits_of_the_linearization(network, seed, n, m, dtype, shared):
    theta, work = draw(network, seed, 1, dtype)[0], Workspace() if shared else None
    forward = network.forward(theta, work)
    for size in (n, m, n):  # θ is checked once, and serves batches of any size
        _, obs = draw(network, seed, size)
        assert forward(obs).tobytes() == network.linearize(theta, obs).value.tobytes()


@given(networks, seeds, rows)
def test_the_forward_pass_reads_theta_where_it_is(network, seed, n):
    theta, obs = draw(network, seed, n)
    forward = network.forward(theta)
    theta *= 0.5
    assert forward(obs).tobytes() == network.linearize(theta, obs).value.tobytes()


# --- two networks at once ----------------------------------------------------------------------------------


def pairs(first, second, seed, n, dtype):
    """Return weights of both, observations, and directions in the outputs of each."""
    theta, obs = draw(first, seed, n, dtype)
    psi, _ = draw(second, seed + 1, n, dtype)
    rng = np.random.default_rng(seed + 2)
    u, w = (rng.standard_normal((n, network.n_outputs)).astype(dtype) for network in (first, second))
    return np.concatenate([theta, psi]), obs, u, w


@given(
    st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(1, 5), max_size=3),
    st.lists(st.integers(1, 5), max_size=3), activations, activations, st.integers(0, 2), seeds, rows,
    st.sampled_from(["f4", "f8", "c16"]), st.booleans(),
)  # fmt: skip
@example(3, 2, [4, 4], [4, 4], "tanh", "tanh", 2, 0, 6, "f4", True)
@example(3, 2, [4, 2], [5, 3], "relu", "relu", 0, 0, 6, "f8", False)
@example(3, 2, [4], [4, 4], "tanh", "tanh", 0, 0, 6, "f8", True)
def test_two_networks_at_once_give_the_bits_of_each_alone(
    d, k, hidden, others, activation, other, n_free, seed, n, dtype, shared
):
    first, second = MLP((d, *hidden, k), activation), MLP((d, *others, 1), other)
    actor = WithFreeOutputs(first, n_free) if n_free else first
    weights, obs, u, w = pairs(actor, second, seed, n, dtype)
    split, work = actor.n_params, Workspace() if shared else None
    one, two = actor.linearize(weights[:split], obs), second.linearize(weights[split:], obs)
    for _ in range(2):
        both = linearize_both(actor, second, weights, obs, work)
        assert both.first.tobytes() == one.value.tobytes()
        assert both.second.tobytes() == two.value.tobytes()
        gradient = both.vjp(u, w)
        assert gradient[:split].tobytes() == one.vjp(u).tobytes()
        assert gradient[split:].tobytes() == two.vjp(w).tobytes()


@pytest.mark.parametrize("n", [passes.BLOCK, passes.BLOCK + 1, 2 * passes.BLOCK + 3])
def test_two_networks_at_once_add_up_their_blocks(n):
    actor, critic = WithFreeOutputs(MLP((3, 5, 4, 2)), 2), MLP((3, 4, 6, 1))
    weights, obs, u, w = pairs(actor, critic, 0, n, np.float64)
    split = actor.n_params
    gradient = linearize_both(actor, critic, weights, obs, Workspace()).vjp(u, w)
    np.testing.assert_array_equal(gradient[:split], actor.linearize(weights[:split], obs).vjp(u))
    np.testing.assert_array_equal(gradient[split:], critic.linearize(weights[split:], obs).vjp(w))


@pytest.mark.parametrize("shared", [False, True])
def test_two_tables_at_once_are_two_tables(shared):
    first, second = WithFreeOutputs(Table(4, 2), 1), Table(4, 1)
    weights, states, u, w = pairs(first, second, 3, 5, np.float64)
    both = linearize_both(first, second, weights, states, Workspace() if shared else None)
    np.testing.assert_array_equal(both.second[:, 0], weights[first.n_params :][states])
    np.testing.assert_array_equal(both.first[:, 2], np.full(5, weights[first.n_params - 1]))
    wanted = first.linearize(weights[: first.n_params], states).vjp(u)
    np.testing.assert_array_equal(both.vjp(u, w)[: first.n_params], wanted)


def test_two_networks_at_once_refuse_what_each_refuses():
    second = MLP((2, 3, 1))
    size = NET.n_params + second.n_params
    good = np.ones(size)
    for weights, obs, error, message in (
        (THETA, OBS, ShapeError, rf"weights must have shape \({size}\), got \({NET.n_params},\)"),
        (with_bad(good, np.nan), OBS, NonFiniteError, "weights must be finite, got nan"),
        (good, OBS[:, :1], ShapeError, "observations must have shape"),
        (good * 1e308, OBS * 1e10, NonFiniteError, "network output must be finite"),
    ):
        with pytest.raises(error, match=f"^{message}"):
            linearize_both(NET, second, weights, obs)


# --- Jacobian products -----------------------------------------------------------------------------------


@given(networks, seeds, rows)
def test_vjp_is_the_adjoint_of_jvp_to_1e_14(network, seed, n):
    theta, obs = draw(network, seed, n)
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((n, network.n_outputs)), rng.standard_normal(network.n_params)
    _, jvp, vjp = network.linearize(theta, obs)
    ahead, back = jvp(v), vjp(u)
    size = np.linalg.norm(u) * np.linalg.norm(ahead) + np.linalg.norm(v) * np.linalg.norm(back)
    assert abs((u * ahead).sum() - v @ back) <= 1e-14 * size


@given(networks, seeds, rows)
@example(MLP((1, 1, 1), "relu"), 0, 1)
def test_jvp_is_the_complex_step_to_1e_13(network, seed, n):
    theta, obs = draw(network, seed, n)
    v = np.random.default_rng(seed + 1).standard_normal(network.n_params)
    _, jvp, _ = network.linearize(theta, obs)
    step = network.linearize(theta + 1j * STEP * v, obs).value.imag / STEP
    assert relative_error(jvp(v), step) <= 1e-13


@given(networks, seeds, st.integers(1, 4))
def test_rows_by_vjp_and_columns_by_jvp_are_the_same_jacobian(network, seed, n):
    theta, obs = draw(network, seed, n)
    _, jvp, vjp = network.linearize(theta, obs)
    columns = np.stack([jvp(e).ravel() for e in np.eye(network.n_params)], -1)
    by_vjp = np.stack([vjp(e.reshape(n, -1)) for e in np.eye(n * network.n_outputs)])
    by_steps = complex_step_jacobian(lambda t: network.linearize(t, obs).value.ravel(), theta)
    assert relative_error(by_vjp, by_steps) <= 1e-13
    assert relative_error(columns, by_steps) <= 1e-13


@given(networks, seeds, rows, st.floats(-3, 3))
def test_the_products_are_linear(network, seed, n, factor):
    theta, obs = draw(network, seed, n)
    rng = np.random.default_rng(seed)
    _, jvp, vjp = network.linearize(theta, obs)
    for product, shape in ((jvp, network.n_params), (vjp, (n, network.n_outputs))):
        a, b = rng.standard_normal(shape), rng.standard_normal(shape)
        limit = 1e-13 * (np.abs(product(a)).max() + 3 * np.abs(product(b)).max())
        assert np.abs(product(a + factor * b) - (product(a) + factor * product(b))).max() <= limit


def test_a_saturated_relu_passes_nothing_on():
    network = MLP((1, 2, 1), "relu")
    theta = np.array([1.0, 1.0, -5.0, -6.0, 2.0, 3.0, 0.5])  # both units off at x = 1
    value, jvp, vjp = network.linearize(theta, [[1.0]])
    assert value == 0.5
    np.testing.assert_array_equal(vjp(np.ones((1, 1))), [0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(jvp(np.array([9.0, 9, 9, 9, 9, 9, 7])), [[7]])


# --- blocks, workspaces, dtypes, layouts -----------------------------------------------------------------


@pytest.mark.parametrize("n", [passes.BLOCK - 1, passes.BLOCK, passes.BLOCK + 1, 2 * passes.BLOCK + 1])
def test_a_batch_equals_its_single_rows_around_the_size_of_a_block(n):
    network = MLP((3, 5, 2))
    theta, obs = draw(network, n, n)
    rng = np.random.default_rng(n)
    u, v = rng.standard_normal((n, 2)), rng.standard_normal(network.n_params)
    whole, ones = network.linearize(theta, obs), [network.linearize(theta, row[None]) for row in obs]
    np.testing.assert_allclose(whole.value, np.concatenate([x.value for x in ones]), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(whole.jvp(v), np.concatenate([x.jvp(v) for x in ones]), rtol=1e-13, atol=1e-13)
    single = np.stack([x.vjp(row[None]) for x, row in zip(ones, u, strict=True)])
    limit = 4 * EPS * np.sqrt(n) * np.abs(single).sum(0)  # of a sum of n numbers in two orders
    assert (np.abs(whole.vjp(u) - single.sum(0)) <= limit).all()


@given(mlps, seeds, st.integers(1, 12), st.integers(1, 5))
def test_the_size_of_a_block_does_not_matter(network, seed, n, block):
    theta, obs = draw(network, seed, n)
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((n, network.n_outputs)), rng.standard_normal(network.n_params)
    whole = network.linearize(theta, obs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "BLOCK", block)
        parts = network.linearize(theta, obs, Workspace())
        for one, other in (
            (parts.value, whole.value),
            (parts.jvp(v), whole.jvp(v)),
            (parts.vjp(u), whole.vjp(u)),
        ):
            assert relative_error(one, other) <= 1e-13


@given(networks, seeds, rows, rows)
def test_a_workspace_changes_no_bit_and_is_used_again(network, seed, n, m):
    work = Workspace()
    seen = []
    for size in (n, n, m, n):
        theta, obs = draw(network, seed + len(seen), size)
        rng = np.random.default_rng(seed)
        u, v = rng.standard_normal((size, network.n_outputs)), rng.standard_normal(network.n_params)
        fresh, reused = network.linearize(theta, obs), network.linearize(theta, obs, work)
        for _ in range(2):
            assert fresh.value.tobytes() == reused.value.tobytes()
            assert fresh.jvp(v).tobytes() == reused.jvp(v).tobytes()
            assert fresh.vjp(u).tobytes() == reused.vjp(u).tobytes()
        seen.append((reused.value, reused.jvp(v), reused.vjp(u)))
    assert all(a is b for a, b in zip(seen[0], seen[1], strict=True))


@given(networks, seeds, rows)
def test_without_a_workspace_no_result_is_overwritten(network, seed, n):
    theta, obs = draw(network, seed, n)
    v, u = np.ones(network.n_params), np.ones((n, network.n_outputs))
    value, jvp, vjp = network.linearize(theta, obs)
    results = [value, jvp(v), jvp(2 * v), vjp(u), vjp(2 * u)]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(results) for b in results[:i])
    assert not any(np.shares_memory(a, theta) for a in results)


@given(networks, seeds, rows, st.sampled_from(["f4", "f8", "c8", "c16"]))
def test_theta_decides_the_dtype(network, seed, n, dtype):
    theta, obs = draw(network, seed, n, dtype)
    for seen in (obs, obs.astype("i8" if obs.ndim == 1 else "f4")):
        value, jvp, vjp = network.linearize(theta, seen)
        assert value.dtype == jvp(theta).dtype == vjp(np.ones_like(value)).dtype == np.dtype(dtype)


@given(networks, seeds, rows)
def test_float32_is_float64_up_to_its_rounding(network, seed, n):
    theta, obs = draw(network, seed, n, np.float32)
    obs = obs.astype(np.float32) if obs.ndim == 2 else obs
    u = np.ones((n, network.n_outputs))
    single = network.linearize(theta, obs)
    double = network.linearize(theta.astype(np.float64), obs)
    assert relative_error(single.value, double.value) <= 1e-4
    assert relative_error(single.jvp(theta), double.jvp(theta.astype(np.float64))) <= 1e-4
    assert relative_error(single.vjp(u.astype(np.float32)), double.vjp(u)) <= 1e-4


@given(networks, seeds, rows)
def test_layout_changes_no_bit_and_arguments_are_untouched(network, seed, n):
    theta, obs = draw(network, seed, n)
    u, v = np.ones((n, network.n_outputs)), np.arange(float(network.n_params))
    wanted = network.linearize(theta, obs)
    wide, memory = np.repeat(theta, 2)[::2], bytearray(b"\0") + theta.tobytes()
    backwards = np.asfortranarray(obs[::-1])[::-1]
    odd = np.frombuffer(memory, np.float64, offset=1)
    for given_theta in (wide, theta.astype(theta.dtype.newbyteorder("S")), odd):
        for given_obs in (backwards, obs.astype(obs.dtype.newbyteorder("S"))):
            before = given_theta.tobytes(), given_obs.tobytes(), u.tobytes(), v.tobytes()
            for array in (given_theta, given_obs, u, v):
                array.setflags(write=False)
            value, jvp, vjp = network.linearize(given_theta, given_obs)
            assert value.tobytes() == wanted.value.tobytes()
            assert jvp(v).tobytes() == wanted.jvp(v).tobytes()
            assert vjp(u).tobytes() == wanted.vjp(u).tobytes()
            assert before == (given_theta.tobytes(), given_obs.tobytes(), u.tobytes(), v.tobytes())


# --- first parameters ------------------------------------------------------------------------------------


@given(networks, seeds, st.sampled_from([np.float32, np.float64]))
def test_init_is_reproducible_and_of_the_right_length(network, seed, dtype):
    theta = network.init(np.random.default_rng(seed), dtype)
    assert theta.shape == (network.n_params,)
    assert theta.dtype == dtype
    assert theta.tobytes() == network.init(np.random.default_rng(seed), dtype).tobytes()


def test_an_mlp_starts_with_weights_of_variance_1_over_in_and_no_bias(rng):
    network = MLP((50, 40, 30))
    for layer, n_in in zip(network.layers(network.init(rng)), network.sizes, strict=False):
        weights = layer[:-1].ravel() * np.sqrt(n_in)
        assert (layer[-1] == 0).all()
        # z = 5: the mean has deviation 1/√n, the mean square √(2/n)
        assert abs(weights.mean()) <= 5 / np.sqrt(weights.size)
        assert abs((weights**2).mean() - 1) <= 5 * np.sqrt(2 / weights.size)


def test_tables_and_free_outputs_start_at_zero(rng):
    assert not Table(3, 2).init(rng).any()
    theta = WithFreeOutputs(MLP((2, 1)), 3).init(rng)
    assert theta[:2].all()
    assert not theta[2:].any()


# --- what is refused -------------------------------------------------------------------------------------

NET = MLP((2, 3, 1))
THETA, OBS = np.ones(NET.n_params), np.ones((4, 2))


def with_bad(array, value):
    array = array.copy()
    array.flat[1] = value
    return array


@pytest.mark.parametrize(
    ("theta", "obs", "error", "message"),
    [
        (THETA[1:], OBS, ShapeError, "theta must have shape (13), got (12,)"),
        (
            THETA.astype(int),
            OBS,
            ArgumentTypeError,
            "theta must be float32 or float64, got ndarray of dtype int64",
        ),
        (with_bad(THETA, np.nan), OBS, NonFiniteError, "theta must be finite, got nan at index (1,)"),
        (THETA, OBS[:, :1], ShapeError, "observations must have shape (any, 2), got (4, 1)"),
        (THETA, OBS[0], ShapeError, "observations must have shape (any, 2), got (2,)"),
        (THETA, OBS[:0], ArgumentError, "empty batch (0 samples)"),
        (
            THETA,
            with_bad(OBS, np.inf),
            NonFiniteError,
            "observations must be finite, got inf at index (0, 1)",
        ),
        (
            THETA,
            OBS * 1j,
            ArgumentTypeError,
            "observations must hold real numbers, got ndarray of dtype complex128",
        ),
        (THETA, OBS > 0, ArgumentTypeError, "observations must hold real numbers, got ndarray of dtype bool"),
        (THETA * 1e308, OBS, NonFiniteError, "network output must be finite, got inf at index (0, 0)"),
        (
            THETA.astype("f"),
            OBS * 1e39,
            NonFiniteError,
            "observations must be finite, got inf at index (0, 0)",
        ),
    ],
)
def test_an_mlp_refuses(theta, obs, error, message):
    before = theta.tobytes(), obs.tobytes()
    for f in (NET.linearize, partial(forward, NET)):
        with pytest.raises(error) as caught:
            f(theta, obs)
        assert str(caught.value) == message
    assert before == (theta.tobytes(), obs.tobytes())


@pytest.mark.parametrize(
    ("states", "error", "message"),
    [
        ([0, 3], ArgumentError, "observations must be states 0 to 2, got 0 to 3"),
        ([-1, 1], ArgumentError, "observations must be states 0 to 2, got -1 to 1"),
        ([0.0, 1.0], ArgumentTypeError, "observations must hold integers, got list of dtype float64"),
        ([[0, 1]], ShapeError, "observations must have shape (any), got (1, 2)"),
        (np.zeros(0, int), ArgumentError, "empty batch (0 samples)"),
    ],
)
@pytest.mark.parametrize("network", [Table(3, 2), WithFreeOutputs(Table(3, 2), 1)])
def test_a_table_refuses(network, states, error, message):
    theta = np.zeros(network.n_params)
    for f in (network.linearize, partial(forward, network)):
        with pytest.raises(error) as caught:
            f(theta, states)
        assert str(caught.value) == message


@pytest.mark.parametrize("network", [NET, Table(3, 2), WithFreeOutputs(Table(3, 2), 1)])
def test_parameters_of_another_length_are_refused_before_any_observation(network):
    for f in (lambda theta: network.linearize(theta, None), network.forward):
        with pytest.raises(ShapeError, match=rf"^theta must have shape \({network.n_params}\), got \(5,\)$"):
            f(np.zeros(5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((3,)), "sizes must hold at least two widths, got (3,)"),
        (lambda: MLP((3, 0)), "sizes must be a whole number of at least 1, got 0"),
        (lambda: MLP((3, True)), "sizes must be a whole number of at least 1, got True"),
        (lambda: MLP((3, 2.0)), "sizes must be a whole number of at least 1, got 2.0"),
        (lambda: MLP((3, 2), "sigmoid"), "activation must be one of ['relu', 'tanh'], got 'sigmoid'"),
        (lambda: Table(0, 2), "n_states must be a whole number of at least 1, got 0"),
        (lambda: Table(2, -1), "n_outputs must be a whole number of at least 1, got -1"),
        (lambda: WithFreeOutputs(Table(2, 1), 0), "n_free must be a whole number of at least 1, got 0"),
        (lambda: dataclasses.replace(NET, sizes=()), "sizes must hold at least two widths, got ()"),
    ],
)
def test_a_description_refuses(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == message


def test_descriptions_are_values():
    assert MLP([2, 3]) == MLP((2, 3))
    assert len({MLP((2, 3)), MLP([2, 3]), Table(2, 3)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        NET.activation = "relu"
