"""The commands of training, from a user's side: output, files, exit status, errors."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pgref import cli, figures, plans, presets, records, runs
from pgref.agent import AGENTS, PPO, Agent
from pgref.algorithms import vpg
from pgref.envs import names
from pgref.errors import NonFiniteError

SMALL = ("-p", "hidden=[4]", "--n-envs", "2", "-p", "n_steps=8", "-p", "critic_epochs=1")
ROOT = Path(__file__).parent.parent
LONG = ("--steps", "2400", *SMALL)  # 150 updates


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def train(*arguments):
    return cli.main(["train", "vpg", "ProbeMatch", *SMALL, *arguments])


@pytest.fixture
def start():
    """Return the function that starts a process that trains; all of them end with the test."""
    processes = []

    def started(*arguments):
        command = [sys.executable, "-m", "pgref.cli", "train", "VPG", "ProbeMatch", *arguments]
        environment, pipe = {**os.environ, "PYTHONPATH": str(ROOT)}, subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_lines(path, n):
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < n:
        assert time.monotonic() < deadline, "no lines were written"
        time.sleep(0.001)


def test_train_writes_a_run_and_one_line(tmp_path, capsys):
    assert train("--steps", "60", "--eval-every", "20") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.fullmatch(
        r"vpg on ProbeMatch: 64 steps, 4 updates, \d+\.\d s, \d+ steps/s; mean return -?[\d.]+ of the last "
        r"100 episodes, -?[\d.]+ of 100 in evaluation; runs/vpg-ProbeMatch-0\n",
        out,
    )
    folder = tmp_path / "runs" / "vpg-ProbeMatch-0"
    assert set(contents(folder)) == {
        "config.json",
        "records.csv",
        "records.jsonl",
        "evaluations.jsonl",
        "checkpoint.npz",
    }
    rows = records.read(folder / "records.csv")
    assert float(re.search(r"mean return (\S+)", out)[1]) == pytest.approx(
        np.average([r["mean_return"] for r in rows], weights=[r["episodes"] for r in rows]), abs=1e-3
    )


def test_a_run_of_no_finished_episode_says_so(capsys):
    assert cli.main(["train", "vpg", "LQR", *SMALL, "--steps", "10"]) == 0
    assert "mean return nan of the last 100 episodes" in capsys.readouterr().out


def test_quiet_prints_nothing(tmp_path, capsys):
    assert train("--steps", "10", "--quiet", "--out", "a/b") == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "a" / "b" / "checkpoint.npz").exists()


def test_on_a_terminal_there_is_a_line_of_progress(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setitem(sys.modules, "tqdm", None)
        assert train("--steps", "40") == 0
    assert re.search(r"40/40 steps, \d+ steps/s, return \S+\n$", terminal.getvalue())


def test_the_same_seed_gives_the_same_files(tmp_path):
    for folder, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        train("--steps", "40", "--seed", seed, "--out", folder, "--quiet")
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a["records.jsonl"] != c["records.jsonl"]


def test_settings_come_from_flags_over_p_over_a_file_over_the_tuned_ones(tmp_path):
    config = tmp_path / "mine.json"
    config.write_text(json.dumps({"step": 0.5, "trace": 0.25, "n_envs": 9, "n_steps": 9}))
    words = ("trace=1", "optimizer=sgd", "baseline=False", "anneal_over=null", "max_norm=None")
    known = vpg.Config.__dataclass_fields__
    pairs = [part for word in words if word.split("=")[0] in known for part in ("-p", word)]
    assert len(pairs) >= 6
    assert train("--config", "mine.json", *pairs, "--steps", "9", "--quiet") == 0
    plan = plans.read("runs/vpg-ProbeMatch-0")
    expected = {"step": 0.5, "trace": 1, "n_envs": 2, "n_steps": 8, "hidden": [4], "optimizer": "sgd"}
    assert {name: plan.settings[name] for name in expected} == expected
    assert plan.settings["anneal_over"] is None
    assert plan.settings["normalise_advantages"] is True  # tuned


def test_a_preset_gives_settings_and_steps_under_those_that_are_given(monkeypatch, capsys):
    row = {("vpg", "ProbeMatch"): presets.Preset({"n_steps": 4, "trace": 0.5}, 30)}
    monkeypatch.setitem(presets.NAMED, "short", row)
    small = ("-p", "hidden=[4]", "-p", "n_envs=2", "--quiet", "--preset", "short")
    command = ["train", "vpg", "ProbeMatch", *small]
    assert cli.main([*command, "--out", "a"]) == 0
    plan = plans.read("a")
    assert (plan.steps, plan.settings["n_steps"], plan.settings["trace"]) == (30, 4, 0.5)
    assert cli.main([*command, "--out", "b", "--steps", "16", "-p", "n_steps=8"]) == 0
    plan = plans.read("b")
    assert (plan.steps, plan.settings["n_steps"], plan.settings["trace"]) == (16, 8, 0.5)
    assert cli.main([*command, "--out", "a", "--resume", "--steps", "40"]) == 0
    assert runs.open_run("a").agent.state.steps == 40
    assert cli.main([*command, "--out", "b", "--resume"]) == 2
    assert "n_steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "slow"], "preset must be one of fast, got 'slow'"),
        (["--preset", "fast"], "preset fast is there for"),
        (["-p", "stp=1"], "unknown setting 'stp'; there are activation, anneal_over"),
        (["-p", "step"], "-p must be given KEY=VALUE, got 'step'"),
        (["-p", "step=-1"], "step must be positive and finite, got -1"),
        (["-p", "step=1e-3x"], "step must be positive and finite, got '1e-3x'"),
        (["-p", "normalise_obs=yes"], "normalise_obs must be True or False, got 'yes'"),
        (["--steps", "0"], "steps must be a whole number of at least 1, got 0"),
        (["--seed", "-1"], "seed must be a whole number of at least 0, got -1"),
        (["--eval-every", "0"], "eval_every must be"),
        (["--n-envs", "0"], "n_envs must be"),
        (["--config", "none.json"], "none.json"),
        (["--config", "bad.json"], "bad.json: must hold an object of settings"),
        (["--config", "list.json"], "list.json: must hold an object of settings"),
        (["--config", "deep.json"], "deep.json: must hold an object of settings"),
    ],
)
def test_what_cannot_be_used_is_said_and_leaves_nothing(tmp_path, capsys, arguments, message):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text('[["step", 1]]')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert train(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_checkpoint_every_must_be_a_count(capsys):
    assert train("--checkpoint-every", "0", "--steps", "20") == 2
    assert "checkpoint_every must be" in capsys.readouterr().err


def test_unknown_algorithms_and_environments_are_said(tmp_path, capsys, monkeypatch):
    assert cli.main(["train", "dqn", "CartPole"]) == 2
    assert "algorithm must be one of vpg, actor_critic, a2c" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    assert cli.main(["train", "vpg", "CartPole-v1"]) == 2
    assert 'pip install "pgref[gym]"' in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_an_existing_folder_is_refused_without_resume(tmp_path, capsys):
    train("--steps", "20", "--quiet")
    before = contents(tmp_path / "runs" / "vpg-ProbeMatch-0")
    assert train("--steps", "20") == 2
    assert "must be a new or empty folder" in capsys.readouterr().err
    assert contents(tmp_path / "runs" / "vpg-ProbeMatch-0") == before


def test_resume_begins_goes_on_and_extends(tmp_path, capsys):
    train("--steps", "96", "--out", "whole", "--quiet", "--seed", "3", "--eval-every", "40")
    assert train("--steps", "40", "--seed", "3", "--eval-every", "40", "--out", "run", "--resume") == 0
    assert train("--out", "run", "--resume", "--steps", "96") == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert train("--out", "run", "--resume") == 0
    assert "96 steps, 6 updates" in capsys.readouterr().out.splitlines()[-1]
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ppo", "ProbeMatch"], "algorithm must be 'vpg' as in the run run, got 'ppo'"),
        (["vpg", "CartPole"], "env must be 'ProbeMatch' as in the run run, got 'CartPole'"),
        (["vpg", "ProbeMatch", "--seed", "1"], "seed must be 0"),
        (["vpg", "ProbeMatch", "--eval-every", "1"], "eval_every must be None"),
        (["vpg", "ProbeMatch", "-p", "step=3"], "step must be"),
        (["vpg", "ProbeMatch", "--steps", "5"], "steps must be a whole number of at least 20"),
    ],
)
def test_resume_refuses_another_run(tmp_path, capsys, arguments, message):
    train("--steps", "20", "--out", "run", "--quiet")
    before = contents(tmp_path / "run")
    assert cli.main(["train", *arguments, "--out", "run", "--resume"]) == 2
    assert message in capsys.readouterr().err
    assert contents(tmp_path / "run") == before


def test_resume_in_a_folder_without_a_run_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert train("--out", ".", "--resume") == 2
    assert "config.json" in capsys.readouterr().err


def test_an_environment_that_cannot_be_saved_is_said_to_begin_anew(capsys, monkeypatch):
    train("--steps", "20")
    monkeypatch.setattr(Agent, "resumable", False)
    assert train("--steps", "40", "--resume") == 0
    out, err = capsys.readouterr()
    assert err == "pgref: ProbeMatch cannot be saved, it goes on with new episodes\n"
    assert "48 steps, 3 updates" in out
    assert train("--steps", "60", "--resume", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_ids_with_slashes_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(names.TABLE, "a/b:C-v0", names.TABLE["ProbeMatch"])
    assert cli.main(["train", "vpg", "a/b:C-v0", *SMALL, "--steps", "9", "--quiet", "--seed", "4"]) == 0
    assert os.listdir(tmp_path / "runs") == ["vpg-a_b_C-v0-4"]


def test_tensorboard_gets_every_update(monkeypatch):
    seen = []

    class Fake(io.StringIO):
        def __init__(self, folder):
            super().__init__()
            seen.append(str(folder))

        def __call__(self, update):
            seen.append(update.steps)

    monkeypatch.setattr(records, "TensorBoard", Fake)
    assert train("--steps", "40", "--tensorboard", "--out", "x", "--checkpoint-every", "20") == 0
    assert seen == [os.path.join("x", "tensorboard"), 16, 32, 48]


def test_training_that_diverges_exits_2_and_keeps_what_was_finite(capsys, monkeypatch):
    update = vpg.update

    def broken(task, config, state, work):
        if state.updates == 2:
            raise NonFiniteError("rewards must be finite, got nan")
        return update(task, config, state, work)

    monkeypatch.setattr(vpg, "update", broken)
    assert train("--out", "run") == 2
    assert capsys.readouterr().err == "pgref: rewards must be finite, got nan\n"
    assert runs.open_run("run").agent.state.updates == 2


def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(tmp_path, capsys, monkeypatch):
    update = vpg.update

    def stopped(task, config, state, work):
        if state.updates == 3:
            raise KeyboardInterrupt
        return update(task, config, state, work)

    with monkeypatch.context() as patch:
        patch.setattr(vpg, "update", stopped)
        assert train("--steps", "96", "--out", "my run") == 130
    told = "pgref: stopped after 48 steps; to go on: pgref train vpg ProbeMatch --out 'my run' --resume\n"
    assert capsys.readouterr() == ("", told)
    assert cli.main(shlex.split(told.split("to go on: pgref ")[1])) == 0
    train("--steps", "96", "--out", "whole")
    assert contents(tmp_path / "my run") == contents(tmp_path / "whole")


def test_a_real_ctrl_c_leaves_a_whole_run(tmp_path, start):
    process = start("--steps", "10000000", *SMALL, "--out", "run")
    wait_for_lines(tmp_path / "run" / "records.jsonl", 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch("pgref: stopped after [0-9]+ steps; to go on: pgref train .* --resume\n", err)
    run = runs.open_run("run")
    state = run.agent.state
    runs.train(run, [lambda update: True])  # one more update, and the lines cut where they must be
    assert [row["updates"] for row in records.read("run/records.csv")] == list(range(1, state.updates + 2))


def test_ctrl_c_elsewhere_exits_130(capsys, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "open_run", stopped)
    assert cli.main(["eval", "x"]) == 130
    assert capsys.readouterr().err == "pgref: interrupted\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_run_killed_at_random_instants_ends_with_the_same_files(tmp_path, start):
    options = (*LONG, "--eval-every", "300", "--checkpoint-every", "200")
    draw = np.random.default_rng()
    instants = draw.integers(1, 100), draw.uniform(0.0, 0.2)
    for n, later in [(1, 0.0), instants]:
        process = start(*options, "--out", "run", "--resume")
        wait_for_lines(tmp_path / "run" / "records.jsonl", n)
        time.sleep(later)
        process.kill()
        process.communicate()
    assert cli.main(["train", "vpg", "ProbeMatch", *options, "--out", "run", "--resume", "--quiet"]) == 0
    assert cli.main(["train", "vpg", "ProbeMatch", *options, "--out", "whole", "--quiet"]) == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole"), f"killed at {instants}"


def test_eval_of_a_run_and_of_an_agents_file(capsys):
    train("--steps", "20", "--out", "run", "--quiet")
    assert cli.main(["eval", "run", "--episodes", "5", "--seed", "3"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(
        "vpg on ProbeMatch after 32 steps, likeliest actions, 5 episodes of seed 3: return "
    )
    done = runs.open_run("run").agent.evaluate(5, rng=3)
    assert f"return {done.mean:.6g} ± {done.std:.4g}, from {done.returns.min():.6g}" in line
    assert "length 1, from 1 to 1" in line
    assert cli.main(["eval", "run/checkpoint.npz", "--episodes", "5", "--seed", "3", "--deterministic"]) == 0
    assert capsys.readouterr().out == line


def test_eval_samples_on_request(tmp_path, capsys):
    PPO("CartPole", rng=0, hidden=[4]).save("agent.npz")
    assert cli.main(["eval", "agent.npz", "--stochastic", "--episodes", "8"]) == 0
    assert "sampled actions, 8 episodes" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        cli.main(["eval", "agent.npz", "--stochastic", "--deterministic"])


@pytest.mark.parametrize(("run", "message"), [("none", "config.json"), ("bad.npz", "bad.npz")])
def test_eval_of_what_is_no_run(tmp_path, capsys, run, message):
    (tmp_path / "bad.npz").write_text("x")
    assert cli.main(["eval", run]) == 2
    assert message in capsys.readouterr().err


def test_plot_draws_a_group_for_each_algorithm(tmp_path, capsys, monkeypatch):
    for seed in "01":
        train("--steps", "20", "--seed", seed, "--quiet")
    drawn = []

    def fake(groups):
        drawn.append(groups)

        def save(file, *, format, **options):
            file.write(format.encode())

        return SimpleNamespace(figure=SimpleNamespace(savefig=save))

    monkeypatch.setattr(figures, "learning_curves", fake)
    monkeypatch.setenv("MPLBACKEND", "agg")
    folders = [f"runs/vpg-ProbeMatch-{seed}" for seed in "01"]
    assert cli.main(["plot", *folders, "--out", "x.svg"]) == 0
    assert (tmp_path / "x.svg").read_bytes() == b"svg"
    assert capsys.readouterr().out == "x.svg: vpg ProbeMatch (2)\n"
    assert drawn[0]["vpg ProbeMatch"] == [records.read(f"{folder}/records.csv") for folder in folders]


def test_plot_without_matplotlib_says_what_to_install(tmp_path, capsys, monkeypatch):
    train("--steps", "20", "--quiet")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert cli.main(["plot", "runs/vpg-ProbeMatch-0"]) == 2
    assert 'pip install "pgref[plot]"' in capsys.readouterr().err
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["none"], "config.json"), (["none", "--out", "x.xyz"], "--out must end in one of .png, .svg, .pdf")],
)
def test_plot_of_what_cannot_be_drawn(capsys, monkeypatch, arguments, message):
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert cli.main(["plot", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_envs_has_a_line_for_each_name(capsys):
    assert cli.main(["envs"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "observations", "actions", "time", "limit"]
    assert [line.split()[0] for line in lines] == names.names()
    assert lines[0].split()[1:4] == ["Box(4)", "Discrete(2)", "500"]
    assert all(len(line.split()) > 6 for line in lines)


def test_algos_has_a_line_for_each_algorithm(capsys):
    assert cli.main(["algos"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(AGENTS)


@pytest.mark.parametrize("algorithm", AGENTS)
def test_algos_shows_every_knob_of_an_algorithm(capsys, algorithm):
    assert cli.main(["algos", algorithm]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["setting", "default", "tuned", "for", "*", "unit", "meaning", "source"]
    fields = AGENTS[algorithm]("ProbeAction", rng=0).config.__dataclass_fields__
    assert [line.split()[0] for line in lines] == list(fields)


def test_algos_shows_what_is_tuned_for_an_environment(capsys, monkeypatch):
    monkeypatch.setitem(presets.TABLE, ("ppo", "CartPole"), {"step": 0.125, "hidden": (3, 2)})
    assert cli.main(["algos", "PPO", "--env", "CartPole"]) == 0
    out = capsys.readouterr().out
    assert "tuned for CartPole" in out
    assert re.search(r"^step +0\.0003 +0\.125 +η_θ", out, re.MULTILINE)
    assert re.search(r"^hidden +\[64, 64\] +\[3, 2\]", out, re.MULTILINE)
    assert re.search(r"^anneal_over +null +steps", out, re.MULTILINE)
    assert re.search(r"^max_norm +null +0\.5 +longest", out, re.MULTILINE)


def test_the_parser_loads_no_numpy():
    script = "import sys, pgref.cli as c; c._parser(); print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
