"""ONNX exports equal the NumPy policy in onnx's own evaluator and in onnxruntime."""

import contextlib
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from exporting import KINDS, acting
from training import agent

from pgref import cli
from pgref.errors import ArgumentTypeError, NonFiniteError
from pgref.export import jsonfile, running, verification
from pgref.export.literals import rows
from pgref.export.recipe import described
from pgref.export.reference import answers, draw, reference
from pgref.export.targets import write

pytestmark = pytest.mark.integration

DTYPES, EVALUATORS = ("float32", "float64"), ("onnx", "onnxruntime")
EVALUATOR = "from onnx.reference import ReferenceEvaluator as Session"
RUNTIME = "from onnxruntime import InferenceSession as Session"


@pytest.fixture(scope="module")
def onnx(peer):
    return peer("onnx")


@pytest.fixture
def here(onnx, peer, monkeypatch):
    """Return the function that lets verification run in this process, with one of the evaluators."""

    def answer(command, lines):
        told = io.StringIO()
        monkeypatch.setattr(sys, "argv", command[1:])
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        with contextlib.redirect_stdout(told):
            exec(compile(running.ONNX, command[1], "exec"), {})
        return told.getvalue()

    def chosen(evaluator):
        peer(evaluator)
        assert EVALUATOR in running.ONNX
        if evaluator == "onnxruntime":
            monkeypatch.setattr(running, "ONNX", running.ONNX.replace(EVALUATOR, RUNTIME))
        monkeypatch.setattr(running, "_answers", answer)

    return chosen


@pytest.fixture
def session(onnx, peer, tmp_path):
    """Return the function that writes a policy, and returns what evaluates it: (obs, chance) ↦ answers."""

    def opened(one, evaluator="onnx"):
        path = str(tmp_path / "policy.onnx")
        write(one, path)
        if evaluator == "onnx":
            run = peer("onnx.reference").ReferenceEvaluator(path).run
        else:
            run = peer("onnxruntime").InferenceSession(path).run

        def told(obs, chance):
            with np.errstate(all="ignore"):  # onnx's evaluator computes with the NaN that some tests feed it
                return run(["outputs", "mode", "sample"], {"obs": obs, "chance": chance})

        return told

    return opened


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_every_kind_of_policy_is_the_same_on_10000_observations(tmp_path, here, kind, dtype, evaluator):
    here(evaluator)
    path, one = tmp_path / "policy.onnx", acting(kind, dtype)
    found = verification.verify(one, path, write(one, path))
    assert found.ok, found
    assert found.observations == 10_000
    assert found.worst <= {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert found.rounded == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_right_by_onnxs_checker_and_old_enough(onnx, kind, dtype, tmp_path):
    path, one = tmp_path / "arm-7.onnx", acting(kind, dtype)
    recipe = write(one, path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version, model.graph.name) == (7, 13, "arm_7")
    kept = {p.key: json.loads(p.value) for p in model.metadata_props}
    content = json.loads(jsonfile.text(recipe))
    assert {key: kept[key] for key in ("about", "obs_space", "action_space")} == {
        key: content[key] for key in ("about", "obs_space", "action_space")
    }
    assert kept["recorded"] == rows(recipe)
    assert kept["tolerance"] == recipe.tolerance
    written = sum(onnx.numpy_helper.to_array(w).nbytes for w in model.graph.initializer)
    assert recipe.constant_bytes() <= written <= recipe.constant_bytes() + 1000


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("kind", ["categorical relu normalised", "multi-categorical", "Gaussian"])
def test_what_cannot_be_used_is_a_row_of_nan_and_no_choice(session, kind, evaluator):
    one = acting(kind)
    run, ref = session(one, evaluator), reference(one)
    obs, chance = draw(ref, np.random.default_rng(0), 6)
    usual = answers(ref, obs, chance)
    bad = obs.copy()
    bad[[1, 3], 2], bad[4, 0] = (np.nan, np.inf), -np.inf
    z, mode, sample = run(bad, chance)
    none = np.nan if kind == "Gaussian" else -1
    refused = np.array([False, True, False, True, True, False])
    for told, wanted, missing in (
        (z, usual.outputs, np.nan),
        (mode, usual.modes, none),
        (sample, usual.samples, none),
    ):
        np.testing.assert_array_equal(told[refused], np.full_like(told[refused], missing))
        np.testing.assert_allclose(told[~refused], wanted[~refused], rtol=1e-12)
    for unusable in (np.nan, np.inf) if kind == "Gaussian" else (np.nan, -1e-9, 1.0):
        some = chance.copy()
        some[2, 0] = unusable
        z, mode, sample = run(obs, some)
        np.testing.assert_allclose(z, usual.outputs, rtol=1e-12)
        np.testing.assert_allclose(mode, usual.modes, rtol=1e-12)
        np.testing.assert_array_equal(sample[2], np.full_like(sample[2], none))
        np.testing.assert_allclose(np.delete(sample, 2, 0), np.delete(usual.samples, 2, 0), rtol=1e-12)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_outputs_that_overflow_and_states_there_are_not_are_refused(session, evaluator):
    z, mode, sample = session(acting("Gaussian"), evaluator)(
        np.array([[1e308, -1e308, 1e308]]), np.zeros((1, 2))
    )
    assert np.isnan([z[0, 0], mode[0, 0], sample[0, 0]]).all()
    states = np.array([0, -1, 4, 5, -(2**63), 2**63 - 1])
    z, mode, sample = session(acting("table"), evaluator)(states, np.full((1, 1), 0.5))
    assert np.isnan(z).all(1).tolist() == [False, True, False, True, True, True]
    assert (mode == -1).tolist() == (sample == -1).tolist() == np.isnan(z[:, :1]).tolist()


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_uniform_number_picks_by_the_inverse_cdf_up_to_the_last(session, dtype, evaluator):
    theta = np.zeros(20, dtype)
    theta[:4] = -1e4, *np.log([0.125, 0.5]), -1e4  # 0, 1/5, 4/5, 0
    u = np.array([0, 0.19, 0.21, 0.99, np.nextafter(1, 0, dtype=dtype)], dtype)[:, None]
    run = session(acting("table", theta=theta), evaluator)
    _, mode, sample = run(np.zeros(5, int), u)
    assert sample.ravel().tolist() == [1, 1, 2, 2, 2]
    assert set(mode.ravel()) == {2}
    _, mode, sample = run(np.ones(5, int), u)  # four alike
    assert sample.ravel().tolist() == [0, 0, 0, 3, 3]
    assert set(mode.ravel()) == {0}


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_one_chance_serves_all_rows(session, evaluator):
    run, obs = session(acting("multi-categorical"), evaluator), np.random.default_rng(0).normal(size=(9, 3))
    one = np.array([[0.3, 0.5, 0.9]])
    for told, wanted in zip(run(obs, one), run(obs, np.repeat(one, 9, axis=0)), strict=True):
        np.testing.assert_array_equal(told, wanted)


def changed(onnx, path, name):
    """Change a constant's last number by a part in 10⁸."""
    model = onnx.load(path)
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * (1 + 1e-8), name))
    path.write_bytes(model.SerializeToString())


