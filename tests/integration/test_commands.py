"""The commands with the packages that are optional: Gymnasium, matplotlib, tensorboardX."""

from pathlib import Path

import pytest

from pgref import cli, records, runs

pytestmark = pytest.mark.integration

SMALL = ("-p", "hidden=[4]", "--n-envs", "2", "-p", "n_steps=8", "-p", "critic_epochs=1", "--quiet")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def train(env, *arguments):
    return cli.main(["train", "vpg", env, *SMALL, *arguments])


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot_writes_a_picture(peer, monkeypatch, capsys, suffix, start):
    peer("matplotlib").use("agg")
    monkeypatch.setenv("MPLBACKEND", "agg")
    for seed in "01":
        train("ProbeMatch", "--steps", "200", "--seed", seed)
    folders = [f"runs/vpg-ProbeMatch-{seed}" for seed in "01"]
    assert cli.main(["plot", *folders, "--out", f"curves.{suffix}"]) == 0
    assert Path(f"curves.{suffix}").read_bytes().startswith(start)
    assert capsys.readouterr().out == f"curves.{suffix}: vpg ProbeMatch (2)\n"
    peer("matplotlib.pyplot").close("all")


def test_a_run_without_a_finished_episode_cannot_be_drawn(peer, monkeypatch, capsys):
    peer("matplotlib").use("agg")
    monkeypatch.setenv("MPLBACKEND", "agg")
    train("LQR", "--steps", "16")
    assert cli.main(["plot", "runs/vpg-LQR-0"]) == 2
    assert "runs['vpg LQR'] must have a finished episode" in capsys.readouterr().err


def test_tensorboard_gets_every_update(peer):
    peer("tensorboardX")
    assert train("ProbeMatch", "--steps", "64", "--tensorboard", "--out", "run") == 0
    (events,) = Path("run/tensorboard").iterdir()
    assert events.read_bytes().count(b"mean_return") == 4


def test_a_gymnasium_environment_goes_on_with_new_episodes(peer, capsys):
    peer("gymnasium")
    assert train("CartPole-v1", "--steps", "64", "--eval-every", "32") == 0
    folder = Path("runs/vpg-CartPole-v1-0")
    agent = runs.open_run(folder).agent
    runner = agent.state.runner
    assert not agent.resumable
    assert not runner.returns.any()
    assert (abs(runner.obs) <= 0.05).all()  # where CartPole starts
    assert runner.clock == 32
    resumed = [argument for argument in SMALL if argument != "--quiet"]
    assert cli.main(["train", "vpg", "CartPole-v1", *resumed, "--steps", "128", "--resume"]) == 0
    out, err = capsys.readouterr()
    assert err == "pgref: CartPole-v1 cannot be saved, it goes on with new episodes\n"
    assert out.startswith("vpg on CartPole-v1: 128 steps, 8 updates")
    assert [row["updates"] for row in records.read(folder / "records.jsonl")] == list(range(1, 9))
    assert [row["steps"] for row in records.read(folder / "evaluations.jsonl")] == [32, 64, 96, 128]


@pytest.mark.parametrize("env", ["Cartpole", "CartPole-v9", "none/CartPole-v1"])
def test_an_id_that_gymnasium_does_not_know_is_said(peer, capsys, env):
    peer("gymnasium")
    assert train(env) == 2
    err = capsys.readouterr().err
    assert err.startswith("pgref: env must be one of CartPole, Pendulum")
    assert repr(env) in err
    assert not Path("runs").exists()
