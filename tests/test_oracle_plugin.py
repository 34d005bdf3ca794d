"""The oracle from outside: a file's functions by name, the command, and pytest's plugin."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgref import cli_oracle
from pgref.errors import ArgumentError, DataFileError
from pgref.oracle import families, files, plugin

ROOT = Path(__file__).parent.parent
LIBRARY = """
import numpy as np

def n_step_returns(rewards, next_values, terminated, truncated, discount, n):
    raise NotImplementedError("later")
"""
CODE = """
import numpy as np
from beside import n_step_returns

LIMIT = 3

def value_loss(values, targets):
    return np.mean((values - targets) ** 2)

def helper(x):
    return x

def half(values, targets) -> "value_loss":
    return np.mean((values - targets) ** 2) / 2

def errors_batch_major(r, v, n, end, discount) -> "td_errors, layout=batch, dtype=float64, draws=40":
    return r + discount * n * ~end - v

def mean(log_probs, advantages) -> "policy_gradient_loss, reduction=mean":
    return -np.mean(log_probs * advantages)

def ppo_loss(log_probs, old_log_probs, advantages, clip) -> float:
    ratio = np.exp(log_probs - old_log_probs)
    return -np.mean(np.clip(ratio, 1 - clip, 1 + clip) * advantages)

if __name__ == "__main__":
    raise SystemExit("it must not start")
"""


@pytest.fixture
def code(tmp_path):
    (tmp_path / "beside.py").write_text(LIBRARY, "utf-8")
    path = tmp_path / "mine.py"
    path.write_text(CODE, "utf-8")
    yield path
    sys.modules.pop("beside", None)


def test_functions_are_checked_by_their_names_and_annotations(code):
    path = list(sys.path)
    checked = files.check_file(code)
    assert sys.path == path
    found = {name: (r.component, r.verdict, r.cases) for name, r in checked}
    assert found == {
        "n_step_returns": ("n_step_returns", "failed", 32),
        "value_loss": ("value_loss", "equal", 32),
        "half": ("value_loss", "deviation", 32),
        "errors_batch_major": ("td_errors", "equal", 40),
        "mean": ("policy_gradient_loss", "equal", 32),
        "ppo_loss": ("ppo_loss", "deviation", 32),
    }
    named = {name: r.deviation.name for name, r in checked if r.deviation}
    assert named == {"half": "half", "ppo_loss": "clipped_only"}


def test_annotations_may_be_postponed(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\n"
        "def mse(v, g) -> value_loss: return ((v - g) ** 2).mean()\n"
        "def also(v, g) -> 'value_loss, seed=3': return ((v - g) ** 2).mean()\n"
        "class value_loss: pass\n"
        "def value_loss_grad(v, g) -> np.ndarray: return 2 * (v - g) / len(v)\n",
        "utf-8",
    )
    assert [(name, r.ok) for name, r in files.check_file(str(path))] == [
        ("mse", True),
        ("also", True),
        ("value_loss", False),
        ("value_loss_grad", True),
    ]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x = 1\n", DataFileError, r".*mine\.py: no function has the name of a check: gae, .*"),
        ("x = \n", DataFileError, r".*mine\.py cannot be run: SyntaxError: .*"),
        ("import nothing_of_that_name\n", DataFileError, r".* cannot be run: ModuleNotFoundError: .*"),
        ("raise SystemExit(1)\n", DataFileError, r".*mine\.py cannot be run: SystemExit: 1"),
        ("def f(v, g) -> 'value_loss, layout=rows': 0\n", ArgumentError, "layout must be 'time' or .*"),
        ("def f(v, g) -> 'value_loss, reduction=sum': 0\n", ArgumentError, "f: .*unexpected keyword.*"),
        ("def f(v, g) -> 'value_loss, =': 0\n", ArgumentError, "f: .*unexpected keyword.*"),
    ],
)
def test_a_file_or_an_option_that_cannot_be_used_is_named(tmp_path, text, error, message):
    path = tmp_path / "mine.py"
    path.write_text(text, "utf-8")
    with pytest.raises(error, match=rf"(?s)^{message}$"):
        files.check_file(path)


def test_no_such_file_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.check_file(tmp_path / "none.py")


# ---- the command


def command(*arguments):
    parser = argparse.ArgumentParser()
    cli_oracle.add(parser.add_subparsers())
    parsed = parser.parse_args(["oracle", *map(str, arguments)])
    return parsed.run(parsed)


def test_the_command_prints_every_report_and_writes_them(code, tmp_path, capsys):
    assert command(code, "--json", tmp_path / "reports.json") == 1
    printed = capsys.readouterr().out
    assert "half()\nvalue_loss: DEVIATION. It has a factor ½.\n" in printed
    assert printed.endswith("\n3 of 6 functions compute what they should\n")
    record = json.loads((tmp_path / "reports.json").read_text("utf-8"))
    assert (record["ok"], len(record["reports"])) == (False, 6)
    assert set(record["versions"]) == {"pgref", "numpy", "python"}
    assert record["reports"][0]["function"] == "n_step_returns"


def test_the_command_returns_0_if_all_is_right(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("def value_loss(v, g): return ((v - g) ** 2).mean()\n", "utf-8")
    assert command(path) == 0
    assert capsys.readouterr().out.endswith("1 of 1 functions compute what they should\n")


def test_without_a_file_the_command_lists_what_can_be_checked(capsys):
    assert command() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == families.check_names()
    assert all("function(" in line for line in lines[1::2])


# ---- the plugin

TESTS = """
import numpy as np

