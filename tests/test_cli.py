"""The command, from a user's side: output, files, exit status, errors."""

import io
import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest

from pgref import book, cli
from pgref.checks import vanilla
from pgref.checks.finding import at_most

RANDOM = np.random.default_rng(5)


def run(*arguments, **options):
    command = [sys.executable, "-m", "pgref.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, **options)


@pytest.fixture
def files(tmp_path):
    """An MDP and two policies, as a user would write them."""
    rows = RANDOM.dirichlet(np.ones(3), (3, 2)).tolist()
    mdp = {"transitions": rows, "rewards": [[1, 0], [0, 2], [0.5, 0.5]], "start": [1, 0, 0], "discount": 0.9}
    (tmp_path / "mdp.json").write_text(json.dumps(mdp))
    (tmp_path / "old.json").write_text(json.dumps({"policy": [[0.5, 0.5]] * 3}))
    np.save(tmp_path / "new.npy", np.array([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1]]))
    return [str(tmp_path / name) for name in ("mdp.json", "old.json", "new.npy")]


def test_verify_prints_a_table_and_exits_0(capsys):
    assert cli.main(["verify", "--only", "5.17,I-26", "--mdps", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["item", "number", "statement"]
    assert [line.split()[0] for line in lines[1:3]] == ["I-13", "I-26"]
    assert "✓" in lines[1]
    assert re.fullmatch(r"2/2 items hold, \d+ findings, .* seconds", lines[-1])


def test_verify_in_chinese(capsys):
    assert cli.main(["verify", "--only", "5.17", "--mdps", "4", "--lang", "zh"]) == 0
    out = capsys.readouterr().out
    assert "策略空间" in out
    assert "有条件成立" in out
    assert "1/1 个条目成立" in out


def test_a_failing_item_is_shown_and_exits_1(capsys, monkeypatch):
    monkeypatch.setattr(
        vanilla, "policy_space", lambda rng, mdps: [at_most("fine", 0, 1), at_most("off", 2, 1)]
    )
    assert cli.main(["verify", "--only", "5.17"]) == 1
    out = capsys.readouterr().out
    assert "✗ off: 2 ≤ 1" in out
    assert "0/1 items hold" in out


def test_an_item_without_findings_fails(capsys, monkeypatch):
    monkeypatch.setattr(vanilla, "policy_space", lambda rng, mdps: [])
    assert cli.main(["verify", "--only", "5.17"]) == 1
    assert "✗ nothing measured" in capsys.readouterr().out


def test_json_holds_everything_measured(tmp_path, capsys, monkeypatch):
    findings = [at_most("nan", float("nan"), 1), at_most("inf", float("inf"), 1)]
    monkeypatch.setattr(vanilla, "policy_space", lambda rng, mdps: findings)
    path = tmp_path / "report.json"
    assert cli.main(["verify", "--only", "5.17", "--mdps", "7", "--rng", "9", "--json", str(path)]) == 1
    record = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (record["ok"], record["mdps"], record["rng"]) == (False, 7, 9)
    assert record["items"][0]["id"] == "I-13"
    assert [f["value"] for f in record["items"][0]["findings"]] == ["nan", "inf"]
    assert set(record["versions"]) == {"pgref", "numpy", "python"}


def test_the_seed_decides_the_numbers(capsys):
    outputs = []
    for seed in ("1", "1", "2"):
        cli.main(["verify", "--only", "5.15", "--mdps", "4", "--rng", seed])
        outputs.append(capsys.readouterr().out.splitlines()[1])
    assert outputs[0] == outputs[1] != outputs[2]


def test_show_has_formula_verdict_code_and_numbers(capsys):
    assert cli.main(["show", "(5.29)"]) == 0
    out = capsys.readouterr().out
    for part in (
        "√(2δ / gᵀH⁺g) H⁺g",
        "verdict: erratum",
        "printed: constraint",
        "exact.py:",
        "half=False",
        "✓",
    ):
        assert part in out
    assert cli.main(["show", "I-13", "--lang", "zh"]) == 0
    assert "结论: 有条件成立" in capsys.readouterr().out


def test_list_has_every_item(capsys):
    assert cli.main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [i.id for i in book.items()]


def test_own_mdp(files, tmp_path, capsys):
    mdp, old, new = files
    path = tmp_path / "own.json"
    arguments = ["verify", "--mdp", mdp, "--policy", old, "--new-policy", new, "--json", str(path)]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    for part in (
        "V = [",
        "A = [[",
        "ρ = [",
        "KL = [",
        "J(π) = ",
        "J(π′) = ",
        "bound printed",
        "bound used, chain",
    ):
        assert part in out
    assert "✗" not in out
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["ok"]
    assert record["bound chain"] <= record["bound pinsker"] <= record["bound printed"]


def test_own_mdp_with_one_policy(files, capsys):
    assert cli.main(["verify", "--mdp", files[0], "--policy", files[1]]) == 0
    assert "J(π′)" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "--only", "5.99"], "got '5.99'"),
        (["verify", "--mdps", "0"], "--mdps must be a whole number of at least 1, got 0"),
        (["verify", "--rng", "-1"], "--rng must be a whole number of at least 0, got -1"),
        (["verify", "--policy", "p.json"], "need --mdp"),
        (["verify", "--mdp", "m.json"], "--mdp needs --policy"),
        (["verify", "--mdp", "m.json", "--policy", "p.json", "--only", "5.18"], "do not go with --mdp"),
        (["verify", "--mdp", "/nowhere.json", "--policy", "p.json"], "nowhere.json"),
        (["show", "nothing"], "got 'nothing'"),
        (
            ["verify", "--only", "5.17", "--mdps", "1", "--json", "/nowhere/report.json"],
            "/nowhere/report.json",
        ),
    ],
)
def test_unusable_input_exits_2_with_one_line(arguments, message, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("pgref: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_policy_of_another_size_is_named(files, tmp_path, capsys):
    np.save(tmp_path / "wide.npy", np.full((3, 4), 0.25))
    assert cli.main(["verify", "--mdp", files[0], "--policy", str(tmp_path / "wide.npy")]) == 2
    assert "must have shape (3, 2), got (3, 4)" in capsys.readouterr().err


def test_argparse_errors_exit_2():
    with pytest.raises(SystemExit, match="2"):
        cli.main(["verify", "--lang", "fr"])


def test_as_a_process_in_a_pipe_no_progress_and_ascii_safe():
    done = run("verify", "--only", "5.17", "--mdps", "2", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\033" not in done.stdout


def test_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m pgref.cli list | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_progress_on_a_terminal():
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "pgref.cli", "verify", "--only", "5.17", "--mdps", "2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, check=False)
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert done.returncode == 0
    assert "[1/1] I-13" in shown


def test_the_command_limits_blas_threads_before_numpy_loads():
    code = (
        "import os, sys, pgref.cli as c; assert 'numpy' not in sys.modules; c.main(['list']);"
        "assert os.environ['OPENBLAS_NUM_THREADS'] == '1'"
    )
    env = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=env)


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("pgref 0.")


def test_markdown_tables(capsys, monkeypatch):
    rows = tuple(book.find(key)[0] for key in ("5.14", "5.29"))
    monkeypatch.setattr(book, "items", lambda: rows)
    assert cli.main(["list", "--markdown"]) == 0
    items, errata = capsys.readouterr().out.split("\n\n")
    assert [line.split(" | ")[0] for line in items.splitlines()[2:]] == ["| I-9", "| I-26"]
    assert [line.split(" | ")[0] for line in errata.splitlines()[2:]] == ["| I-26"]
    assert "ΔᵀHΔ/δ of the printed solution; its constraint allows 1: 2" in errata


def test_show_without_a_note(capsys):
    assert cli.main(["show", "I-4"]) == 0
    out = capsys.readouterr().out
    assert "note" not in out.split("pgref.worker")[0]
    assert "printed" not in out.split("pgref.worker")[0]


def test_own_mdp_with_an_infinite_divergence(files, tmp_path, capsys):
    np.save(tmp_path / "greedy.npy", np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]))
    assert (
        cli.main(
            ["verify", "--mdp", files[0], "--policy", files[1], "--new-policy", str(tmp_path / "greedy.npy")]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "bound chain = inf" in out
    assert "bound used, total_variation" in out
    assert "bound used, chain" not in out


def test_progress_and_closed_pipes_inside_one_process(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["verify", "--only", "5.17", "--mdps", "1"]) == 0
    assert "[1/1] I-13" in capsys.readouterr().err

    with open(tmp_path / "out", "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(cli, "list_items", lambda arguments: (_ for _ in ()).throw(BrokenPipeError))
        assert cli.main(["list"]) == 1


def test_thorough_draws_more(capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        vanilla, "policy_space", lambda rng, mdps: drawn.append(mdps) or [at_most("fine", 0, 1)]
    )
    for arguments in ([], ["--thorough"], ["--thorough", "--mdps", "5"]):
        assert cli.main(["verify", "--only", "5.17", *arguments]) == 0
    assert drawn == [cli.DEFAULT_MDPS, cli.THOROUGH_MDPS, 5]


def test_a_stream_that_cannot_be_reconfigured(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["list"]) == 0
    assert stream.getvalue().startswith("I-1")
