"""A policy as one C99 header, which is C++ as well: constant arrays and inline functions, no malloc."""

from __future__ import annotations

import math
import re
import textwrap
from typing import Any

import numpy as np

from pgref.export.literals import comment
from pgref.export.recipe import Recipe

HEAD = """\
/* {comment}

   p_act(obs, NULL, action) writes the likeliest action; with chance, {chance},
   the one that it picks. It returns 0, or 1 and writes nothing for numbers that cannot be used.
   p_self_test() returns how many recorded answers come out otherwise. All needs {stack} bytes of stack
   for its vectors, {constants} bytes of constants, and the C library's math (-lm). */
#ifndef PGREF_{guard}
#define PGREF_{guard}
#include <math.h>
#include <stddef.h>

#define P_OBS {width} /* numbers in an observation */
#define P_OUTPUTS {outputs}
#define P_ACTIONS {actions} /* numbers in an action, and numbers of chance */
typedef {real} p_real;
typedef {obs} p_obs;
typedef {action} p_action;
"""
LAYER = """
static inline void p_layer(const p_real *w, int n_in, int n_out, const p_real *x, p_real *y)
{
    int i, j; /* for each unit its weights, and its bias last */
    for (j = 0; j < n_out; j++, w += n_in + 1) {
        p_real sum = w[n_in];
        for (i = 0; i < n_in; i++) sum += w[i] * x[i];
        y[j] = sum;
    }
}

static inline void p_activate(p_real *x, int n)
{
    int i;
    for (i = 0; i < n; i++) x[i] = ACTIVATION;
}
"""
CHOOSE = """
static inline p_action p_choice(const p_real *z, int n, const p_real *uniform)
{
    int a, best = 0;
    p_real total = 0, below = 0;
    for (a = 1; a < n; a++) if (z[a] > z[best]) best = a;
    if (!uniform) return best;
    for (a = 0; a < n; a++) total += EXP(z[a] - z[best]);
    const p_real target = *uniform * total, largest = z[best];
    for (a = 0; a < n && !(target < below); a++) {
        const p_real weight = EXP(z[a] - largest);
        if (weight > 0) best = a;
        below += weight;
    }
    return best;
}

static inline int p_choose(const p_real *z, const p_real *uniforms, p_action *action)
{
    static const int sizes[P_ACTIONS] = {SIZES};
    int i;
    for (i = 0; uniforms && i < P_ACTIONS; i++) if (!(uniforms[i] >= 0 && uniforms[i] < 1)) return 1;
    for (i = 0; i < P_ACTIONS; z += sizes[i], i++) {
        action[i] = p_choice(z, sizes[i], uniforms ? uniforms + i : NULL);
    }
    return 0;
}
"""
REAL = """
static inline int p_choose(const p_real *z, const p_real *noise, p_action *action)
{
    static const p_real low[P_ACTIONS] = {LOW}, high[P_ACTIONS] = {HIGH};
    int i;
    for (i = 0; noise && i < P_ACTIONS; i++) if (!isfinite(noise[i])) return 1;
    for (i = 0; i < P_ACTIONS; i++) {
        const p_real a = noise ? z[i] + EXP(z[P_ACTIONS + i]) * noise[i] : z[i];
        action[i] = a < low[i] ? low[i] : a > high[i] ? high[i] : a;
    }
    return 0;
}
"""
END = """
static inline int p_act(const p_obs *obs, const p_real *chance, p_action *action)
{
    p_real z[P_OUTPUTS];
    return p_outputs(obs, z) || p_choose(z, chance, action);
}

static inline int p_near(double a, double b)
{
    return fabs(a - b) <= TOLERANCE * (fabs(b) > 1 ? fabs(b) : 1);
}

static inline int p_self_test(void)
{
RECORDED
    int i, n, failed = 0;
    for (n = 0; n < TESTS; n++) {
        p_real z[P_OUTPUTS];
        p_action a[P_ACTIONS], b[P_ACTIONS];
        int bad = p_outputs(obs[n], z) || p_act(obs[n], NULL, a) || p_act(obs[n], chance[n], b);
        for (i = 0; !bad && i < P_OUTPUTS; i++) bad = !p_near(z[i], outputs[n][i]);
        for (i = 0; !bad && i < P_ACTIONS; i++) {
            bad = !p_near(a[i], modes[n][i]) || !p_near(b[i], samples[n][i]);
        }
        failed += bad;
    }
    return failed;
}
#endif
"""


def text(recipe: Recipe) -> str:
    """Return the header; every name in it begins with the recipe's."""
    network = _table(recipe) if recipe.tabular else _network(recipe)
    single = recipe.dtype == "float32"
    head = HEAD.format(
        comment=comment(recipe),
        guard=f"{recipe.name.upper()}_H",
        chance="uniforms in [0, 1)" if recipe.parts else "standard normals",
        stack=recipe.stack_bytes(),
        constants=recipe.constant_bytes(),
        width=recipe.width,
        outputs=recipe.n_outputs,
        actions=recipe.n_actions,
        real="float" if single else "double",
        obs="int" if recipe.tabular else "p_real",
        action="int" if recipe.parts else "p_real",
    )
    choose = CHOOSE.replace("SIZES", _numbers(recipe.parts)) if recipe.parts else _real(recipe)
    end = END.replace("TOLERANCE", repr(recipe.tolerance)).replace("RECORDED", _recorded(recipe))
    code = head + network + choose + end.replace("TESTS", str(len(recipe.recorded.obs)))
    code = code.replace("EXP(", "expf(" if single else "exp(")
    return re.sub(r"\bP_", f"{recipe.name.upper()}_", re.sub(r"\bp_", f"{recipe.name}_", code))


