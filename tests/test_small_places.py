"""Learning, saving, loading, predicting and exporting in places where little is to be had.

Each test is a fresh process that does all of it, and whatever the place the bits are those of a usual one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pgref
from pgref import cli, instances, mdpfile
from pgref.errors import MissingExtraError, PgrefError

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pgref"
LIFE = """
import hashlib, json, runpy, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import numpy as np
import pgref
from pgref import cli
from pgref.export import jsonfile

def must(ok, what):  # an assert would vanish with PYTHONOPTIMIZE
    if not ok:
        sys.exit(f"it does not {what}")

def digest(*arrays):
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()

told, short = {"place": pgref.__file__}, {"n_envs": 2, "n_steps": 50}
a3c = {"n_workers": 2, "n_envs": 2, "n_steps": 5, "segments": 20}
scheduled = {**a3c, "backend": "schedule"}
for name, settings in ("TRPO", short), ("A2C", short), ("A3C", scheduled), ("A3C", a3c):
    updates, exports = [], []
    agent = getattr(pgref, name)("CartPole", rng=0, **settings).learn(300, [updates.append])
    agent.save("agent.npz")
    again = pgref.load("agent.npz")
    must((again.theta == agent.theta).all() and (again.psi == agent.psi).all(), "load what it saved")
    must(agent.predict(np.zeros(4)) in (0, 1), "predict")
    earned = again.evaluate(3, rng=0).returns
    for kind in "py", "h", "mjs", "json":
        again.export(f"{name}.{kind}")
        exports.append(np.frombuffer(Path(f"{name}.{kind}").read_bytes(), "B"))
    must(runpy.run_path(f"{name}.py")["self_test"]() == 0, "pass the export's own test")
    must(jsonfile.read(f"{name}.json").layers[0].shape == (5, 64), "read the JSON back")
    bits = digest(agent.theta, agent.psi, earned, *exports)
    told["threads" if settings is a3c else name] = updates[-1].status, bits
sets = [word for name, value in a3c.items() for word in ("-p", f"{name}={value}")]
for line in (["train", "a3c", "CartPole", "--steps", "200", "--out", "run", *sets],
             ["eval", "run", "--episodes", "2"], ["export", "run", "--to", "c"], *COMMANDS):
    must(cli.main(line) == 0, " ".join(line))
told["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
if sys.platform == "linux":
    told["peak"] = 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)
print(json.dumps(told))
"""
NO_SCIPY = """
class Absent:
    def find_spec(self, name, *where):
        if name.partition(".")[0] == "scipy":
            raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

import sys
sys.meta_path.insert(0, Absent())
"""
NO_THREADS = "import threading; threading.stack_size(1 << 46)"  # no system has so much for one more
MEMORY = 256_000_000
TIGHT = f"""
import os, resource
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY}, {MEMORY}))
try:
    bytearray({MEMORY})
except MemoryError:
    pass
else:
    raise SystemExit("there is no limit")
"""
LOOKING = [["list"], ["envs"], ["algos"], ["algos", "trpo"], ["show", "I-1"]]
HELP = """
import contextlib, pgref.cli
with contextlib.suppress(SystemExit):
    pgref.cli.main(["train", "--help"])
