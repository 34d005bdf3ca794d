"""Exports from a user's side: files that act as the NumPy policy does, and what cannot be exported."""

import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from exporting import ARM, KINDS, acting
from hypothesis import example, given
from hypothesis import strategies as st
from training import agent

from pgref import cli
from pgref.distributions import Categorical, DiagonalGaussian
from pgref.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataFileError,
    MissingExtraError,
    NonFiniteError,
    ShapeError,
)
from pgref.export import c, javascript, jsonfile, literals, python, reference, running, verification
from pgref.export.recipe import Normaliser, Recorded, described
from pgref.export.targets import TARGETS, identifier, known, write
from pgref.moments import LIMIT, Moments, no_moments, normalised
from pgref.networks import MLP, WithFreeOutputs
from pgref.policy import Policy
from pgref.spaces import Box, Discrete, clipped

DTYPES = ("float32", "float64")
TEXTS = [
    to for to in TARGETS if to != "onnx"
]  # which takes the package onnx: integration/test_export_onnx.py


def module(recipe, tmp_path):
    path = tmp_path / "policy.py"
    path.write_text(python.text(recipe), "utf-8")
    return runpy.run_path(str(path))


def refuse(function, *arguments):
    with pytest.raises(ValueError, match=r"^(obs|noise|uniforms) must be .*\d"):
        function(*arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", ["py", "json"])
def test_an_export_equals_the_numpy_policy(tmp_path, kind, dtype, to):
    path, one = tmp_path / f"policy.{to}", acting(kind, dtype)
    found = verification.verify(one, path, write(one, path), observations=400)
    assert found.ok
    assert (found.observations, found.tolerance) == (400, {"float32": 1e-5, "float64": 1e-12}[dtype])
    assert found.worst <= found.tolerance
    assert found.rounded == 0
    assert found.actions_open <= 100


@pytest.mark.parametrize("algorithm", ["trpo", "a3c"])
@pytest.mark.parametrize("env", ["CartPole", "Pendulum", "ProbeMatch"])
def test_an_exported_agent_acts_as_predict_does(tmp_path, algorithm, env):
    one = agent(algorithm, env, normalise_obs=env == "Pendulum", dtype="float64").learn(100)
    one.export(tmp_path / "my policy.py")
    acts = runpy.run_path(str(tmp_path / "my policy.py"))["act"]
    ref = reference.reference(one)
    obs, _ = reference.draw(ref, np.random.default_rng(3), 50)
    expected = clipped(one.env.action_space, one.predict(obs, deterministic=True))
    np.testing.assert_allclose([acts(o) for o in obs.tolist()], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_recorded_answers_are_the_policys(kind):
    one = acting(kind)
    obs, chance, outputs, modes, samples = described(one).recorded
    z = one.policy.network.linearize(one.theta, normalised(one.seen, obs)).value
    np.testing.assert_allclose(outputs, z, rtol=1e-13)
    expected = clipped(one.env.action_space, one.policy.distribution.mode(z))
    np.testing.assert_array_equal(modes, expected.reshape(modes.shape))
    assert len(obs) == 4
    if isinstance(one.policy.distribution, DiagonalGaussian):
        drawn = one.policy.distribution.draw(z, chance)
        np.testing.assert_allclose(samples, np.clip(drawn, ARM.low, ARM.high), rtol=1e-13)


def test_the_python_export_needs_math_alone_and_tests_itself(tmp_path):
    path = tmp_path / "policy.py"
    write(acting(), path)
    text = path.read_text("utf-8")
    assert [line for line in text.splitlines() if "import" in line] == [
        "from math import exp, inf, isfinite, tanh"
    ]
    command = [sys.executable, "-I", "-S", str(path)]
    assert subprocess.run(command, check=False).returncode == 0
    head, start, rest = text.partition("LAYERS = [")
    path.write_text(head + start + rest.replace("[[", "[[1", 1).replace("[[1-", "[[-1", 1), "utf-8")
    assert subprocess.run(command, check=False).returncode > 0


def test_a_uniform_number_picks_by_the_inverse_cdf(tmp_path):
    choose = module(described(acting()), tmp_path)["choose"]
    z = [-1e4, *np.log([0.125, 0.5, 0.375]), -1e4][:4]  # 0, 1/8, 1/2, 3/8
    below = np.nextafter(0.625, 0)
    picked = {0.0: 1, 0.124: 1, 0.126: 2, below - 1e-9: 2, 0.626: 3, np.nextafter(1, 0): 3}
    assert {u: choose(z, [u])[0] for u in picked} == picked
    assert choose([0.0, 0.0, 0.0, -1e4], [np.nextafter(1, 0)]) == [2]
    assert choose([1.0, 2.0, 2.0, 0.0]) == [1]


def test_the_python_export_refuses_what_it_cannot_use(tmp_path):
    one = module(described(acting()), tmp_path)
    for obs in ([0, 0], [0, 0, np.nan], [0, np.inf, 0], []):
        refuse(one["act"], obs)
    for uniform in (-1e-9, 1.0, np.nan):
        refuse(one["act"], [0, 0, 0], uniform)
    refuse(one["choose"], [0.0] * 4, [])
    arm = module(described(acting("Gaussian")), tmp_path)
    for noise in ([0], [0, np.inf]):
        refuse(arm["act"], [0, 0, 0], noise)
    with pytest.raises(ValueError, match="the outputs overflow"):
        arm["act"]([1e308, -1e308, 1e308])
    table = module(described(acting("table")), tmp_path)
    for state in (-1, 5, 1.5, np.nan):
        refuse(table["act"], state)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_json_comes_back_to_the_bit(tmp_path, kind, dtype):
    recipe = described(acting(kind), dtype)
    path = tmp_path / "policy.json"
    path.write_text(jsonfile.text(recipe), "utf-8")
    again = jsonfile.read(path)
    assert jsonfile.text(again) == jsonfile.text(recipe)
    assert (again.obs_space, again.action_space) == (recipe.obs_space, recipe.action_space)
    for w, v in zip(again.layers, recipe.layers, strict=True):
        assert (w.dtype, w.tobytes()) == (v.dtype, v.tobytes())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"has version 2, this pgref reads up to 1; a newer pgref wrote it"),
        ({"version": "1"}, "version must be a whole number"),
        ({"schema": "other"}, "must hold an object of schema 'pgref policy'"),
        ({"extra": 1}, "must have the keys .*, got .*extra"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64, got 'float16'"),
        ({"dtype": ["float32"]}, "dtype must be one of"),
        ({"name": "a;b"}, "name must be an identifier, got 'a;b'"),
        ({"name": 1}, "name must be an identifier"),
        ({"activation": "gelu"}, "activation must be one of"),
        ({"layers": []}, "got 0"),
        ({"layers": [[[1.0, 2.0]]]}, r"layers must follow on each other, \[4, any\] here, got \(1, 2\)"),
        ({"layers": [[[1e39] * 4] * 4]}, "layers must be finite, got inf"),
        ({"layers": [[["a"]]]}, "layers must hold real numbers"),
        ({"layers": [[[], [], [], []]]}, "layers must follow on each other"),
        ({"free": [0.0]}, "layers and free must give 4 outputs, got 5"),
        ({"obs_space": {"kind": "Sphere"}}, "Sphere"),
        ({"obs_space": {"kind": "Discrete", "n": 0}}, "n must be a whole number"),
        ({"obs_space": {"kind": "Discrete", "m": 2}}, "unexpected keyword"),
        ({"action_space": {"kind": "Discrete", "n": 3}}, "must give 3 outputs, got 4"),
        ({"normaliser": {"mean": [0.0], "scale": [1.0], "limit": 1}}, "mean must have shape"),
        ({"normaliser": {"mean": [0.0] * 3, "scale": [0.0] * 3, "limit": 1}}, "scale must be positive"),
        ({"normaliser": {"mean": [0.0] * 3, "scale": [1.0] * 3, "limit": 0}}, "limit must be positive"),
        ({"recorded": {}}, "missing"),
        ({"recorded": None}, "mapping"),
    ],
)
def test_json_that_is_no_policy_is_refused(tmp_path, changes, message):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({**json.loads(jsonfile.text(described(acting(), "float32"))), **changes}))
    with pytest.raises(DataFileError, match=f"(?s)policy.json: .*{message}"):
        jsonfile.read(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "\xff"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "policy.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataFileError, match=r"policy\.json: "):
        jsonfile.read(path)


def test_a_table_is_one_matrix_and_states_have_no_size():
    recipe = described(acting("table"))
    with pytest.raises(ArgumentError, match="layers must be one table"):
        replace(recipe, layers=recipe.layers * 2)
    with pytest.raises(ArgumentError, match="activation must be one of"):
        replace(recipe, activation="tanh")
    with pytest.raises(ArgumentError, match="normaliser must be None"):
        replace(recipe, normaliser=Normaliser(np.zeros(1), np.ones(1), LIMIT))
    with pytest.raises(ShapeError, match="recorded must have shape"):
        replace(recipe, recorded=Recorded(np.zeros(2, int), *([np.zeros((2, 2))] * 4)))


def test_what_cannot_be_exported_is_said():
    one = acting()
    for value in (np.nan, np.inf):
        theta = one.theta.copy()
        theta[3] = value
        with pytest.raises(NonFiniteError, match=f"theta must be finite, got {value} at index"):
            described(acting(theta=theta))
    with pytest.raises(NonFiniteError, match="theta must be finite, got inf"):
        described(acting(theta=one.theta * 1e300), "float32")
    with pytest.raises(ArgumentError, match="dtype must be one of float32, float64, got 'float16'"):
        described(one, "float16")
    with pytest.raises(ArgumentError, match="dtype must be one of"):
        described(one, 32)
    with pytest.raises(ArgumentTypeError, match=r"policy must be a known kind .* on Box"):
        described(acting(env=SimpleNamespace(name="", obs_space=ARM, action_space=ARM)))
    network = one.policy.network
    strange = SimpleNamespace(
        n_params=network.n_params, n_outputs=4, linearize=network.linearize, forward=network.forward
    )
    with pytest.raises(ArgumentTypeError, match="policy must be an MLP or a Table to be exported"):
        described(acting(policy=Policy(strange, Categorical())))
    twice = Policy(WithFreeOutputs(WithFreeOutputs(network, 1), 1), Categorical())
    space = SimpleNamespace(name="", obs_space=one.env.obs_space, action_space=Discrete(6))
    with pytest.raises(ArgumentTypeError, match="policy must be an MLP or a Table"):
        described(acting(policy=twice, theta=np.zeros(twice.n_params), env=space))
    with pytest.raises(NonFiniteError, match="network output must be finite"):
        described(
            acting("categorical relu normalised", theta=acting("categorical relu normalised").theta * 1e200)
        )


def test_targets_are_found_by_name_or_ending():
    endings = {"py": "py", "h": "c", "js": "js", "mjs": "js", "onnx": "onnx", "json": "json"}
    assert {end: known(f"a/b.{end}") for end in endings} == endings
    assert known("b.txt", "c") == "c"
    for path in ("policy", "policy.txt", "a.h/b"):
        with pytest.raises(
            ArgumentError, match=r"path must end in one of \.py, \.h, \.mjs, \.js, \.onnx, \.json, got"
        ):
            known(path)
    for to in ("rust", 3):
        with pytest.raises(ArgumentError, match=f"to must be one of py, c, js, onnx, json, got {to!r}"):
            known("policy.py", to)
    names = {"cart-pole.v1.h": "cart_pole", "1.h": "policy_1", "x/Ω.h": "policy", "_a.h": "a", ".h": "policy"}
    assert {path: identifier(path) for path in names} == names


def test_a_path_that_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "policy.py"
    write(acting(), path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="nowhere"):
        write(acting(), tmp_path / "nowhere" / "policy.py")
    with pytest.raises(NonFiniteError):
        write(acting(theta=acting().theta * np.nan), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["policy.py"]


@given(st.integers(0, 2**32 - 1))
@example(1)  # the smallest
@example(0x7F7FFFFF)  # the largest
def test_short_decimals_are_the_same_float32(bits):
    x = np.array(bits, np.uint32).view(np.float32)[()]
    if np.isfinite(x):
        assert np.float32(float(str(x))) == x
        assert c._number(x) == f"{x!s}f"


def test_infinite_bounds_are_written_as_each_language_has_them():
    recipe = described(acting("Gaussian"))
    assert "low[POLICY_ACTIONS] = {-0.5, -INFINITY}, high[POLICY_ACTIONS] = {INFINITY, 0.25}" in c.text(
        recipe
    )
    assert '{"kind": "Box", "low": [-0.5, -Infinity], "high": [Infinity, 0.25]}' in javascript.text(recipe)
    assert json.loads(jsonfile.text(recipe))["action_space"]["low"] == [-0.5, None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", TEXTS)
def test_names_cannot_leave_their_comment(kind, dtype, to):
    one, evil = acting(kind), '*/ boom\n??/\'"""\\ // `'
    one.env.name = evil
    recipe = described(one, dtype, "cart")
    assert literals.comment(recipe).isascii()
    assert not set(literals.comment(recipe)) & set("*/\n\\?'\"`")
    text = TARGETS[to].content(recipe)
    if to == "c":
        assert "boom" not in text.partition("*/")[2]
        assert "policy_" not in text
        assert "PGREF_CART_H" in text
    assert text.endswith("\n")


def test_sizes_are_those_of_the_arrays():
    recipe = described(acting("categorical relu normalised", "float32"))
    assert recipe.constant_bytes() == 4 * (4 * 8 + 9 * 4) + 8 * 2 * 3
    assert recipe.stack_bytes() == 4 * (8 + 8 + 4)
    table = described(acting("table of a Gaussian"))
    assert (table.constant_bytes(), table.stack_bytes()) == (8 * (5 * 2 + 2), 8 * 4)


def test_observations_are_ordinary_far_and_at_the_clip():
    one = acting("Gaussian normalised")
    obs, _ = reference.draw(reference.reference(one), np.random.default_rng(0), 10_000)
    far = np.abs(obs) == reference.FAR
    assert far.all(-1).sum() == 1250
    assert (far.sum(-1) == 1).sum() == 1250
    at = np.abs(normalised(one.seen, obs))[2::8]
    assert 0.2 < (at == LIMIT).mean() < 0.9
    assert ((at < LIMIT) & (at > LIMIT - 1e-4)).mean() > 0.2
    states, uniforms = reference.draw(reference.reference(acting("table")), np.random.default_rng(0), 100)
    assert set(states) == set(range(5))
    assert 0 <= uniforms.min() < uniforms.max() < 1


def broken(tmp_path, to="py", kind="categorical", change=lambda text: text):
    """Return the verification of a file that something has happened to, which leaves it as it is."""
    path, one = tmp_path / f"policy.{to}", acting(kind)
    recipe = write(one, path)
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    before = path.read_bytes()
    found = verification.verify(one, path, recipe, observations=100)
    assert path.read_bytes() == before
    return found


@pytest.mark.parametrize(
    ("kind", "old", "new", "outputs", "actions"),
    [
        ("categorical", "row[-1] + sum", "row[-1] * (1 + 1e-9) + sum", True, False),
        ("categorical", "ACTIVATION = tanh", "ACTIVATION = lambda x: tanh(x) * (1 + 1e-9)", True, False),
        ("categorical", "part.index(largest)", "0", False, True),
        ("categorical", "target < below", "target > below", False, True),
        ("categorical", "uniforms[i] * sum", "(1 - uniforms[i]) * sum", False, True),
        ("multi-categorical", "start + n\n", "start\n", False, True),
        ("multi-categorical", "-LIMIT), LIMIT)", "-LIMIT * 0.999999), LIMIT)", True, False),
        ("Gaussian", "exp(z[d + i])", "z[d + i]", False, True),
        ("Gaussian", "max(z[i], ACTION", "max(z[i], -0.1 + 0 * ACTION", False, True),
        ("table", "TABLE[int(obs)]", "TABLE[4 - int(obs)]", True, True),
    ],
)
def test_a_corrupted_export_is_found(tmp_path, kind, old, new, outputs, actions):
    def change(text):
        assert old in text
        return text.replace(old, new)

    found = broken(tmp_path, kind=kind, change=change)
    assert not found.ok
    assert found.problem == ""
    assert bool(found.outputs_off) == outputs
    assert bool(found.actions_off) >= actions


def test_recorded_answers_that_are_not_reproduced_are_found(tmp_path):
    found = broken(tmp_path, change=lambda text: text.replace("TOLERANCE = 1e-12", "TOLERANCE = -1.0"))
    assert (found.recorded_off, found.outputs_off, found.actions_off) == (4, 0, 0)
    assert not found.ok


@pytest.mark.parametrize(
    ("to", "old", "new", "message"),
    [
        ("py", "def outputs", "def output", "exit status 1.*KeyError"),
        ("py", "if __name__ ==", "self_test = None\nif __name__ ==", "exit status 1.*TypeError"),
        ("py", "def act(", "print('hello')\ndef act(", "must answer 100 lines of 6 numbers"),
        ("py", "    return z\n", "    return [complex(v) for v in z]\n", "exit status 1"),
        ("py", "    return z\n", "    return [str(v) for v in z]\n", "exit status 1|could not convert"),
        ("json", '"version": 1', '"version": 9', "has version 9"),
    ],
)
def test_an_export_that_does_not_run_is_found(tmp_path, to, old, new, message):
    found = broken(tmp_path, to, change=lambda text: text.replace(old, new, 1))
    assert not found.ok
    assert re.search(message, found.problem, re.S), found.problem


def test_what_is_told_must_be_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "run", lambda *arguments: "x y z\n" * 101)
    assert "must answer" in broken(tmp_path).problem
    monkeypatch.setattr(running, "run", lambda *arguments: "")
    assert "must answer" in broken(tmp_path).problem
    monkeypatch.setattr(running, "run", lambda *arguments: "a b c d e f\n" * 100 + "0")
    assert "could not convert string to float" in broken(tmp_path).problem
    monkeypatch.setattr(running, "run", lambda *arguments: "nan 0 0 0 0 0\n" * 100 + "0")
    found = broken(tmp_path)
    assert found.outputs_off >= 100
    assert not found.ok


def test_an_export_that_hangs_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SECONDS", 0.5)
    found = broken(tmp_path, change=lambda text: text.replace("def act", "while True: pass\n\n\ndef act", 1))
    assert "timed out" in found.problem


def test_choices_that_rounding_decides_are_open(tmp_path):
    one = acting("table", theta=np.zeros(20))
    path = tmp_path / "policy.py"
    found = verification.verify(one, path, write(one, path), observations=50)
    assert found.ok
    assert found.actions_open == 50  # every mode is a tie; no uniform number is that near a step
    assert runpy.run_path(str(path))["act"](0) == 0


def test_where_rounding_moves_an_output_it_is_judged_by_that(tmp_path):
    theta = np.zeros(acting().theta.shape)
    network = acting().policy.network
    first, _, last = network.layers(theta)
    first[:3] = [[0.1], [-0.3], [0.2]]  # sums that cancel for ±10⁶, all alike but for rounding
    network.layers(theta)[1][:8], last[:6] = 1.0, 1.0
    one, path = acting(theta=theta), tmp_path / "policy.py"
    found = verification.verify(one, path, write(one, path), observations=400)
    assert found.ok
    assert 0 < found.rounded < 100
    assert found.worst <= 1e-12


def test_a_limit_much_narrower_than_what_rounding_moves_would_refuse_numpys_own_float32():
    network, n = MLP((100, 256, 4), "relu"), 400
    theta = np.random.default_rng(0).normal(size=network.n_params).astype("float32")
    box = Box((-np.inf,) * 100, (np.inf,) * 100)
    env = SimpleNamespace(name="", obs_space=box, action_space=Discrete(4))
    policy = Policy(network, Categorical())
    ref = reference.reference(acting(policy=policy, theta=theta, env=env, seen=no_moments(100)))
    obs, chance = reference.draw(ref, np.random.default_rng(1), n)
    found = reference.answers(ref, obs, chance)
    exact = network.linearize(theta.astype(float), obs.astype(float)).value
    off = np.abs(found.outputs - exact)
    assert (off > reference.tolerated(ref, exact)).any()
    assert 0.25 < (off / found.output_limits).max() <= 1


def test_the_files_given_must_be_there(tmp_path):
    recipe = described(acting())
    found = verification.verify(acting(), tmp_path / "none.py", recipe, observations=4)
    assert "none.py" in found.problem
    with pytest.raises(ArgumentError, match="observations must be"):
        verification.verify(acting(), tmp_path / "none.py", recipe, observations=0)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Return the commands that are run, by programs that only repeat what they are told."""
    commands = []

    def run(command, *, input, **options):
        commands.append(command)
        assert options == {"capture_output": True, "check": True, "timeout": 600, "encoding": "utf-8"}
        return SimpleNamespace(stdout=input)

    monkeypatch.setattr(running.subprocess, "run", run)
    monkeypatch.setattr(running.shutil, "which", lambda name: f"/bin/{name}")
    return commands


def test_c_is_compiled_and_run(tmp_path, monkeypatch, programs):
    monkeypatch.delenv("CC", raising=False)
    path, work = tmp_path / "cart.h", tmp_path / "work"
    work.mkdir()
    recipe = write(acting(), path)
    assert running.run("c", path, recipe, "1 2\n", work) == "1 2\n"
    compiled, ran = programs
    assert compiled[:3] == ["/bin/cc", "-std=c99", "-O2"]
    assert ran == [str(work / "run")]
    assert (work / "policy.h").read_bytes() == path.read_bytes()
    assert "cart_outputs(obs, z)" in (work / "run.c").read_text()
    monkeypatch.setenv("CC", "tcc")
    running.run("c", path, recipe, "", work)
    assert programs[2][0] == "/bin/tcc"


def test_javascript_is_run_by_node(tmp_path, programs):
    path, work = tmp_path / "cart.js", tmp_path / "work"
    work.mkdir()
    recipe = write(acting(), path)
    assert running.run("js", path, recipe, "1 2\n", work) == "1 2\n"
    assert programs == [["/bin/node", str(work / "run.mjs"), "3"]]
    assert (work / "policy.mjs").read_bytes() == path.read_bytes()


def test_a_program_that_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    recipe = described(acting())
    for to, words in (("c", "cc is not installed; install a C compiler"), ("js", "node is not installed")):
        path = tmp_path / "policy"
        path.write_text("")
        (tmp_path / to).mkdir()
        with pytest.raises(MissingExtraError, match=words):
            running.run(to, path, recipe, "", tmp_path / to)


def test_onnx_without_its_package_is_said_and_leaves_what_was_there(
    tmp_path, capsys, monkeypatch, run_folder
):
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"older")
    with pytest.raises(MissingExtraError, match=r'needs the package onnx: pip install "pgref\[onnx\]"'):
        write(acting(), path)
    with pytest.raises(MissingExtraError, match="onnx"):
        verification.verify(acting(), path, described(acting()), observations=1)
    assert cli.main(["export", str(run_folder), "--to", "onnx", "--out", str(path)]) == 2
    assert 'pip install "pgref[onnx]"' in capsys.readouterr().err
    assert path.read_bytes() == b"older"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = ("-p", "hidden=[4]", "--n-envs", "2", "-p", "n_steps=8", "--quiet", "--steps", "16")
    assert cli.main(["train", "vpg", "LQR", *small, "--out", str(folder)]) == 0
    return folder


def test_the_command_writes_every_language(tmp_path, monkeypatch, capsys, run_folder):
    monkeypatch.chdir(tmp_path)
    for to in TEXTS:
        assert cli.main(["export", str(run_folder), "--to", to, "--dtype", "float64"]) == 0
    assert sorted(os.listdir()) == ["policy.h", "policy.json", "policy.mjs", "policy.py"]
    out = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"policy\.py: vpg on LQR after 16 steps, float64, [\d,]{5,} bytes; "
        r"on a device [\d,]+ bytes of flash for constants and [\d,]+ of RAM for vectors",
        out[0],
    )
    assert Path("policy.json").read_text().startswith('{"schema": "pgref policy", "version": 1,')


def test_the_command_verifies(tmp_path, capsys, run_folder):
    path = str(tmp_path / "p.py")
    assert (
        cli.main(["export", str(run_folder / "checkpoint.npz"), "--to", "py", "--out", path, "--verify"]) == 0
    )
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"{path}: agrees on 10000 observations: outputs within ")
    assert "0 outputs, 0 actions and 0 recorded answers off" in line


def test_a_mismatch_exits_1_and_deletes_nothing(tmp_path, capsys, monkeypatch, run_folder):
    path, right = tmp_path / "p.py", python.text

    def export(text):
        monkeypatch.setitem(TARGETS, "py", TARGETS["py"]._replace(content=text))
        assert cli.main(["export", str(run_folder), "--to", "py", "--out", str(path), "--verify"]) == 1
        assert path.exists()
        return capsys.readouterr().out

    text = export(lambda recipe: right(recipe).replace("v / ", "v * ").replace("+ sum(", "- sum("))
    assert f"{path}: DIFFERS on 10000 observations" in text
    assert f"{path}: does not run: " in export(lambda recipe: right(recipe) + "raise ValueError\n")


def test_far_observations_are_mentioned_where_rounding_decides(tmp_path, capsys, monkeypatch, run_folder):
    def verify(*arguments):
        return verification.Verification(10_000, 1e-7, 1e-5, 3, 0, 0, 0, 1, "")

    monkeypatch.setattr(verification, "verify", verify)
    command = ["export", str(run_folder), "--to", "py", "--out", str(tmp_path / "p.py"), "--verify"]
    assert cli.main(command) == 0
    assert "(limit 1e-05; on 3 observations rounding moves them further), 0" in capsys.readouterr().out


def test_what_the_command_cannot_do_is_said(tmp_path, capsys, monkeypatch, run_folder):
    assert cli.main(["export", str(run_folder), "--to", "py", "--out", str(tmp_path / "no" / "p.py")]) == 2
    assert str(tmp_path / "no" / "p.py") in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path / "none"), "--to", "py"]) == 2
    assert "none" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", str(run_folder), "--to", "rust"])
    assert stop.value.code == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "p.mjs"
    assert cli.main(["export", str(run_folder), "--to", "js", "--out", str(path), "--verify"]) == 2
    assert "node is not installed; install Node.js" in capsys.readouterr().err
    assert path.exists()


def test_moments_of_nothing_are_no_normaliser():
    assert described(acting()).normaliser is None
    mean, scale, limit = described(acting("multi-categorical")).normaliser
    seen = acting("multi-categorical").seen
    assert isinstance(seen, Moments)
    x = np.array([[1e3, 1.0, 2.0]])
    np.testing.assert_array_equal(np.clip((x - mean) / scale, -limit, limit), normalised(seen, x))
