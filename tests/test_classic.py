"""The classic-control environments against mechanics: energy, momentum and work, in terms of their own.

Kinetic and potential energies are written from positions of masses. Their rates along a motion come from
complex steps where the code gives accelerations, and from the work of the forces where it integrates.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import streams
from pgref.envs.acrobot import Acrobot
from pgref.envs.cartpole import FEW, CartPole
from pgref.envs.mountain_car import MountainCarContinuous
from pgref.envs.pendulum import Pendulum
from pgref.errors import ArgumentError

EPS = float(np.finfo(float).eps)
H = 1e-30  # complex step
N = 40
NONE = np.empty((0, N))
seeds = st.integers(0, 2**32 - 1)
ALL = [CartPole(), Pendulum(), Acrobot(), MountainCarContinuous()]
every_dynamics = pytest.mark.parametrize("dynamics", ALL, ids=lambda d: type(d).__name__)


def along(f, x, rates):
    """Return d/dt f(x) for ẋ = rates, to rounding."""
    return f(x + 1j * H * rates).imag / H


def other_constants(dynamics, rng, *names):
    """Return the dynamics with the named constants multiplied by factors between 1/2 and 2."""
    return replace(dynamics, **{name: getattr(dynamics, name) * 2 ** rng.uniform(-1, 1) for name in names})


# --- CartPole ---------------------------------------------------------------------------------------------


def pole(d, x):
    """Return energy and horizontal momentum of cart and rod, from the velocities of both centres."""
    _, v, angle, rate = x
    along_x, up = v + d.half_length * np.cos(angle) * rate, -d.half_length * np.sin(angle) * rate
    spin = d.pole_mass * (2 * d.half_length) ** 2 / 12 * rate**2
    kinetic = (d.cart_mass * v**2 + d.pole_mass * (along_x**2 + up**2) + spin) / 2
    energy = kinetic + d.pole_mass * d.gravity * d.half_length * np.cos(angle)
    return energy, d.cart_mass * v + d.pole_mass * along_x


@given(seeds)
@example(0)
def test_cart_and_pole_gain_the_energy_and_the_momentum_that_the_force_gives(seed):
    rng = np.random.default_rng(seed)
    d = other_constants(CartPole(), rng, "gravity", "cart_mass", "pole_mass", "half_length", "force", "dt")
    x, actions = rng.normal(size=(4, N)), rng.integers(0, 2, N)
    force = np.where(actions == 1, d.force, -d.force)
    rates = (d.move(x, actions, NONE).x - x) / d.dt
    np.testing.assert_allclose(rates[[0, 2]], x[[1, 3]], rtol=0, atol=8 * EPS * abs(x).max() / d.dt)
    # a difference of numbers below 10, divided by dt > 0.01, loses 1e3·ε; masses and forces scale it by 100
    for f, gained in ((lambda x: pole(d, x)[0], force * x[1]), (lambda x: pole(d, x)[1], force)):
        np.testing.assert_allclose(along(f, x, rates), gained, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("row", "limit"), [(0, 2.4), (2, 12 * 2 * math.pi / 360)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_pole_is_lost_beyond_its_limits_and_not_on_them(row, limit, sign):
    x = np.zeros((4, 3))
    x[row] = sign * np.array([np.nextafter(limit, 0), limit, np.nextafter(limit, 9)])
    moved = CartPole().move(x, np.ones(3, int), NONE)  # at rest, Euler's step moves no position
    np.testing.assert_array_equal(moved.x[row], x[row])
    np.testing.assert_array_equal(moved.terminated, [False, False, True])
    np.testing.assert_array_equal(moved.reward, 1.0)


def test_the_pole_falls_the_way_it_leans_and_the_push_tips_it_back():
    x = np.array([[0.0] * 4, [0.0] * 4, [0.1, -0.1, 0.0, 0.0], [0.0] * 4])
    _, v, _, rate = CartPole(force=1e-9).move(x, np.array([0, 0, 0, 1]), NONE).x
    np.testing.assert_array_equal(np.sign(rate), [1, -1, 1, -1])
    np.testing.assert_array_equal(np.sign(v[2:]), [-1, 1])


@given(seeds)
def test_a_pole_in_single_precision_moves_as_one_in_double_but_for_rounding(seed):
    rng = np.random.default_rng(seed)
    d = other_constants(CartPole(), rng, "gravity", "cart_mass", "pole_mass", "half_length", "force", "dt")
    single = replace(d, dtype="float32")
    draws, actions = rng.random((4, N)), rng.integers(0, 2, N)
    x = single.start(draws) * 20  # angles up to 57°, rates up to 1 rad/s
    np.testing.assert_array_equal(single.start(draws), d.start(draws).astype(np.float32))
    moved, wanted = single.move(x, actions, NONE), d.move(x.astype(float), actions, NONE)
    assert moved.x.dtype == np.float32
    # half a unit of the sum, below 1 + change, and a dozen halves of the change
    change = abs(wanted.x - x).max(axis=1, keepdims=True)
    assert (abs(moved.x - wanted.x) <= np.finfo(np.float32).eps * (1 + 7 * change)).all()
    np.testing.assert_array_equal(single.observe(moved.x), moved.x.T)
    assert moved.reward.dtype == np.float64


@given(seeds, st.integers(1, FEW + 1), st.sampled_from(["float64", "float32"]))
@example(0, FEW, "float64")
def test_a_few_poles_move_as_among_many_bit_for_bit(seed, n, dtype):
    rng = np.random.default_rng(seed)
    d = other_constants(CartPole(dtype=dtype), rng, "cart_mass", "pole_mass", "half_length", "dt")
    d = replace(d, gravity=np.float32(9.8), force=7)  # numbers that Python's and NumPy's sums might convert
    x = (rng.normal(size=(4, N)) * 10.0 ** rng.integers(-4, 4, (4, N))).astype(dtype)
    actions = rng.integers(0, 2, N)
    many, few = d.move(x, actions, NONE), d.move(x[:, :n], actions[:n], NONE)
    assert few.x.flags.c_contiguous
    for got, wanted in zip(few, many, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted[..., :n])


@pytest.mark.parametrize("dtype", ["float16", "f4", "", None, np.float32, 4, ["float32"]])
def test_a_pole_in_another_precision_is_refused(dtype):
    with pytest.raises(ArgumentError, match="dtype must be 'float64' or 'float32', got"):
        CartPole(dtype=dtype)


# --- Pendulum ---------------------------------------------------------------------------------------------


@given(seeds, st.sampled_from([np.float32, np.float64]))
@example(0, np.float64)
def test_the_pendulum_gains_the_energy_that_the_torque_gives(seed, dtype):
    rng = np.random.default_rng(seed)
    d = other_constants(Pendulum(most_rate=100.0), rng, "gravity", "mass", "length", "dt", "most_torque")
    x = rng.normal(size=(2, N)) * [[3.0], [2.0]]
    actions = rng.uniform(-2 * d.most_torque, 2 * d.most_torque, (N, 1)).astype(dtype)
    torque = np.clip(actions[:, 0].astype(float), -d.most_torque, d.most_torque)
    moved = d.move(x, actions, NONE)
    turn = (moved.x[1] - x[1]) / d.dt

    def energy(x):
        inertia, height = d.mass * d.length**2 / 3, d.length / 2 * np.cos(x[0])
        return inertia * x[1] ** 2 / 2 + d.mass * d.gravity * height

    gained = along(energy, x, np.array((x[1], turn)))
    # float32 torques are multiplied in float32: a relative 2⁻²³ of torque·rate below 30
    np.testing.assert_allclose(gained, torque * x[1], rtol=0, atol=1e-10 if dtype == np.float64 else 1e-5)
    np.testing.assert_allclose(
        moved.x[0], x[0] + d.dt * moved.x[1], rtol=4 * EPS
    )  # the new rate: semi-implicit
    assert not moved.terminated.any()


@given(seeds)
def test_the_pendulum_pays_for_the_angle_from_upright_by_the_shorter_way_round(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, N)) * [[20.0], [3.0]]
    torque = rng.uniform(-2, 2, (N, 1))
    wanted = np.angle(np.exp(1j * x[0])) ** 2 + x[1] ** 2 / 10 + torque[:, 0] ** 2 / 1000
    # angles of size 80 carry an error of 80·ε, squares of angles below 4 eight times that
    np.testing.assert_allclose(-Pendulum().move(x, torque, NONE).reward, wanted, rtol=0, atol=1e3 * EPS)


def test_the_pendulums_rate_stays_within_its_limit():
    x = np.array([[math.pi / 2, -math.pi / 2], [7.99, -7.99]])
    np.testing.assert_array_equal(Pendulum().move(x, np.array([[2.0], [-2.0]]), NONE).x[1], [8.0, -8.0])


# --- Acrobot ----------------------------------------------------------------------------------------------

LINKS = (
    "gravity",
    "mass_1",
    "mass_2",
    "length_1",
    "centre_1",
    "centre_2",
    "inertia_1",
    "inertia_2",
    "torque",
)


def acrobot(d, x):
    """Return energy, angular momentum about the bar, and the moment of the weights, from the links' centres.

    A centre is a complex number, x to the right and y up: turning by 90° is multiplying by i.
    """
    angle, both = x[0], x[0] + x[1]
    rate, sum_of_rates = x[2], x[2] + x[3]
    joint, first = -1j * d.length_1 * np.exp(1j * angle), -1j * d.centre_1 * np.exp(1j * angle)
    arm = -1j * d.centre_2 * np.exp(1j * both)
    second, speed_1, speed_2 = joint + arm, 1j * rate * first, 1j * (rate * joint + sum_of_rates * arm)
    energy = spin = weight = 0
    for m, inertia, at, speed, turning in (
        (d.mass_1, d.inertia_1, first, speed_1, rate),
        (d.mass_2, d.inertia_2, second, speed_2, sum_of_rates),
    ):
        energy += m * abs(speed) ** 2 / 2 + inertia * turning**2 / 2 + m * d.gravity * at.imag
        spin += m * (at.conj() * speed).imag + inertia * turning
        weight += -m * d.gravity * at.real
    return energy, spin, weight


@given(seeds)
@example(0)
def test_the_acrobot_gains_the_motors_work_and_the_weights_moment(seed):
    rng = np.random.default_rng(seed)
    d = other_constants(Acrobot(dt=2e-3), rng, *LINKS)
    x, actions = rng.uniform(-2, 2, (4, N)), rng.integers(0, 3, N)
    half = replace(d, dt=d.dt / 2).move(x, actions, NONE).x
    new = d.move(x, actions, NONE).x
    (energy, spin, w0), (_, _, w1), (new_energy, new_spin, w2) = (acrobot(d, y) for y in (x, half, new))
    # Runge and Kutta's step and Simpson's rule leave h⁵ times a fifth derivative: 3e-14·1e3
    work = (actions - 1) * d.torque * (new[1] - x[1])
    np.testing.assert_allclose(new_energy - energy, work, rtol=0, atol=1e-10)
    np.testing.assert_allclose(new_spin - spin, d.dt * (w0 + 4 * w1 + w2) / 6, rtol=0, atol=1e-10)


def test_the_acrobots_step_is_of_fourth_order():
    rng = np.random.default_rng(3)
    x, actions = rng.uniform(-1, 1, (4, N)), rng.integers(0, 3, N)

    def error(dt, exact=64):
        fine = x
        for _ in range(exact):
            fine = Acrobot(dt=dt / exact).move(fine, actions, NONE).x
        return abs(Acrobot(dt=dt).move(x, actions, NONE).x - fine).max()

    assert 2**4.7 < error(0.1) / error(0.05) < 2**5.3  # one step of a method of order p leaves h^(p + 1)


@given(seeds)
def test_the_acrobots_angles_are_wrapped_and_its_rates_bounded(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (4, N)) * [[math.pi], [math.pi], [4 * math.pi], [9 * math.pi]]
    d, actions = Acrobot(), rng.integers(0, 3, N)
    moved = d.move(x, actions, NONE).x
    free = replace(d, most_rate_1=1e9, most_rate_2=1e9).move(x, actions, NONE).x
    assert (abs(moved[:2]) <= math.pi).all()
    np.testing.assert_array_equal(moved[:2], free[:2])
    np.testing.assert_array_equal(moved[2], free[2].clip(-4 * math.pi, 4 * math.pi))
    np.testing.assert_array_equal(moved[3], free[3].clip(-9 * math.pi, 9 * math.pi))
    turned = x.copy()
    turned[:2] += 2 * math.pi  # whole turns change nothing but rounding, which 28 rad/s and dt magnify
    away = np.exp(1j * d.move(turned, actions, NONE).x[:2]) - np.exp(1j * moved[:2])
    assert abs(away).max() < 1e-9


def test_the_acrobot_is_done_when_its_tip_is_a_link_above_the_bar():
    angle = np.linspace(-math.pi, math.pi, 101)
    x = np.zeros((4, 101 * 101))
    x[:2] = np.reshape(np.meshgrid(angle, angle), (2, -1))
    moved = Acrobot(dt=1e-9).move(x, np.ones(x.shape[1], int), NONE)
    tip = (-1j * (np.exp(1j * x[0]) + np.exp(1j * (x[0] + x[1])))).imag
    clear = abs(tip - 1) > 1e-6
    np.testing.assert_array_equal(moved.terminated[clear], (tip > 1)[clear])
    np.testing.assert_array_equal(moved.reward, np.where(moved.terminated, 0.0, -1.0))
    assert 0 < moved.terminated.sum() < clear.sum() > 10_000


# --- MountainCarContinuous --------------------------------------------------------------------------------


@given(seeds)
@example(0)
def test_the_cars_velocity_changes_by_the_engine_less_the_slope_of_the_hill(seed):
    rng = np.random.default_rng(seed)
    d = MountainCarContinuous(most_speed=1.0, left=-9.0, right=9.0, goal=8.0, power=0.003)
    x = np.array((rng.uniform(-1.2, 0.6, N), rng.uniform(-0.07, 0.07, N)), np.float32)
    actions = rng.uniform(-1.5, 1.5, (N, 1))
    moved = d.move(x, actions, NONE)
    slope = along(lambda p: d.gravity / 3 * np.sin(3 * p), x[0].astype(float), 1.0)
    gained = np.clip(actions[:, 0], -1, 1) * d.power - slope
    # float32 positions of size 4 and velocities of size 0.08
    np.testing.assert_allclose(moved.x[1] - x[1], gained, rtol=0, atol=2 * np.spacing(np.float32(0.08)))
    np.testing.assert_allclose(moved.x[0], x[0] + moved.x[1], rtol=0, atol=2 * np.spacing(np.float32(1.3)))
    np.testing.assert_allclose(moved.reward, -0.1 * actions[:, 0] ** 2, rtol=4 * EPS)
    assert moved.x.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_car_stops_at_its_wall_and_at_its_limits(dtype):
    x = np.array([[-1.19, 0.59, -0.5, -0.5], [-0.069, 0.069, 0.07, -0.07]], np.float32)
    actions = np.array([[-1.0], [1.0], [1.0], [-1.0]], dtype)
    (position, velocity), reward, there = MountainCarContinuous().move(x, actions, NONE)
    np.testing.assert_array_equal(position[:2], np.array([-1.2, 0.6], np.float32))
    assert velocity[0] == 0
    np.testing.assert_array_equal(velocity[2:], np.array([0.07, -0.07], np.float32))
    np.testing.assert_array_equal(there, [False, True, False, False])
    np.testing.assert_array_equal(reward, [-0.1, 99.9, -0.1, -0.1])


def test_the_car_is_at_its_goal_on_it_and_going_forward():
    goal = np.float32(0.45)
    slope = np.float32(0.0025 * math.cos(np.float32(3 * goal)))  # what the step takes away again
    x = np.array([[goal] * 3, [np.nextafter(slope, np.float32(0)), slope, 2 * slope]], np.float32)
    moved = MountainCarContinuous().move(x, np.zeros((3, 1), np.float32), NONE)
    assert moved.x[1, 1] == 0
    np.testing.assert_array_equal(moved.terminated, [False, True, True])
    fast = np.array([[0.44, 0.5], [0.05, -0.01]], np.float32)  # arrives; rolls back through it
    np.testing.assert_array_equal(
        MountainCarContinuous().move(fast, np.zeros((2, 1)), NONE).terminated, [True, False]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"power": 0.0}, "power must be positive and finite, got 0.0"),
        ({"gravity": -1.0}, "gravity must be positive and finite, got -1.0"),
        ({"most_speed": np.inf}, "most_speed must be positive and finite, got inf"),
        ({"left": np.nan}, "left must be finite, got nan"),
        ({"right": -np.inf}, "right must be finite, got -inf"),
        ({"goal": "0.45"}, "goal must be finite, got '0.45'"),
        ({"goal": 0.7}, r"goal must be in \(-1.2, 0.6\], got 0.7"),
        ({"goal": -1.2}, r"goal must be in \(-1.2, 0.6\], got -1.2"),
        ({"left": 0.7}, r"goal must be in \(0.7, 0.6\], got 0.45"),
    ],
)
def test_a_car_without_a_road_is_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        MountainCarContinuous(**settings)


# --- all four ---------------------------------------------------------------------------------------------

STARTS = {
    CartPole: ([-0.05] * 4, [0.05] * 4),
    Pendulum: ([-math.pi, -1.0], [math.pi, 1.0]),
    Acrobot: ([-0.1] * 4, [0.1] * 4),
    MountainCarContinuous: ([-0.6, 0.0], [-0.4, 0.0]),
}


@every_dynamics
def test_starts_are_uniform_between_their_bounds(dynamics):
    n, (low, high) = 40_000, np.array(STARTS[type(dynamics)])
    m = dynamics.start_draws
    least, most = (dynamics.start(np.full((m, 1), u))[:, 0] for u in (0.0, 1 - 2.0**-53))
    np.testing.assert_allclose(least, low, rtol=1e-7)
    np.testing.assert_allclose(most, high, rtol=1e-7)
    x = dynamics.start(streams.uniforms(streams.keys(1, n), np.zeros(n, int), m)).astype(float)
    width, middle = (high - low)[:m, None], (high + low)[:m, None] / 2
    u = (x[:m] - middle) / width
    assert (abs(u.mean(axis=1)) * np.sqrt(12 * n) < 5).all()
    assert (abs((u**2).mean(axis=1) - 1 / 12) * np.sqrt(180 * n) < 5).all()
    assert (abs(u[:1] @ u[1:].T * 12 / np.sqrt(n)) < 5).all()
    assert (x[m:] == 0).all()


@every_dynamics
def test_a_move_writes_to_none_of_its_arguments_and_reads_any_layout(dynamics):
    rng = np.random.default_rng(0)
    x = dynamics.start(rng.random((dynamics.start_draws, N)))
    discrete = hasattr(dynamics.action_space, "n")
    actions = rng.integers(0, dynamics.action_space.n, N) if discrete else rng.uniform(-1, 1, (N, 1))
    x.flags.writeable = actions.flags.writeable = False
    kept = x.copy(), actions.copy()
    moved = dynamics.move(x, actions, NONE)
    assert not np.shares_memory(moved.x, x)
    assert moved.x.flags.c_contiguous
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(actions, kept[1])
    again = dynamics.move(np.asfortranarray(x), np.repeat(actions, 2, axis=0)[::2], NONE)
    np.testing.assert_array_equal(again.x, moved.x)
    np.testing.assert_array_equal(again.reward, moved.reward)


def test_observations_say_where_the_state_is():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, N))
    np.testing.assert_array_equal(CartPole().observe(x), x.T.astype(np.float32))
    car = x[:2].astype(np.float32)
    np.testing.assert_array_equal(MountainCarContinuous().observe(car), car.T)
    # half a unit of float32 in cos and in sin
    half = np.finfo(np.float32).eps / 2
    pendulum, acrobot = Pendulum().observe(x[:2]), Acrobot().observe(x)
    for obs, angle in ((pendulum, x[0]), (acrobot[:, :2], x[0]), (acrobot[:, 2:], x[1])):
        assert abs(obs[:, 0] + 1j * obs[:, 1] - np.exp(1j * angle)).max() <= half
    np.testing.assert_array_equal(pendulum[:, 2], x[1].astype(np.float32))
    np.testing.assert_array_equal(acrobot[:, 4:], x[2:].T.astype(np.float32))
    assert all(d.observe(d.start(rng.random((d.start_draws, N)))).dtype == np.float32 for d in ALL)
