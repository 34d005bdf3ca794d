"""A policy as one Python file that imports nothing but math, in the Python that MicroPython has too."""

from __future__ import annotations

from pgref.export.literals import comment, rows, vector
from pgref.export.recipe import Recipe, as_dict

NETWORK = '''
def outputs(obs):
    """Return z, the network's outputs at one observation, a sequence of numbers."""
    x = [float(v) for v in obs]
    if len(x) != N_OBS or not all(isfinite(v) for v in x):
        raise ValueError("obs must be %d finite numbers" % N_OBS)
    if SCALE:
        x = [min(max((v - m) / s, -LIMIT), LIMIT) for v, m, s in zip(x, MEAN, SCALE)]
    for layer in LAYERS[:-1]:
        x = [ACTIVATION(row[-1] + sum(w * v for w, v in zip(row, x))) for row in layer]
    z = [row[-1] + sum(w * v for w, v in zip(row, x)) for row in LAYERS[-1]] + FREE
    if not all(isfinite(v) for v in z):
        raise ValueError("the outputs overflow")
    return z
'''
TABLE = '''
def outputs(obs):
    """Return z, the outputs in one state, a whole number."""
    if obs not in range(len(TABLE)):
        raise ValueError("obs must be a state 0 to %d" % (len(TABLE) - 1))
    return TABLE[int(obs)] + FREE
'''
CHOICES = '''
def choose(z, uniforms=None):
    """Return the likeliest choices, or those that uniform numbers in [0, 1) pick by the inverse CDF."""
    if uniforms is not None and (len(uniforms) != len(SIZES) or not all(0 <= u < 1 for u in uniforms)):
        raise ValueError("uniforms must be %d numbers in [0, 1)" % len(SIZES))
    actions, start = [], 0
    for i, n in enumerate(SIZES):
        part, start = z[start : start + n], start + n
        largest = max(part)
        action = part.index(largest)
        if uniforms is not None:
            weights, below = [exp(v - largest) for v in part], 0.0
            target = uniforms[i] * sum(weights)
            for a, weight in enumerate(weights):
                if weight > 0:
                    action, below = a, below + weight
                if target < below:
                    break
        actions.append(action)
    return actions
'''
REAL = '''
def choose(z, noise=None):
    """Return the mean, or mean + exp(log_std) * noise for standard normal noise, inside the bounds."""
    d = len(z) // 2
    if noise is not None:
        if len(noise) != d or not all(isfinite(e) for e in noise):
            raise ValueError("noise must be %d finite numbers" % d)
        z = [z[i] + exp(z[d + i]) * noise[i] for i in range(d)]
    return [min(max(z[i], ACTION_SPACE["low"][i]), ACTION_SPACE["high"][i]) for i in range(d)]
'''
ACT = '''
def act(obs, chance=None):
    """Return the likeliest action, or the one that chance picks: see choose."""
    return choose(outputs(obs), chance)
'''
ACT_ONE = '''
def act(obs, uniform=None):
    """Return the likeliest action, or the one that a uniform number in [0, 1) picks."""
    return choose(outputs(obs), None if uniform is None else [uniform])[0]
'''
SELF_TEST = '''
def self_test():
    """Return how many of the recorded answers come out otherwise: 0 if all is well."""
    failed = 0
    for obs, chance, z, mode, sample in RECORDED:
        got = outputs(obs) + choose(outputs(obs)) + choose(outputs(obs), chance)
        wanted = z + mode + sample
        failed += not all(abs(a - b) <= TOLERANCE * max(1.0, abs(b)) for a, b in zip(got, wanted))
    return failed


if __name__ == "__main__":
    raise SystemExit(self_test())
'''


def text(recipe: Recipe) -> str:
    """Return the file: `act(obs, chance=None)`, `outputs`, `choose`, `self_test`, and the spaces."""
    normaliser = recipe.normaliser
    lines = [
        f"# {comment(recipe)}",
        "# act(obs) is the likeliest action; run as a program it tests itself.",
        "from math import exp, inf, isfinite, tanh",
        "",
        f"ABOUT = {recipe.about!r}",
        f"OBS_SPACE = {as_dict(recipe.obs_space)!r}",
        f"ACTION_SPACE = {as_dict(recipe.action_space)!r}",
        f"SIZES = {recipe.parts!r}",
        f"TOLERANCE = {recipe.tolerance!r}",
    ]
    if recipe.tabular:
        lines += ["TABLE = [", *(f"    {vector(row)}," for row in recipe.layers[0]), "]"]
    else:
        mean, scale, limit = normaliser or ((), (), 0.0)
        lines += [
            f"N_OBS = {recipe.width}",
            f"MEAN, SCALE, LIMIT = {vector(mean)}, {vector(scale)}, {limit!r}",
            f"ACTIVATION = {'tanh' if recipe.activation == 'tanh' else 'lambda x: max(x, 0.0)'}",
            "LAYERS = [  # a row for each unit: its weights, and its bias last",
            *(f"    [{', '.join(f'{vector(row)}' for row in layer.T)}]," for layer in recipe.layers),
            "]",
        ]
    lines += [f"FREE = {vector(recipe.free)}", "RECORDED = ["]
    lines += [*(f"    {row!r}," for row in rows(recipe)), "]", ""]
    code = TABLE if recipe.tabular else NETWORK
    choose = CHOICES if recipe.parts else REAL
    act = ACT_ONE if as_dict(recipe.action_space)["kind"] == "Discrete" else ACT
    return "\n".join(lines) + "\n".join([code, choose, act, SELF_TEST])
