"""A policy as one ES module, for browsers and Node.js."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pgref.export.literals import comment, rows
from pgref.export.recipe import Recipe, as_dict

NETWORK = """
const combine = (row, x) => x.reduce((sum, v, i) => sum + row[i] * v, row[x.length]);

/** Return z, the network's outputs at one observation, an array of numbers. */
export function outputs(obs) {
  let x = Array.from(obs);
  if (x.length !== N_OBS || !x.every(Number.isFinite)) {
    throw new RangeError(`obs must be ${N_OBS} finite numbers`);
  }
  if (SCALE.length) x = x.map((v, i) => Math.min(Math.max((v - MEAN[i]) / SCALE[i], -LIMIT), LIMIT));
  for (const layer of LAYERS.slice(0, -1)) x = layer.map((row) => ACTIVATION(combine(row, x)));
  const z = LAYERS[LAYERS.length - 1].map((row) => combine(row, x)).concat(FREE);
  if (!z.every(Number.isFinite)) throw new RangeError("the outputs overflow");
  return z;
}
"""
TABLE = """
/** Return z, the outputs in one state, a whole number. */
export function outputs(obs) {
  if (!Number.isInteger(obs) || obs < 0 || obs >= TABLE.length) {
    throw new RangeError(`obs must be a state 0 to ${TABLE.length - 1}`);
  }
  return Array.from(TABLE[obs]).concat(FREE);
}
"""
CHOICES = """
/** Return the likeliest choices, or those that uniform numbers in [0, 1) pick by the inverse CDF. */
export function choose(z, uniforms = null) {
  if (uniforms && (uniforms.length !== SIZES.length || !uniforms.every((u) => u >= 0 && u < 1))) {
    throw new RangeError(`uniforms must be ${SIZES.length} numbers in [0, 1)`);
  }
  let start = 0;
  return SIZES.map((n, i) => {
    const part = z.slice(start, (start += n));
    const largest = part.reduce((a, b) => Math.max(a, b));
    let action = part.indexOf(largest);
    if (uniforms) {
      const weights = part.map((v) => Math.exp(v - largest));
      const target = uniforms[i] * weights.reduce((a, b) => a + b);
      for (let a = 0, below = 0; a < n && !(target < below); a += 1) {
        if (weights[a] > 0) action = a;
        below += weights[a];
      }
    }
    return action;
  });
}
"""
REAL = """
/** Return the mean, or mean + exp(log_std) * noise for standard normal noise, inside the bounds. */
export function choose(z, noise = null) {
  const d = z.length / 2;
  if (noise && (noise.length !== d || !noise.every(Number.isFinite))) {
    throw new RangeError(`noise must be ${d} finite numbers`);
  }
  const inside = (a, i) => Math.min(Math.max(a, actionSpace.low[i]), actionSpace.high[i]);
  return z.slice(0, d).map((mean, i) => inside(noise ? mean + Math.exp(z[d + i]) * noise[i] : mean, i));
}
"""
ACT = """
/** Return the likeliest action, or the one that chance picks: see choose. */
export function act(obs, chance = null) {
  return choose(outputs(obs), chance);
}
"""
ACT_ONE = """
/** Return the likeliest action, or the one that a uniform number in [0, 1) picks. */
export function act(obs, uniform = null) {
  return choose(outputs(obs), uniform === null ? null : [uniform])[0];
}
"""
SELF_TEST = """
/** Return how many of the recorded answers come out otherwise: 0 if all is well. */
export function selfTest() {
  return RECORDED.filter(([obs, chance, z, mode, sample]) => {
    const wanted = [...z, ...mode, ...sample];
    const got = [...outputs(obs), ...choose(outputs(obs)), ...choose(outputs(obs), chance)];
    return !got.every((a, i) => Math.abs(a - wanted[i]) <= TOLERANCE * Math.max(1, Math.abs(wanted[i])));
  }).length;
}
"""


def text(recipe: Recipe) -> str:
    """Return the module: `act(obs, chance = null)`, `outputs`, `choose`, `selfTest`, and the spaces."""
    kind = "Float32Array" if recipe.dtype == "float32" else "Float64Array"
    lines = [
        f"// {comment(recipe)}",
        f"export const about = {json.dumps(recipe.about)};",
        f"export const obsSpace = {json.dumps(as_dict(recipe.obs_space))};",
        f"export const actionSpace = {json.dumps(as_dict(recipe.action_space))};",
        f"const SIZES = {json.dumps(recipe.parts)};",
        f"const TOLERANCE = {recipe.tolerance!r};",
        f"const FREE = {_numbers(recipe.free.astype(float))};",
    ]
    if recipe.tabular:
        (table,) = recipe.layers
        lines += [f"const TABLE = {_matrix(table, kind)};"]
    else:
        mean, scale, limit = recipe.normaliser or ((), (), 0.0)
        lines += [
            f"const N_OBS = {recipe.width};",
            f"const MEAN = {_numbers(mean)};",
            f"const SCALE = {_numbers(scale)};",
            f"const LIMIT = {limit!r};",
            f"const ACTIVATION = {'Math.tanh' if recipe.activation == 'tanh' else '(x) => Math.max(x, 0)'};",
            "// a row for each unit: its weights, and its bias last",
            f"const LAYERS = [{', '.join(_matrix(w.T, kind) for w in recipe.layers)}];",
        ]
    lines += [f"const RECORDED = {json.dumps(rows(recipe))};"]
    code = TABLE if recipe.tabular else NETWORK
    choose = CHOICES if recipe.parts else REAL
    act = ACT_ONE if as_dict(recipe.action_space)["kind"] == "Discrete" else ACT
    return "\n".join(lines) + "\n" + "".join([code, choose, act, SELF_TEST])


def _matrix(matrix: Any, kind: str) -> str:
    return f"[{', '.join(_numbers(row) for row in matrix)}].map((row) => {kind}.from(row))"


def _numbers(numbers: Any) -> str:
    """Return the shortest decimals that are the same numbers in their own precision."""
    return f"[{', '.join(str(np.asarray(x)[()]) for x in numbers)}]"