"""


def live(folder, first="", package=ROOT, flags=(), commands=(), **environment):
    """Return what a life in the folder told, and all it printed."""
    script = f"{first}\nCOMMANDS = {list(commands)}\n{LIFE}"
    usual = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-B", *flags, "-c", script, str(package)],
        cwd=folder,
        env={**usual, **environment},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def same(told, usual):
    """Whether both learned, earned and exported the same bits, but where the timing of threads decides."""
    return all(told[name] == usual[name] for name in ("TRPO", "A2C", "A3C"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return live(tmp_path_factory.mktemp("usual"))[0]


def test_numpy_is_enough(usual, tmp_path):
    told, _ = live(tmp_path, NO_SCIPY)
    assert same(told, usual)
    assert "scipy" not in told["modules"]


def test_a_zip_is_enough_even_for_the_lines_of_the_source(usual, tmp_path):
    place = tmp_path / "pgref.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for path in PACKAGE.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(ROOT))
    told, said = live(tmp_path, package=place, commands=LOOKING)
    assert told["place"] == str(place / "pgref" / "__init__.py")
    assert same(told, usual)
    assert re.search(re.escape(str(place)) + r"\S*\.py:\d+\n    Return", said)


def test_nothing_is_written_where_it_is_installed(usual, tmp_path):
    place = tmp_path / "installed"
    shutil.copytree(PACKAGE, place / "pgref", ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    (tmp_path / "work").mkdir()
    told, _ = live(tmp_path / "work", package=place)  # root may write all the same
    assert told["place"] == str(place / "pgref" / "__init__.py")
    assert same(told, usual)
    assert {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]} == before


def test_where_threads_cannot_start_a3c_runs_its_schedule_and_the_command_says_so(usual, tmp_path):
    told, said = live(tmp_path, NO_THREADS)
    assert same(told, usual)
    assert told["threads"] == ["scheduled: threads cannot start", told["A3C"][1]]
    assert usual["threads"][0] == "updated"
    assert "a3c on CartPole: 200 steps, 20 updates (scheduled: threads cannot start), " in said


@pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks are read as Linux has them")
def test_one_core_and_256_megabytes_are_enough(usual, tmp_path):
    told, _ = live(tmp_path, TIGHT)
    assert same(told, usual)
    assert told["peak"] < MEMORY


def test_the_isolated_mode_of_python_is_enough(usual, tmp_path):
    told, _ = live(tmp_path, flags=["-I"], PYTHONPATH="/nowhere", PYTHONOPTIMIZE="2")
    assert same(told, usual)


def test_without_docstrings_and_asserts_every_command_still_answers(usual, tmp_path):
    told, said = live(tmp_path, HELP, commands=LOOKING, PYTHONOPTIMIZE="2", PYTHONPATH=str(ROOT))
    assert same(told, usual)
    for text in "ALGO", "CartPole", "kl_limit", "objectives.py:":
        assert text in said
    assert "gravity" not in said  # the signature, which a dataclass has in place of its docstring


# what SciPy is needed for


CSR = {"data": [0.5], "indices": [0], "indptr": [0, 1], "shape": [1, 1]}
CHAIN = pgref.TabularMDP([[[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.0]] * 2], np.eye(2), [1.0, 0.0], 1.0)
FORK = pgref.TabularMDP(np.full((2, 2, 2), 0.5), np.eye(2), [0.5, 0.5], 0.9)
HALVES = np.full((2, 2), 0.5)


def sparse_file(folder):
    path = folder / "mdp.json"
    path.write_text(json.dumps({**CSR, "rewards": [[1.0]], "start": [1.0], "discount": 0.5}))
    return path


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("a discount of 1", lambda _: pgref.state_values(CHAIN, HALVES)),
        ("a sparse MDP", lambda folder: mdpfile.load_mdp(sparse_file(folder))),
        ("a sparse MDP", lambda _: instances.random_walk(3, 0.1, 0.9)),
        ("a sparse MDP", lambda _: instances.random_mdp(np.random.default_rng(0), 3, 2, 0.9, sparse=True)),
        ("an exact step", lambda _: pgref.trpo_exact_tabular(FORK, HALVES, 0.01)),
    ],
)
def test_what_needs_scipy_says_so(what, call, without_scipy, tmp_path):
    with pytest.raises(MissingExtraError, match=f"^{what} needs SciPy: pip install scipy$") as caught:
        call(tmp_path)
    assert isinstance(caught.value, (PgrefError, ImportError))


def test_the_command_that_needs_scipy_says_so(without_scipy, capsys):
    assert cli.main(["verify", "--only", "5.18"]) == 2
    assert capsys.readouterr().err == "pgref: a sparse MDP needs SciPy: pip install scipy\n"


@pytest.fixture
def without_scipy(monkeypatch):
    for part in "sparse", "sparse.csgraph", "sparse.linalg", "optimize":
        monkeypatch.setitem(sys.modules, f"scipy.{part}", None)
