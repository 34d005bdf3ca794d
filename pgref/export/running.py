"""Running an export with what is installed: a fresh Python, a C compiler, Node.js, onnx's own evaluator.

Each is given lines "obs … chance …" and answers a line "outputs … mode … sample …" for each, and a last one
with the number of recorded answers that it does not reproduce.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pgref.errors import MissingExtraError
from pgref.export import jsonfile, onnxfile, python
from pgref.export.recipe import Recipe

SECONDS = 600  # after which a program counts as hanging
PYTHON = """\
import runpy, sys
p = runpy.run_path(sys.argv[1])
width, whole = int(sys.argv[2]), "TABLE" in p
for line in sys.stdin:
    numbers = [float(x) for x in line.split()]
    z = p["outputs"](int(numbers[0]) if whole else numbers[:width])
    print(*map(repr, z + p["choose"](z) + p["choose"](z, numbers[width:])))
print(p["self_test"]())
"""
JAVASCRIPT = """\
import { readFileSync } from "node:fs";
import { choose, obsSpace, outputs, selfTest } from "./policy.mjs";
const width = Number(process.argv[2]);
const answers = readFileSync(0, "utf8").split("\\n").filter(Boolean).map((line) => {
  const numbers = line.split(" ").map(Number);
  const z = outputs(obsSpace.kind === "Box" ? numbers.slice(0, width) : numbers[0]);
  return [...z, ...choose(z), ...choose(z, numbers.slice(width))].join(" ");
});
process.stdout.write([...answers, selfTest()].join("\\n"));
"""
C = """\
#include <stdio.h>
#include "policy.h"
int main(void)
{
    p_obs obs[P_OBS];
    p_real chance[P_ACTIONS], z[P_OUTPUTS];
    p_action mode[P_ACTIONS], sample[P_ACTIONS];
    double x;
    int i;
    while (scanf("%lf", &x) == 1) {
        for (i = 0; i < P_OBS; i++, x = 0) {
            if (i && scanf("%lf", &x) != 1) return 1;
            obs[i] = (p_obs)x;
        }
        for (i = 0; i < P_ACTIONS; i++) {
            if (scanf("%lf", &x) != 1) return 1;
            chance[i] = (p_real)x;
        }
        if (p_outputs(obs, z) || p_choose(z, NULL, mode) || p_choose(z, chance, sample)) return 1;
        for (i = 0; i < P_OUTPUTS; i++) printf("%.17g ", (double)z[i]);
        for (i = 0; i < P_ACTIONS; i++) printf("%.17g ", (double)mode[i]);
        for (i = 0; i < P_ACTIONS; i++) printf("%.17g ", (double)sample[i]);
        printf("\\n");
    }
    printf("%d\\n", p_self_test());
    return 0;
}
"""
ONNX = """\
import json, sys
import numpy as np, onnx
from onnx.reference import ReferenceEvaluator as Session
path, width = sys.argv[1], int(sys.argv[2])
model = onnx.load(path)
said = {p.key: json.loads(p.value) for p in model.metadata_props}
types = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
session = Session(path)
def answers(numbers):
    obs, chance = (
        part.astype(onnx.helper.tensor_dtype_to_np_dtype(types[name]))
        for name, part in (("obs", numbers[:, :width]), ("chance", numbers[:, width:]))
    )
    obs = obs if said["obs_space"]["kind"] == "Box" else obs[:, 0]
    return np.hstack(session.run(["outputs", "mode", "sample"], {"obs": obs, "chance": chance}))
for row in answers(np.array([line.split() for line in sys.stdin], float)).tolist():
    print(*map(repr, row))
recorded = np.array([np.hstack(row) for row in said["recorded"]], float)
given = width + len(said["recorded"][0][1])
got, wanted = answers(recorded[:, :given]), recorded[:, given:]
near = np.abs(got - wanted) <= said["tolerance"] * np.maximum(1, np.abs(wanted))
print((~near).any(1).sum())
"""
STRICT = ("-std=c99", "-O2")


def run(to: str, path: Path, recipe: Recipe, lines: str, folder: Path) -> str:
    """Return what the export in a file answers; `folder` is an empty one to work in.

    Raises:
        MissingExtraError: the program or package that it takes is not installed.
        subprocess.SubprocessError: it cannot be compiled, fails or hangs.
        DataFileError: a JSON that cannot be read.
    """
    width = str(recipe.width)
    if to == "c":
        shutil.copy(path, folder / "policy.h")
        compiled = _compiled(recipe.name, folder, found(os.environ.get("CC", "cc"), "a C compiler"), STRICT)
        return _answers([compiled], lines)
    if to == "js":
        shutil.copy(path, folder / "policy.mjs")
        (folder / "run.mjs").write_text(JAVASCRIPT, "utf-8")
        return _answers([found("node", "Node.js"), str(folder / "run.mjs"), width], lines)
    if to == "onnx":
        onnxfile.imported()
        (folder / "run.py").write_text(ONNX, "utf-8")
        return _answers([sys.executable, str(folder / "run.py"), str(path.absolute()), width], lines)
    if to == "json":  # which runs nowhere: what its reader makes of it does
        path, again = folder / "policy.py", jsonfile.read(path)
        path.write_text(python.text(again), "utf-8")
    return _answers([sys.executable, "-I", "-S", "-c", PYTHON, str(path), width], lines)


def found(program: str, meaning: str) -> str:
    """Return the path of a program; raises MissingExtraError."""
    path = shutil.which(program)
    if path is None:
        raise MissingExtraError(f"{program} is not installed; install {meaning} to run this export")
    return path


def _compiled(name: str, folder: Path, compiler: str, flags: tuple[str, ...]) -> str:
    source, program = folder / "run.c", folder / "run"
    code = re.sub(r"\bP_", f"{name.upper()}_", re.sub(r"\bp_", f"{name}_", C))
    source.write_text(code, "utf-8")
    _answers([compiler, *flags, str(source), "-o", str(program), "-lm"], "")
    return str(program)


def _answers(command: list[str], lines: str) -> str:
    done = subprocess.run(
        command, input=lines, capture_output=True, check=True, timeout=SECONDS, encoding="utf-8"
    )
    return done.stdout
