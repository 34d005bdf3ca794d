"""Run folders: a run that was stopped anywhere goes on to the same files, byte for byte."""

import json
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import plans, records, runs
from pgref.agent import AGENTS, PPO, VPG, Agent
from pgref.algorithms import vpg
from pgref.envs.probes import action
from pgref.envs.protocol import Episodic
from pgref.errors import ArgumentError, CheckpointError, DataFileError, NonFiniteError

TINY = {"hidden": [4], "n_envs": 2, "n_steps": 8}
MORE = {
    "a2c": {"n_workers": 2},
    "a3c": {"n_workers": 2, "backend": "schedule", "segments": 2},
    "npg": {"critic_epochs": 2},
    "trpo": {"critic_epochs": 2},
    "ppo": {"epochs": 2, "minibatch": 4},
    "vpg": {"critic_epochs": 2},
}
begin_vpg = partial(runs.begin, algorithm="vpg", env="ProbeMatch", steps=16 * 6, settings=TINY | MORE["vpg"])


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def after(n):
    """Return a callback that ends a run with its n-th call."""
    calls = iter(range(n - 1))
    return lambda update: next(calls, None) is None


def interrupted(function, n, late):
    """Return the function with a Ctrl-C in its n-th call, before or after what it does."""
    calls = iter(range(1, n))

    def wrapped(*arguments, **options):
        last = next(calls, None) is None
        if last and not late:
            raise KeyboardInterrupt
        result = function(*arguments, **options)
        if last:
            raise KeyboardInterrupt
        return result

    return wrapped


