"""Exports in C, C++ and JavaScript equal the NumPy policy, and a pole stays up in C.

A test skips where its compiler or Node.js is missing, and fails there if PGREF_REQUIRE_EXTRAS=1.
"""

import re
import subprocess

import pytest
from exporting import CARTPOLE, KINDS, WARNINGS, acting, balancing, program

from pgref.export import running, verification
from pgref.export.targets import write

pytestmark = pytest.mark.integration

COMPILERS = {"gcc": ("-std=c99", *WARNINGS), "g++": ("-x", "c++", "-std=c++11", *WARNINGS)}


@pytest.fixture
def tool():
    """Return the function that returns a program's path."""
    return program


@pytest.fixture(scope="module")
def cartpole():
    return balancing()


@pytest.fixture
def compiler(tool, monkeypatch):
    """Return the function that lets verification use a compiler with all warnings as errors."""

    def chosen(name):
        monkeypatch.setenv("CC", tool(name))
        monkeypatch.setattr(running, "STRICT", COMPILERS[name])
        return tool(name)

    return chosen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", [*COMPILERS, "node"])
def test_every_kind_of_policy_is_the_same_everywhere(tmp_path, tool, compiler, kind, dtype, program):
    path, one = tmp_path / "policy.mjs", acting(kind, dtype)
    if program == "node":
        tool("node")
    else:
        path = tmp_path / "policy.h"
        compiler(program)
    found = verification.verify(one, path, write(one, path), observations=500)
    assert found.ok, found
    assert found.worst <= found.tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ending", ["h", "mjs"])
def test_a_trained_policy_is_the_same_on_10000_observations(tmp_path, tool, cartpole, ending, dtype):
    tool("cc" if ending == "h" else "node")
    path = tmp_path / f"cart.{ending}"
    found = verification.verify(cartpole, path, write(cartpole, path, dtype=dtype))
    assert found.ok, found
    assert found.observations == 10_000
    assert found.worst <= {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert found.rounded == 0
    assert found.actions_open <= 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("program", COMPILERS)
def test_the_pole_stays_up_in_c(tmp_path, tool, cartpole, program, dtype):
    cartpole.export(tmp_path / "cart.h", dtype)
    source = tmp_path / "main.c"
    source.write_text(CARTPOLE)
    command = [tool(program), *COMPILERS[program], source, "-o", tmp_path / "main", "-lm"]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True)
    assert done.stdout == "500"


@pytest.mark.parametrize("kind", KINDS)
def test_c_has_no_global_but_constants_and_calls_math_alone(tmp_path, tool, kind):
    write(acting(kind), tmp_path / "a.h")
    write(acting(kind, seed=1), tmp_path / "b.h", dtype="float32")  # two in one program
    uses = "".join(
        f"int act_{x}(const {x}_obs *, const {x}_real *, {x}_action *);\n"
        f"int act_{x}(const {x}_obs *o, const {x}_real *c, {x}_action *a)\n"
        f"{{ return {x}_act(o, c, a) + {x}_self_test(); }}\n"
        for x in "ab"
    )
    source = tmp_path / "two.c"
    source.write_text(f'#include "a.h"\n#include "b.h"\n{uses}')
    strict = ("-Wconversion", "-Wshadow", "-Wmissing-prototypes")
    command = [tool("gcc"), *COMPILERS["gcc"], *strict, "-c", source, "-o", tmp_path / "two.o"]
    subprocess.run(command, check=True)
    listed = subprocess.run([tool("nm"), tmp_path / "two.o"], check=True, capture_output=True, text=True)
    symbols = [line.split()[-2:] for line in listed.stdout.splitlines()]
    assert {letter for letter, _ in symbols} <= {"T", "t", "r", "U", "R"}
    assert {name for letter, name in symbols if letter in "TR"} == {"act_a", "act_b"}
    needed = {name for letter, name in symbols if letter == "U"}
    assert needed <= {"tanh", "tanhf", "exp", "expf", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


@pytest.mark.parametrize("kind", ["categorical", "Gaussian", "table"])
def test_c_refuses_what_it_cannot_use(tmp_path, tool, kind):
    write(acting(kind), tmp_path / "p.h")
    many = "5" if kind == "table" else "0, INFINITY, 0"
    far = "-1" if kind == "table" else "0, 0, NAN"
    source = tmp_path / "refuse.c"
    source.write_text(
        '#include "p.h"\nint main(void) {\n'
        f"    const p_obs a[] = {{{many}}}, b[] = {{{far}}}, good[P_OBS] = {{0}};\n"
        "    const p_real nan[] = {NAN, NAN}, big[] = {INFINITY, INFINITY};\n"
        "    p_action action[P_ACTIONS] = {7};\n"
        "    if (!p_act(a, NULL, action) || !p_act(b, NULL, action)) return 1;\n"
        "    if (!p_act(good, nan, action) || !p_act(good, big, action)) return 2;\n"
        "    return !(action[0] == 7) + p_act(good, NULL, action);\n}\n"
    )
    subprocess.run([tool("gcc"), "-std=c99", source, "-o", tmp_path / "main", "-lm"], check=True)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "obs"), [("categorical", "[0, 0, NaN]"), ("categorical", "[0]"), ("table", "5")]
)
def test_javascript_refuses_what_it_cannot_use(tmp_path, tool, kind, obs):
    write(acting(kind), tmp_path / "p.mjs")
    good = "0" if kind == "table" else "[0, 0, 0]"
    (tmp_path / "refuse.mjs").write_text(
        'import { act } from "./p.mjs";\n'
        f"for (const [obs, u] of [[{obs}, null], [{good}, 1], [{good}, NaN]]) {{\n"
        "  try { act(obs, u); process.exitCode = 1; } catch (e) { if (e.name !== 'RangeError') throw e; }\n"
        f"}}\nif (![0, 1, 2, 3].includes(act({good}, 0.5))) process.exitCode = 2;\n"
    )
    assert subprocess.run([tool("node"), tmp_path / "refuse.mjs"], check=False).returncode == 0


@pytest.mark.parametrize(("program", "ending"), [("gcc", "h"), ("node", "mjs")])
def test_a_corrupted_export_is_found(tmp_path, tool, monkeypatch, program, ending):
    monkeypatch.setenv("CC", tool(program))
    path, one = tmp_path / f"policy.{ending}", acting()
    recipe = write(one, path)
    text = path.read_text()
    first = re.search(r"(?:policy_w1\[\d+\] = \{\s+|LAYERS = \[\[\[)(-?[\d.]+)", text)
    wrong = f"{float(first[1]) * (1 + 1e-8)!r}"
    path.write_text(text[: first.start(1)] + wrong + text[first.end(1) :])
    found = verification.verify(one, path, recipe, observations=100)
    assert not found.ok
    assert (found.problem, found.outputs_off > 0, found.recorded_off > 0) == ("", True, True)
    path.write_text(text[: len(text) // 2])
    assert verification.verify(one, path, recipe, observations=4).problem
