"""Exports in small places: Python under MicroPython and Pyodide, C on an emulated Cortex-M.

The first two are npm packages for Node.js, in the folder that PGREF_NODE_MODULES names. A test skips where
its tool is missing, and fails there if PGREF_REQUIRE_EXTRAS=1.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from exporting import CARTPOLE, KINDS, WARNINGS, acting, balancing, missing, program

from pgref.export import running, verification
from pgref.export.recipe import described
from pgref.export.targets import write

pytestmark = pytest.mark.integration

DTYPES = ("float32", "float64")
PACKAGES = {
    "micropython": "@micropython/micropython-webassembly-pyscript/micropython.mjs",
    "pyodide": "pyodide/pyodide.mjs",
}
INSTALL = "npm install @micropython/micropython-webassembly-pyscript@1.27.0 pyodide@0.29.0"
PLACE = """
import { createInterface } from "node:readline";
const { loadMicroPython, loadPyodide } = await import(process.argv[2]);
const python = loadPyodide ? await loadPyodide() : await loadMicroPython({ heapsize: 2 ** 26 });
for await (const job of createInterface({ input: process.stdin })) {
  const answer = {};
  try {
    for (const [name, value] of Object.entries(JSON.parse(job))) python.globals.set(name, value);
    python.runPython(python.globals.get("code"));
    answer.told = python.globals.get("told");
  } catch (error) {
    answer.error = String(error);
  }
  console.log(JSON.stringify(answer));
}
"""
ANSWERS = """
p, told = {"__name__": "policy"}, []
exec(source, p)
for line in lines.split("\\n"):
    numbers = [float(x) for x in line.split()]
    if numbers:
        z = p["outputs"](int(numbers[0]) if "TABLE" in p else numbers[:width])
        told.append(" ".join([repr(x) for x in z + p["choose"](z) + p["choose"](z, numbers[width:])]))
told = "\\n".join(told + [str(p["self_test"]())])
"""
BITS = """
told = 0
while 1.0 + 2.0 ** -told > 1.0:
    told += 1
"""
REFUSALS = """
p, told = {"__name__": "policy"}, 0
exec(source, p)
for obs, chance in (([0, 0], None), ([0, 0, float("nan")], None), ([0, 0, 0], 1), ([0, 0, 0], float("nan"))):
    try:
        p["act"](obs, chance)
    except ValueError:
        told += 1
"""


@pytest.fixture(scope="module", params=PACKAGES)
def place(request, tmp_path_factory):
    """Return the function that runs Python code there, with some variables, and returns what it has told."""
    node = program("node")
    package = Path(os.environ.get("PGREF_NODE_MODULES", "none")).absolute() / PACKAGES[request.param]
    if not package.is_file():
        missing(f"{request.param} is not in PGREF_NODE_MODULES: {INSTALL}")
    script = tmp_path_factory.mktemp("place") / "place.mjs"
    script.write_text(PLACE, "utf-8")
    command = [node, str(script), str(package)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1
    ) as there:

        def run(code, **variables):
            there.stdin.write(json.dumps({"code": code, **variables}) + "\n")
            answer = json.loads(there.stdout.readline())
            if "error" in answer:
                raise subprocess.CalledProcessError(1, command, stderr=answer["error"])
            return answer["told"]

        yield run
        there.stdin.close()


@pytest.fixture
def verified(place, monkeypatch):
    """Return verification that runs Python there."""

    def answers(command, lines):
        path, width = command[-2:]
        return place(ANSWERS, source=Path(path).read_text("utf-8"), lines=lines, width=int(width))

    monkeypatch.setattr(running, "_answers", answers)
    return verification.verify


def test_numbers_there_have_53_bits(place):
    assert place(BITS) == 53  # so that 1e-12 is asked for of float64, as everywhere


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_policy_is_the_same_there(tmp_path, verified, kind, dtype):
    path, one = tmp_path / "policy.py", acting(kind, dtype)
    found = verified(one, path, write(one, path), observations=300)
    assert found.ok, found
    assert found.worst <= {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert (found.rounded, found.recorded_off) == (0, 0)


def test_a_corrupted_export_is_found_there(tmp_path, verified):
    path, one = tmp_path / "policy.py", acting()
    recipe = write(one, path)
    text = path.read_text("utf-8")
    path.write_text(text.replace("row[-1] + sum", "row[-1] * (1 + 1e-9) + sum"), "utf-8")
    found = verified(one, path, recipe, observations=50)
    assert (found.ok, found.problem, found.outputs_off > 0) == (False, "", True)
    path.write_text(text.replace("TOLERANCE = 1e-12", "TOLERANCE = -1.0"), "utf-8")
    assert verified(one, path, recipe, observations=50).recorded_off == 4
    path.write_text(text.replace("def outputs", "def output"), "utf-8")
    assert "KeyError" in verified(one, path, recipe, observations=50).problem


def test_what_cannot_be_used_is_refused_there(tmp_path, place):
    write(acting(), tmp_path / "policy.py")
    assert place(REFUSALS, source=(tmp_path / "policy.py").read_text("utf-8")) == 4


# Boards that QEMU has: a processor without floating point, one with single, one with double precision.
BOARDS = {
    "mps2-an385": ("-mcpu=cortex-m3",),
    "mps2-an386": ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=auto"),
    "mps2-an500": ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=auto"),
}
START = """
extern void _start(void);
extern char stack_top;
static void reset(void)
{
#ifdef __ARM_FP
    *(volatile unsigned *)0xE000ED88 |= 0xFu << 20; /* switches the FPU on */
#endif
    _start();
}
static void stop(void) { for (;;) { } }
static const struct { void *stack; void (*entries[15])(void); } vectors
    __attribute__((section(".vectors"), used)) = {&stack_top, {reset, stop, stop, stop, stop, stop}};