@pytest.fixture(autouse=True, scope="module")
def _fast():
    """No waiting for the disk: what a power cut would lose is not seen here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def whole(tmp_path):
    """The files of a run that nothing has stopped."""
    runs.train(begin_vpg(tmp_path / "whole", eval_every=32))
    return contents(tmp_path / "whole")


@pytest.mark.parametrize("algorithm", AGENTS)
@pytest.mark.parametrize("env", ["CartPole", "LQR"])
def test_k_and_k_updates_are_2k_updates(tmp_path, algorithm, env):
    settings = TINY | MORE.get(algorithm, {}) | {"normalise_obs": True, "scale_rewards": True}
    first = runs.begin(tmp_path / "halves", algorithm, env, 96, 3, settings, 40)
    runs.train(first, [after(2)])
    middle = first.agent.state
    assert 0 < middle.steps < 96
    second = runs.resume(first.folder)
    assert second.plan == first.plan
    runs.train(second)
    runs.train(runs.begin(tmp_path / "whole", algorithm, env, 96, 3, settings, 40), checkpoint_every=1)
    files = contents(tmp_path / "whole")
    assert set(files) == {
        "config.json",
        "checkpoint.npz",
        "records.csv",
        "records.jsonl",
        "evaluations.jsonl",
    }
    assert contents(tmp_path / "halves") == files
    assert len(records.read(tmp_path / "whole" / "evaluations.jsonl")) == 2


@given(seed=st.integers(0, 2**70), stops=st.lists(st.integers(1, 4), max_size=2), every=st.integers(20, 200))
@example(0, [1, 1, 1, 1, 1], 1)
def test_no_series_of_stops_changes_a_file(seed, stops, every):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run = begin_vpg(place / "a", seed=seed, eval_every=40)
        for n in stops:
            runs.train(run, [after(n)], checkpoint_every=every)
            run = runs.resume(place / "a")
        runs.train(run)
        runs.train(begin_vpg(place / "b", seed=seed, eval_every=40))
        assert contents(place / "a") == contents(place / "b")


PLACES = [
    (vpg, "update"),
    (records.Csv, "__call__"),
    (records.Jsonl, "__call__"),
    (Agent, "evaluate"),
    (Agent, "save"),
    (runs, "require_finite"),
]


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].__name__}.{place[1]}")
def test_ctrl_c_anywhere_changes_no_file_in_the_end(tmp_path, monkeypatch, whole, place, n, late):
    owner, name = place
    run = begin_vpg(tmp_path / "run", eval_every=32)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted(getattr(owner, name), n, late))
        with pytest.raises(KeyboardInterrupt):
            runs.train(run, checkpoint_every=32)
    runs.train(runs.resume(tmp_path / "run"))
    assert contents(tmp_path / "run") == whole


def test_after_an_interrupt_the_agent_is_the_one_that_was_saved(tmp_path):
    run = begin_vpg(tmp_path / "run")
    with pytest.raises(ZeroDivisionError):
        runs.train(run, [lambda update: 1 / (3 - update.updates) and None])
    assert run.agent.state.updates == 2
    saved = runs.open_run(run.folder).agent
    assert np.array_equal(saved.theta, run.agent.theta)
    assert len(records.read(run.folder / "records.csv")) == 3  # cut back when the run goes on


@pytest.mark.parametrize("torn", ['{"updates": 5, "st', ""])
def test_what_a_killed_run_leaves_is_cut_to_its_checkpoint(tmp_path, whole, torn):
    folder = tmp_path / "run"
    runs.train(begin_vpg(folder, eval_every=32), [after(2)])
    checkpoint = (folder / "checkpoint.npz").read_bytes()
    runs.train(runs.resume(folder), [after(2)])
    (folder / "checkpoint.npz").write_bytes(checkpoint)
    with open(folder / "records.jsonl", "a", encoding="utf-8") as file:
        file.write(torn)
    runs.train(runs.resume(folder))
    assert contents(folder) == whole


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, whole):
    folder = tmp_path / "run"
    runs.train(begin_vpg(folder, eval_every=32), [after(2)])
    (folder / "checkpoint.npz").unlink()
    runs.train(runs.resume(folder))
    assert contents(folder) == whole


def test_more_steps_give_the_files_of_the_longer_run(tmp_path, whole):
    run = begin_vpg(tmp_path / "run", steps=40, eval_every=32)
    runs.train(run)
    longer = runs.resume(run.folder, 96)
    assert longer.plan == run.plan._replace(steps=96) == plans.read(run.folder)
    runs.train(longer)
    assert contents(run.folder) == whole
    before = contents(run.folder)
    runs.train(runs.resume(run.folder, 96))  # nothing left to do
    assert contents(run.folder) == before


def test_evaluations_are_no_part_of_training(tmp_path, whole):
    run = begin_vpg(tmp_path / "run")
    runs.train(run, [lambda update: runs.evaluate(run, 3) and None])
    files = contents(run.folder)
    assert "evaluations.jsonl" not in files
    for name in ("records.csv", "records.jsonl", "checkpoint.npz"):
        assert files[name] == whole[name]


def test_an_evaluation_depends_on_the_seed_and_the_updates_alone(tmp_path):
    run = runs.begin(tmp_path / "a", "vpg", "CartPole", 64, 5, TINY)
    returns = runs.evaluate(run, 5).returns
    assert np.array_equal(returns, runs.evaluate(run, 5).returns)
    other = runs.begin(tmp_path / "b", "vpg", "CartPole", 64, 6, TINY)
    other.agent.state = run.agent.state
    assert not np.array_equal(returns, runs.evaluate(other, 5).returns)


def test_evaluations_come_with_the_steps_asked_for(tmp_path):
    run = begin_vpg(tmp_path / "run", eval_every=40)
    runs.train(run)
    rows = records.read(run.folder / "evaluations.jsonl")
    assert [row["steps"] for row in rows] == [48, 80]
    assert list(rows[0]) == ["updates", "steps", "episodes", "mean_return", "mean_length", "std_return"]
    assert rows[0]["episodes"] == runs.EPISODES
    assert rows[0]["mean_return"] ** 2 + rows[0]["std_return"] ** 2 == pytest.approx(1.0)  # returns are ±1


def test_checkpoints_come_with_the_steps_asked_for(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(runs, "_save", lambda run: saved.append(run.agent.state.steps))
    runs.train(begin_vpg(tmp_path / "run"), checkpoint_every=40)
    assert saved == [48, 96, 96]  # the last one is that of the end


def test_the_lines_are_on_the_disk_before_the_checkpoint_that_counts_them(tmp_path, monkeypatch):
    order, save = [], Agent.save
    run = begin_vpg(tmp_path / "run", eval_every=32)
    monkeypatch.setattr(os, "fsync", lambda file: order.append(os.fstat(file).st_ino))
    monkeypatch.setattr(Agent, "save", lambda agent, path: order.append("save") or save(agent, path))
    runs.train(run, [after(1)])
    lines = [(run.folder / name).stat().st_ino for name in (runs.CSV, runs.JSONL, runs.EVALUATIONS)]
    assert order[:4] == [*lines, "save"]


def test_weights_that_overflow_end_the_run_before_them(tmp_path, monkeypatch):
    update = vpg.update

    def broken(task, config, state, work):
        state, evidence = update(task, config, state, work)
        return state._replace(weights=state.weights * (np.nan if state.updates == 3 else 1.0)), evidence

    monkeypatch.setattr(vpg, "update", broken)
    run = begin_vpg(tmp_path / "run")
    with pytest.raises(NonFiniteError, match="weights after update 3 must be finite"):
        runs.train(run, checkpoint_every=1)
    assert runs.open_run(run.folder).agent.state.updates == 2


def test_the_plan_holds_everything(tmp_path):
    run = runs.begin(tmp_path / "a/b", "Actor-Critic", "CartPole", 100, 7, {"hidden": (3, 2)}, 50)
    plan = plans.read(run.folder)
    assert plan == run.plan
    assert plan[:5] == ("actor_critic", "CartPole", 7, 100, 50)
    assert plan.settings["hidden"] == [3, 2]
    assert set(plan.versions) == {"pgref", "numpy", "python"}
    opened = runs.open_run(run.folder)
    assert opened.agent.config == run.agent.config
    assert np.array_equal(opened.agent.theta, run.agent.theta)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"eval_every": 0}, "eval_every must be a whole number of at least 1"),
        ({"algorithm": "dqn"}, "algorithm must be one of vpg, actor_critic"),
        ({"settings": {"stp": 1}}, "unknown setting 'stp'; there are activation"),
        ({"env": Episodic("Mine", action(), 7)}, "env must be a name or a Gymnasium id"),
    ],
)
def test_what_cannot_begin_leaves_no_folder(tmp_path, options, message):
    with pytest.raises(ArgumentError, match=message):
        begin_vpg(tmp_path / "run", **options)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_holds_something_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="must be a new or empty folder"):
        begin_vpg(tmp_path)
    with pytest.raises(ArgumentError, match="must be a new or empty folder"):
        begin_vpg(tmp_path / "mine.txt")
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_a_folder_with_what_a_killed_begin_leaves_is_new(tmp_path):
    leftover = tmp_path / ".config.json.0123456789abcdef.tmp"
    leftover.write_text("{")
    runs.train(begin_vpg(tmp_path))
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("steps", "expected", "message"),
    [
        (95, {}, "steps must be a whole number of at least 96, got 95"),
        (None, {"algorithm": "ppo"}, "algorithm must be 'vpg' as in the run .*run, got 'ppo'"),
        (None, {"env": "CartPole"}, "env must be 'ProbeMatch'"),
        (None, {"seed": 1}, "seed must be 0"),
        (None, {"eval_every": 3}, "eval_every must be None"),
        (None, {"hidden": (5,)}, r"hidden must be \[4\]"),
        (None, {"stp": 3}, "unknown setting 'stp'; there are activation"),
    ],
)
def test_another_plan_is_refused_on_resume(tmp_path, steps, expected, message):
    run = begin_vpg(tmp_path / "run")
    before = contents(run.folder)
    with pytest.raises(ArgumentError, match=message):
        runs.resume(run.folder, steps, expected)
    assert contents(run.folder) == before


def test_the_same_plan_is_accepted_on_resume(tmp_path):
    run = begin_vpg(tmp_path / "run")
    same = {"algorithm": "vpg", "env": "ProbeMatch", "seed": 0, "hidden": (4,), "n_envs": 2}
    assert runs.resume(run.folder, 96, same).plan == run.plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan | {"steps": 0}, "steps must be"),
        (lambda plan: plan | {"seed": "x"}, "seed must be"),
        (lambda plan: plan | {"eval_every": 1.5}, "eval_every must be"),
        (lambda plan: plan | {"algorithm": "dqn"}, "algorithm must be one of"),
        (lambda plan: plan | {"env": None}, "env must be a name, and settings an object"),
        (lambda plan: plan | {"settings": []}, "env must be a name, and settings an object"),
        (lambda plan: plan | {"more": 1}, "unexpected keyword argument 'more'"),
        (lambda plan: {}, "missing 7 required"),
        (lambda plan: [], "must be a mapping"),
        (lambda plan: plan | {"settings": {"step": -1}}, "step must be positive"),
    ],
)
def test_a_damaged_plan_is_named(tmp_path, change, message):
    run = begin_vpg(tmp_path / "run")
    path = run.folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DataFileError, match=message):
        runs.open_run(run.folder)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_a_plan_that_is_no_json_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataFileError, match=r"config\.json: "):
        plans.read(tmp_path)


def test_no_plan_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        runs.open_run(tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        VPG("ProbeMatch", rng=0, **TINY | {"hidden": [5]}),
        VPG("ProbeAction", rng=0, **TINY | MORE["vpg"]),
        PPO("ProbeMatch", rng=0, **TINY),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, other):
    run = begin_vpg(tmp_path / "run")
    other.save(run.folder / "checkpoint.npz")
    with pytest.raises(DataFileError, match=r"checkpoint\.npz: must belong to the run of the config\.json"):
        runs.open_run(run.folder)


def test_a_damaged_checkpoint_is_named(tmp_path):
    run = begin_vpg(tmp_path / "run")
    (run.folder / "checkpoint.npz").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz"):
        runs.resume(run.folder)


def test_runs_that_differ_in_seeds_are_one_group(tmp_path):
    for name, options in {
        "a": {},
        "b": {"seed": 1},
        "c": {"steps": 200},
        "d": {"settings": TINY | {"step": 0.5}},
        "e": {"env": "ProbeAction"},
    }.items():
        runs.train(begin_vpg(tmp_path / name, **options), [after(2)])
    shutil.copytree(tmp_path / "e", tmp_path / "f")
    folders = [tmp_path / name for name in "abcdef"] + [tmp_path / "d" / ".." / "a"]
    groups = plans.grouped(folders)
    step, critic = begin_vpg(tmp_path / "x").plan.settings["step"], MORE["vpg"]["critic_epochs"]
    usual = VPG("ProbeMatch").config.critic_epochs
    assert {label: len(rows) for label, rows in groups.items()} == {
        f"vpg ProbeMatch critic_epochs={critic} step={step}": 3,
        f"vpg ProbeMatch critic_epochs={usual} step=0.5": 1,
        "vpg ProbeAction": 2,
    }
    assert groups["vpg ProbeAction"][0] == records.read(tmp_path / "e" / "records.csv")


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("PPO", "ppo"), ("a2c", "a2c"), ("ActorCritic", "actor_critic"), ("actor-critic", "actor_critic")],
)
def test_algorithms_are_found_by_any_usual_spelling(name, algorithm):
    assert plans.agent_class(name).algorithm == algorithm
