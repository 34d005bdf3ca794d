"""Knobs: every setting of every algorithm refuses what lies outside its range, when it is made."""

import math
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest

from pgref import algorithms
from pgref.arrays import count, positive
from pgref.errors import ArgumentError, ArgumentTypeError, PgrefError
from pgref.knobs import (
    Knob,
    check_knobs,
    describe,
    flag,
    knob,
    make_config,
    one_of,
    optional,
    widths,
)

NAMES = [module.name for module in iter_modules(algorithms.__path__)]
CONFIGS = {name: import_module(f"pgref.algorithms.{name}").Config for name in NAMES}

# for each kind of knob: values that it takes and how it keeps them, and values that it refuses
NUMBERS = [math.nan, math.inf, -math.inf, True, np.True_, "1", None, [1.0], 1j, 10**400]
KINDS = {
    "whole": (
        [(1, 1), (np.int64(7), 7), (np.array(3), 3), (2**53 + 1, 2**53 + 1)],
        [0, -1, 2.0, 2.5, *NUMBERS[:-1]],
    ),
    "positive": (
        [(1, 1.0), (1e-300, 1e-300), (np.float32(0.5), 0.5), (1e300, 1e300)], [0, 0.0, -1e-300, *NUMBERS],
    ),
    "non-negative": ([(0, 0.0), (3, 3.0), (1e300, 1e300)], [-1e-300, -1, *NUMBERS]),
    "unit": ([(0, 0.0), (1, 1.0), (np.float64(0.5), 0.5)], [-1e-300, 1 + 1e-15, 2, *NUMBERS]),
    "below one": ([(1e-300, 1e-300), (np.float32(0.5), 0.5)], [0, 1, 1.0, 1.5, -0.5, *NUMBERS]),
    "finite": ([(-1, -1.0), (0, 0.0), (1e300, 1e300)], NUMBERS),
    "switch": ([(True, True), (False, False), (np.True_, True)], [0, 1, 1.0, "True", None, []]),
    "widths": (
        [((), ()), ([3, np.int32(4)], (3, 4))], [64, "64", None, (0,), (3, -1), (2.0,), (True,), (4, None)],
    ),
    "activation": ([("tanh", "tanh"), ("relu", "relu")], ["gelu", "Tanh", "", None, 1, np.str_("tanh")]),
    "dtype": ([("float32", "float32"), ("float64", "float64")], ["float16", np.float32, float, None, "f4"]),
    "optimizer": ([(x, x) for x in ("sgd", "rmsprop", "adam")], ["SGD", "adamw", None, 1]),
    "shared optimizer": ([("sgd", "sgd"), ("rmsprop", "rmsprop")], ["adam", "SGD", None]),
    "objective": ([("clip", "clip"), ("penalty", "penalty")], ["kl", "", None, 1]),
    "solver": ([("cg", "cg"), ("hessian", "hessian")], ["lu", None, True]),
    "backend": ([(x, x) for x in ("thread", "process", "schedule", "executor")], ["threads", None, 1]),
}  # fmt: skip
MAY_BE_OFF = {"anneal_over", "max_norm", "clip_values", "kl_stop"}
KIND_OF = {
    name: kind
    for kind, names in {
        "whole": "n_envs n_steps n_workers segments critic_epochs critic_minibatch epochs minibatch products "
        "tries anneal_over",
        "positive": "hidden_layers last_layer step critic_step critic_weight max_norm kl_limit clip penalty "
        "kl_target clip_values kl_stop timeout",
        "non-negative": "entropy damping",
        "unit": "discount trace",
        "below one": "shrink",
        "finite": "log_std",
        "switch": "orthogonal normalise_obs scale_rewards normalise_advantages mean discounted anneal_clip",
        "widths": "hidden",
        "activation": "activation",
        "dtype": "dtype",
        "optimizer": "optimizer",
        "objective": "objective",
        "solver": "solver",
        "backend": "backend",
    }.items()
    for name in names.split()
}
KNOBS = [(algorithm, f.name) for algorithm, config in CONFIGS.items() for f in fields(config)]
every_knob = pytest.mark.parametrize(("algorithm", "name"), KNOBS, ids=lambda x: x)


def cases(algorithm, name):
    """Return what this knob takes and what it refuses."""
    kind = KIND_OF[name]
    if (algorithm, name) == ("a3c", "optimizer"):
        kind = "shared optimizer"
    taken, refused = KINDS[kind]
    off = name in MAY_BE_OFF or (algorithm, name) == ("npg", "step")
    return ([*taken, (None, None)], [x for x in refused if x is not None]) if off else (taken, refused)


