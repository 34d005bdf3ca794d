"""The look at each step: what passes at a glance, what on a closer look, and what neither lets through."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgref.envs import checked
from pgref.envs.checked import require_usable
from pgref.envs.protocol import Step
from pgref.errors import ArgumentTypeError, NonFiniteError, ShapeError

E, D = 4, 3
seeds = st.integers(0, 2**32 - 1)


def step(rng, dtype=np.float32):
    """Return observations, and a step after them in which every other number is 0."""
    obs, after, final_obs = rng.normal(size=(3, E, D)).astype(dtype)
    after.flat[::2] = final_obs.flat[1::2] = 0
    over = np.zeros(E, bool)
    return obs, Step(None, after, final_obs, rng.normal(size=E) * [0, 1, 0, 1], over, over.copy())


def test_a_usable_step_needs_no_closer_look(monkeypatch):
    monkeypatch.setattr(checked, "require_numbers", None)
    obs, usable = step(np.random.default_rng(0))
    require_usable(usable, obs, "step 0")
    require_usable(usable._replace(obs=usable.final_obs), obs, "step 0")
    table = np.arange(E)
    require_usable(usable._replace(obs=table, final_obs=table), table, "step 0")


@given(seeds, st.sampled_from(["obs", "final_obs", "reward"]), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_one_number_that_is_none_is_found_beside_zeros_and_others_of_its_kind(seed, name, value):
    rng = np.random.default_rng(seed)
    obs, good = step(rng)
    bad = getattr(good, name).copy()
    i = rng.integers(bad.size)
    bad.flat[i] = value
    env = np.unravel_index(i, bad.shape)[0]
    with pytest.raises(NonFiniteError, match=f"from env {env} at step 7 .* {value}|is {value}"):
        require_usable(good._replace(**{name: bad}), obs, "step 7")
    bad.flat[:] = np.resize([np.inf, -np.inf], bad.size)  # whose products and sums may cancel
    with pytest.raises(NonFiniteError, match="from env 0 at step 7"):
        require_usable(good._replace(**{name: bad}), obs, "step 7")


def test_what_is_unusual_and_no_fault_passes_on_a_closer_look():
    obs, usable = step(np.random.default_rng(1), np.float64)
    for change in (
        {"reward": np.full(E, 1e200)},  # whose squares overflow
        {"obs": np.full((E, D), 1e200), "final_obs": np.full((E, D), -1e200)},
        {"reward": np.arange(E)},
        {"reward": np.ones(E, np.float32)},
        {"obs": usable.obs.astype(np.float32)},
        {"valid": np.ones(E, bool)},
    ):
        require_usable(usable._replace(**change), obs, "step 0")


def test_what_only_looks_alike_is_refused():
    obs, usable = step(np.random.default_rng(2))
    for name, value, error in (
        ("obs", usable.obs.astype(np.float64), ArgumentTypeError),  # would be rounded
        ("final_obs", usable.final_obs.astype(np.complex64), ArgumentTypeError),
        ("obs", usable.obs.T, ShapeError),
        ("final_obs", usable.final_obs[:, 0], ShapeError),
        ("reward", usable.reward[:, None], ShapeError),
        ("reward", usable.reward > 0, ArgumentTypeError),
        ("terminated", usable.terminated.view(np.int8), ArgumentTypeError),
        ("truncated", usable.truncated[:1], ArgumentTypeError),
        ("valid", np.ones(E), ArgumentTypeError),
    ):
        with pytest.raises(error, match="at step 3"):
            require_usable(usable._replace(**{name: value}), obs, "step 3")