def test_a_corrupted_export_is_found(onnx, here, tmp_path):
    here("onnx")
    path, one = tmp_path / "policy.onnx", acting("categorical relu normalised")
    recipe = write(one, path)
    for name in ("w1", "b2", "scale"):
        write(one, path)
        changed(onnx, path, name)
        found = verification.verify(one, path, recipe, observations=100)
        assert (found.ok, found.outputs_off > 0, found.problem) == (False, True, "")
    write(one, path)
    model = onnx.load(path)
    (kept,) = (p for p in model.metadata_props if p.key == "recorded")
    kept.value = json.dumps([[o, u, [v + 1 for v in z], *more] for o, u, z, *more in json.loads(kept.value)])
    path.write_bytes(model.SerializeToString())
    found = verification.verify(one, path, recipe, observations=100)
    assert (found.ok, found.outputs_off, found.recorded_off) == (False, 0, 4)


def test_a_file_that_is_none_is_found(onnx, tmp_path):
    path, one = tmp_path / "policy.onnx", acting()
    recipe = write(one, path)
    path.write_bytes(path.read_bytes()[:-300])
    before = path.read_bytes()
    found = verification.verify(one, path, recipe, observations=4)
    assert not found.ok
    assert "exit status 1" in found.problem
    assert path.read_bytes() == before


def test_the_command_writes_and_verifies_a_trained_policy(onnx, capsys, tmp_path):
    small = ("-p", "hidden=[4]", "--n-envs", "2", "-p", "n_steps=8", "--quiet", "--steps", "16")
    assert cli.main(["train", "vpg", "CartPole", *small, "--out", str(tmp_path / "run")]) == 0
    path = str(tmp_path / "p.onnx")
    assert cli.main(["export", str(tmp_path / "run"), "--to", "onnx", "--out", path, "--verify"]) == 0
    wrote, verified = capsys.readouterr().out.splitlines()[-2:]
    assert wrote.startswith(f"{path}: vpg on CartPole after 16 steps, float")
    assert verified.startswith(f"{path}: agrees on 10000 observations: outputs within ")


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("env", ["CartPole", "Pendulum", "ProbeMatch"])
def test_an_exported_agent_acts_as_predict_does(session, env, evaluator):
    one = agent("trpo", env, normalise_obs=env == "Pendulum", dtype="float64").learn(100)
    obs, chance = draw(reference(one), np.random.default_rng(3), 50)
    _, mode, _ = session(one, evaluator)(obs, chance)
    expected = one.predict(obs, deterministic=True).reshape(mode.shape)
    space = one.env.action_space
    expected = np.clip(expected, space.low, space.high) if hasattr(space, "low") else expected
    np.testing.assert_allclose(mode, expected, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_exported_is_said_and_leaves_what_was_there(onnx, tmp_path):
    path, one = tmp_path / "policy.onnx", acting()
    write(one, path)
    before = path.read_bytes()
    with pytest.raises(NonFiniteError, match="theta must be finite, got nan"):
        write(acting(theta=one.theta * np.nan), path)
    arm = acting("Gaussian").env
    with pytest.raises(ArgumentTypeError, match=r"policy must be a known kind .* on Box"):
        write(
            acting(env=SimpleNamespace(name="", obs_space=arm.obs_space, action_space=arm.action_space)), path
        )
    with pytest.raises(OSError, match="nowhere"):
        write(one, tmp_path / "nowhere" / "policy.onnx")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["policy.onnx"]
    assert described(one).name == "policy"