"""
MEMORY = """
ENTRY(_start)
MEMORY { FLASH (rx) : ORIGIN = 0, LENGTH = 4M  RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS
{
    .text : { KEEP(*(.vectors)) *(.text*) KEEP(*(.init)) KEEP(*(.fini)) *(.rodata*) . = ALIGN(4); } > FLASH
    .ARM.exidx : { *(.ARM.exidx*) } > FLASH
    .init_array : { KEEP(*(.init_array*)) KEEP(*(.fini_array*)) } > FLASH
    .data : { *(.data*) . = ALIGN(4); } > RAM
    .bss : { __bss_start__ = .; *(.bss*) *(COMMON) . = ALIGN(4); __bss_end__ = .; } > RAM
    end = .;
    __end__ = .;
    stack_top = ORIGIN(RAM) + LENGTH(RAM);
}
"""
ACT = """
#include "cart.h"
int act(const cart_obs *obs, cart_action *action);
int act(const cart_obs *obs, cart_action *action) { return cart_act(obs, NULL, action); }
"""
STRICT = ("-std=c99", "-mthumb", "-O2", *WARNINGS[:-1])


class Board:
    """An emulated one: its compiler, and what runs a program on it."""

    def __init__(self, name, folder):
        self.name, self.flags = name, (*STRICT, *BOARDS[name])
        self.gcc, self.qemu = program("arm-none-eabi-gcc"), program("qemu-system-arm")
        (folder / "start.c").write_text(START)
        (folder / "memory.ld").write_text(MEMORY)
        self.link = ("--specs=rdimon.specs", "-T", str(folder / "memory.ld"), str(folder / "start.c"))

    def run(self, path, lines=""):
        machine = [self.qemu, "-M", self.name, "-nic", "none", "-display", "none", "-monitor", "none"]
        talk = ["-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel", str(path)]
        return subprocess.run(
            [*machine, *talk], input=lines, capture_output=True, check=True, timeout=60, encoding="utf-8"
        ).stdout


@pytest.fixture(params=BOARDS)
def board(request, tmp_path_factory):
    return Board(request.param, tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def cartpole():
    return balancing()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("board", ["mps2-an386"], indirect=True)
@pytest.mark.parametrize(
    "kind", ["categorical relu normalised", "multi-categorical", "Gaussian normalised", "table"]
)
def test_every_kind_of_policy_is_the_same_on_a_cortex_m(tmp_path, monkeypatch, board, kind, dtype):
    answer = running._answers

    def answers(command, lines):
        if len(command) == 1:
            return board.run(command[0], lines)
        return answer([*command[:-1], *board.link, command[-1]], lines)

    monkeypatch.setenv("CC", board.gcc)
    monkeypatch.setattr(running, "STRICT", board.flags)
    monkeypatch.setattr(running, "_answers", answers)
    path, one = tmp_path / "policy.h", acting(kind, dtype)
    found = verification.verify(one, path, write(one, path), observations=100)
    assert found.ok, found
    assert found.worst <= found.tolerance
    assert found.rounded == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pole_stays_up_on_a_cortex_m(tmp_path, capsys, board, cartpole, dtype):
    cartpole.export(tmp_path / "cart.h", dtype)
    (tmp_path / "main.c").write_text(CARTPOLE)
    (tmp_path / "act.c").write_text(ACT)
    command = [
        board.gcc,
        *board.flags,
        "-DSTARTS=2",
        *board.link,
        tmp_path / "main.c",
        "-o",
        tmp_path / "main",
        "-lm",
    ]
    subprocess.run(command, check=True)
    assert board.run(tmp_path / "main") == "500"  # and the self-test has found nothing, or it would not be 0
    needs = sizes(tmp_path, board)
    recipe = described(cartpole, dtype, "cart")
    with capsys.disabled():
        sys.stdout.write(
            f"\n{board.name} {dtype}: flash {needs['text']} bytes, of which constants "
            f"{recipe.constant_bytes()}; static RAM {needs['data'] + needs['bss']}; stack {needs['stack']}, "
            f"of which vectors {recipe.stack_bytes()}\n"
        )
    assert recipe.constant_bytes() < needs["text"] < recipe.constant_bytes() + 2000
    assert (needs["data"], needs["bss"]) == (0, 0)
    assert recipe.stack_bytes() <= needs["stack"] < recipe.stack_bytes() + 500


def sizes(folder, board):
    """Return what act takes: its flash, its static RAM and its stack, without those of the C library."""
    made = str(folder / "act.o")
    subprocess.run([board.gcc, *board.flags, "-fstack-usage", "-c", folder / "act.c", "-o", made], check=True)
    told = subprocess.run(
        [program("arm-none-eabi-size"), made], check=True, capture_output=True, text=True
    ).stdout
    names, numbers = (line.split() for line in told.splitlines())
    frames = re.findall(r"\t(\d+)\tstatic$", (folder / "act.su").read_text(), re.M)
    return {**dict(zip(names[:3], map(int, numbers[:3]), strict=True)), "stack": sum(map(int, frames))}