def test_right(oracle):
    assert oracle.value_loss(lambda v, g: np.mean((v - g) ** 2)).ok

def test_wrong(oracle):
    assert oracle.value_loss(lambda v, g: np.mean((v - g) ** 2) / 2).ok

def test_twice_and_others(oracle):
    assert oracle.Report.__name__ == "Report"
    reports = [oracle.value_loss(f) for f in (lambda v, g: 0.0, lambda v, g: 1 / 0)]
    assert [report.verdict for report in reports] == ["different", "failed"]
"""


def session(folder, *arguments):
    """Run pytest in this process on the tests above, with nothing but the plugin loaded."""
    (folder / "test_mine.py").write_text(TESTS, "utf-8")
    options = [
        "-p",
        "pgref.oracle.plugin",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--import-mode=importlib",
    ]
    return pytest.main([*options, f"--rootdir={folder}", *arguments, str(folder / "test_mine.py")])


@pytest.fixture
def alone(monkeypatch):
    """Keep the installed plugins, this one among them, from loading by themselves."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


@pytest.mark.usefixtures("alone")
def test_the_plugin_writes_the_reports_of_all_tests(tmp_path, capfd):
    assert session(tmp_path, f"--pgref-report={tmp_path / 'reports.json'}") == pytest.ExitCode.TESTS_FAILED
    printed = capfd.readouterr().out
    assert "value_loss: DEVIATION. It has a factor ½." in printed
    assert "smallest example" in printed
    record = json.loads((tmp_path / "reports.json").read_text("utf-8"))
    found = [(row["test"].partition("::")[2], row["verdict"]) for row in record["reports"]]
    assert found == [
        ("test_right", "equal"),
        ("test_wrong", "deviation"),
        ("test_twice_and_others", "different"),
        ("test_twice_and_others", "failed"),
    ]
    assert record["ok"] is False


@pytest.mark.usefixtures("alone")
def test_the_plugin_writes_nothing_unasked(tmp_path, capfd):
    assert session(tmp_path, "-k", "right") == pytest.ExitCode.OK
    capfd.readouterr()
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != "") == ["test_mine.py"]


def test_a_worker_of_a_distributed_session_leaves_the_writing_to_the_first_process():
    class Config:
        workerinput = ()

        def getoption(self, name):
            return "reports.json"

    plugin.pytest_configure(Config())  # it would need a plugin manager to register a writer


def test_pytest_starts_without_numpy():
    script = "import sys, pgref.oracle.plugin; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0