@every_knob
def test_a_value_out_of_range_is_refused_when_the_config_is_made_or_changed(algorithm, name):
    config = CONFIGS[algorithm]()
    before = asdict(config)
    ways = (
        lambda setting: CONFIGS[algorithm](**setting),
        lambda setting: replace(config, **setting),
        lambda setting: make_config(CONFIGS[algorithm], setting),
    )
    for value in cases(algorithm, name)[1]:
        for make in ways:
            with pytest.raises((ArgumentError, ArgumentTypeError), match=f"^{name} must ") as caught:
                make({name: value})
            assert isinstance(caught.value, PgrefError)
            assert isinstance(caught.value, (ValueError, TypeError))
    assert asdict(config) == before


@every_knob
def test_a_value_in_range_is_kept_in_one_form(algorithm, name):
    for value, wanted in cases(algorithm, name)[0]:
        for config in (CONFIGS[algorithm](**{name: value}), replace(CONFIGS[algorithm](), **{name: value})):
            kept = getattr(config, name)
            assert kept == wanted
            assert type(kept) is type(wanted)
            assert config == make_config(CONFIGS[algorithm], {name: wanted})
            assert hash(config) == hash(make_config(CONFIGS[algorithm], {name: wanted}))


@every_knob
def test_every_knob_has_a_line_of_documentation(algorithm, name):
    (line,) = [line for line in describe(CONFIGS[algorithm]) if line.name == name]
    assert line.default == getattr(CONFIGS[algorithm](), name)
    assert line.meaning
    assert not line.meaning.endswith(".")


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_a_config_is_frozen_and_takes_names_only(algorithm):
    config = CONFIGS[algorithm]()
    with pytest.raises(FrozenInstanceError):
        config.discount = 0.5
    with pytest.raises(TypeError):
        CONFIGS[algorithm](0.5)
    assert make_config(CONFIGS[algorithm], {}) == config
    assert make_config(CONFIGS[algorithm], asdict(config)) == config


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_an_unknown_setting_is_named_beside_those_there_are(algorithm):
    known = ", ".join(sorted(f.name for f in fields(CONFIGS[algorithm])))
    with pytest.raises(ArgumentError) as caught:
        make_config(CONFIGS[algorithm], {"discount": 0.9, "gama": 1, "learning_rate": 1})
    assert str(caught.value) == f"unknown setting 'gama'; there are {known}"


@dataclass(frozen=True, kw_only=True)
class Small:
    size: int = knob(3, count, "how many", unit="pieces", source="Someone 2001")
    rate: float | None = knob(None, optional(positive), "how fast")

    def __post_init__(self):
        check_knobs(self)


def test_what_is_described_is_what_was_said():
    assert describe(Small) == [
        Knob("size", 3, "how many", "pieces", "Someone 2001"),
        Knob("rate", None, "how fast", "", ""),
    ]


def test_fields_are_checked_in_turn_and_kept_as_their_checks_return_them():
    made = Small(size=np.int8(4), rate=2)
    assert (type(made.size), type(made.rate)) == (int, float)
    with pytest.raises(ArgumentError, match="size must be a whole number of at least 1, got 0"):
        Small(size=0, rate=-1.0)


def test_messages_say_what_must_be_and_what_was_given():
    cases = [
        (flag, 1, ArgumentTypeError, "knob must be True or False, got 1"),
        (widths, 64, ArgumentTypeError, "knob must be a tuple of widths, got 64"),
        (widths, (4, 0), ArgumentError, "knob must be a whole number of at least 1, got 0"),
        (one_of("a", 2), "b", ArgumentError, "knob must be one of 'a', 2, got 'b'"),
        (optional(positive), -1, ArgumentError, "knob must be positive and finite, got -1"),
    ]
    for check, value, error, message in cases:
        with pytest.raises(error) as caught:
            check("knob", value)
        assert str(caught.value) == message


def test_a_choice_is_one_of_its_own_type():
    check = one_of(1, "x", None)
    assert [check("knob", value) for value in (1, "x", None)] == [1, "x", None]
    for value in (True, 1.0, np.int64(1), np.array([1, 2])):
        with pytest.raises(ArgumentError):
            check("knob", value)