def _network(recipe: Recipe) -> str:
    single, layers = recipe.dtype == "float32", recipe.layers
    activation = {"tanh": "tanhf(x[i])" if single else "tanh(x[i])", "relu": "x[i] > 0 ? x[i] : 0"}
    lines = [_array(f"p_w{i}", w.T) for i, w in enumerate(layers, 1)]
    x = "x[i] = obs[i];"
    if recipe.normaliser:
        mean, scale, limit = recipe.normaliser
        lines += [_array("p_mean", mean, "double"), _array("p_scale", scale, "double")]
        x = (
            f"const double v = (obs[i] - p_mean[i]) / p_scale[i], limit = {limit!r};\n"
            "        x[i] = (p_real)(v < -limit ? -limit : v > limit ? limit : v);"
        )
    buffers = f"x[{recipe.hidden}], y[{recipe.hidden}]" if len(layers) > 1 else f"x[{recipe.hidden}]"
    passes, now, after = [], "x", "y"
    for i, w in enumerate(layers, 1):
        out = "z" if i == len(layers) else after
        passes.append(f"    p_layer(p_w{i}, {len(w) - 1}, {w.shape[1]}, {now}, {out});")
        if out != "z":
            passes.append(f"    p_activate({out}, {w.shape[1]});")
        now, after = after, now
    body = [
        f"    p_real {buffers};",
        "    int i;",
        "    for (i = 0; i < P_OBS; i++) {",
        "        if (!isfinite(obs[i])) return 1;",
        f"        {x}",
        "    }",
        *passes,
    ]
    layer = LAYER.replace("ACTIVATION", activation[str(recipe.activation)])
    return "\n".join(lines) + layer + _outputs(recipe, body)


def _table(recipe: Recipe) -> str:
    (table,) = recipe.layers
    body = [
        "    int i;",
        f"    if (*obs < 0 || *obs >= {len(table)}) return 1;",
        f"    for (i = 0; i < {table.shape[1]}; i++) z[i] = p_table[*obs * {table.shape[1]} + i];",
    ]
    return _array("p_table", table) + _outputs(recipe, body)


def _outputs(recipe: Recipe, body: list[str]) -> str:
    """Return the function that fills z, with the outputs that no observation moves at its end."""
    free, first = recipe.free, recipe.n_outputs - len(recipe.free)
    if len(free):
        body = [
            f"    static const p_real free[{len(free)}] = {{{_numbers(free)}}};",
            *body,
            f"    for (i = 0; i < {len(free)}; i++) z[{first} + i] = free[i];",
        ]
    check = ["    for (i = 0; i < P_OUTPUTS; i++) if (!isfinite(z[i])) return 1;", "    return 0;", "}", ""]
    return "\n".join(["\n", "static inline int p_outputs(const p_obs *obs, p_real *z)", "{", *body, *check])


def _real(recipe: Recipe) -> str:
    space: Any = recipe.action_space
    low, high = (_numbers(np.array(bound, recipe.dtype)) for bound in (space.low, space.high))
    return REAL.replace("LOW", low).replace("HIGH", high)


def _recorded(recipe: Recipe) -> str:
    """Return the recorded answers as arrays inside a function."""
    obs, chance, outputs, modes, samples = recipe.recorded
    taken = "int" if recipe.parts else recipe.dtype
    if recipe.tabular:
        obs = obs[:, None]
    arrays = {"obs": (obs, "p_obs"), "chance": (chance, "p_real"), "outputs": (outputs, "p_real")}
    arrays |= {"modes": (modes, "p_action"), "samples": (samples, "p_action")}
    lines = []
    for name, (array, kind) in arrays.items():
        array = array.astype(taken) if kind == "p_action" else array
        lines.append(f"    static const {kind} {name}[{len(array)}][{array.shape[1]}] = {{")
        lines += [f"        {{{_numbers(row)}}}," for row in array]
        lines.append("    };")
    return "\n".join(lines)


def _array(name: str, array: Any, kind: str = "p_real") -> str:
    numbers = textwrap.fill(
        _numbers(np.ravel(array)),
        width=110,
        initial_indent="    ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return f"\nstatic const {kind} {name}[{np.size(array)}] = {{\n{numbers}\n}};"


def _numbers(numbers: Any) -> str:
    return ", ".join(map(_number, numbers))


def _number(number: Any) -> str:
    """Return a literal of the same number in its own precision."""
    if isinstance(number, (int, np.integer)):
        return str(number)
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    return f"{number!s}f" if isinstance(number, np.float32) else str(number)
