"""A policy as one ONNX graph, written with the package onnx (`pgref[onnx]`), for onnxruntime and the like.

    obs         [N, D] numbers in the policy's precision, or [N] int64 states
    chance      [N, m] uniforms in [0, 1), or standard normals for a Box; for `mode` alone any [1, m] will do
    outputs     [N, K] z
    mode        [N, m] the likeliest choices, int64, or the mean inside the bounds
    sample      [N, m] those that chance picks

A graph cannot refuse: what it cannot use becomes rows of NaN, and of −1 for choices. The metadata hold, each
as JSON, about, obs_space and action_space (as in `jsonfile`), tolerance, and recorded: rows of obs, chance,
outputs, mode and sample, to test a runtime with.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import numpy as np

from pgref.errors import MissingExtraError
from pgref.export.jsonfile import as_json
from pgref.export.literals import comment, rows
from pgref.export.recipe import Recipe

OPSET, IR = 13, 7  # of 2020, so that old runtimes read it too


class Graph:
    """Nodes and constants as they come, each known by the name of what it gives."""

    def __init__(self, onnx: Any) -> None:
        self.onnx, self.types = onnx, onnx.TensorProto
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        """Add an array, and return its name."""
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def split(self, x: str, sizes: tuple[int, ...]) -> list[str]:
        """Cut the columns, and return the names of the pieces."""
        names = [f"{x}_{i}" for i in range(len(sizes))]
        lengths = self.constant(f"{x}_sizes", np.array(sizes, np.int64))
        self.nodes.append(self.onnx.helper.make_node("Split", [x, lengths], names, axis=1))
        return names

    def every(self, flags: str) -> str:
        """Return whether all of each row [N, …] is true, [N, 1]."""
        numbers = self.node("Cast", flags, to=self.types.INT32)
        least = self.node("ReduceMin", numbers, axes=[1], keepdims=1)
        return self.node("Cast", least, to=self.types.BOOL)

    def finite(self, x: str) -> str:
        """Return whether all of each row is finite, [N, 1]."""
        return self.every(self.node("Less", self.node("Abs", x), "infinity"))


def content(recipe: Recipe) -> bytes:
    """Return the file.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    onnx = imported()
    graph, number = Graph(onnx), _type(onnx, recipe)
    graph.constant("infinity", np.array(np.inf, recipe.dtype))
    graph.constant("nan", np.array(np.nan, recipe.dtype))
    z, usable = (_table if recipe.tabular else _network)(graph, recipe)
    usable = graph.node("And", usable, graph.finite(z))
    graph.node("Where", usable, z, "nan", name="outputs")
    (_choices if recipe.parts else _real)(graph, recipe, usable)
    info, action = onnx.helper.make_tensor_value_info, graph.types.INT64 if recipe.parts else number
    chance, width = info("chance", number, ["M", recipe.n_actions]), ["N", recipe.n_actions]
    if recipe.tabular:
        obs = info("obs", graph.types.INT64, ["N"])
    else:
        obs = info("obs", number, ["N", recipe.width])
    given = [info("outputs", number, ["N", recipe.n_outputs])]
    given += [info(name, action, width) for name in ("mode", "sample")]
    made = onnx.helper.make_graph(
        graph.nodes, recipe.name, [obs, chance], given, graph.constants, comment(recipe)
    )
    model = onnx.helper.make_model(
        made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="pgref"
    )
    onnx.helper.set_model_props(model, {key: json.dumps(part) for key, part in _metadata(recipe).items()})
    return bytes(model.SerializeToString())


def imported() -> Any:
    """Return the package onnx; raises MissingExtraError."""
    try:
        return import_module("onnx")
    except ModuleNotFoundError as missing:
        raise MissingExtraError('ONNX needs the package onnx: pip install "pgref[onnx]"') from missing


def _type(onnx: Any, recipe: Recipe) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(recipe.dtype)))


def _metadata(recipe: Recipe) -> dict[str, Any]:
    return {
        "about": recipe.about,
        "obs_space": as_json(recipe.obs_space),
        "action_space": as_json(recipe.action_space),
        "tolerance": recipe.tolerance,
        "recorded": rows(recipe),
    }


def _network(graph: Graph, recipe: Recipe) -> tuple[str, str]:
    """Add the layers; return z [N, K] and whether an observation can be used [N, 1]."""
    x, usable, n = "obs", graph.finite("obs"), len(recipe.layers)
    if recipe.normaliser:
        mean, scale, limit = recipe.normaliser
        x = graph.node("Sub", graph.node("Cast", x, to=graph.types.DOUBLE), graph.constant("mean", mean))
        x = graph.node("Div", x, graph.constant("scale", scale))
        x = graph.node("Clip", x, graph.constant("lowest", -limit), graph.constant("highest", limit))
        x = graph.node("Cast", x, to=_type(graph.onnx, recipe))
    for i, w in enumerate(recipe.layers, 1):
        if i == n:  # a unit without weights gives its bias, so the free outputs become such
            w = np.hstack([w, np.zeros((len(w), len(recipe.free)), recipe.dtype)])
            w[-1, w.shape[1] - len(recipe.free) :] = recipe.free
        # no Gemm: onnxruntime 1.16 fuses it with the activation to a node that it lacks in float64
        x = graph.node("MatMul", x, graph.constant(f"w{i}", w[:-1]))
        x = graph.node("Add", x, graph.constant(f"b{i}", w[-1]))
        if i < n:
            x = graph.node(str(recipe.activation).capitalize(), x)
    return x, usable


def _table(graph: Graph, recipe: Recipe) -> tuple[str, str]:
    (table,), free = recipe.layers, recipe.free
    rows = graph.constant("table", np.hstack([table, np.tile(free, (len(table), 1))]))
    first, end = graph.constant("first", np.int64(0)), graph.constant("end", np.int64(len(table)))
    below = graph.node("Not", graph.node("Less", "obs", first))
    known = graph.node("And", graph.node("Less", "obs", end), below)
    z = graph.node("Gather", rows, graph.node("Where", known, "obs", first))
    return z, graph.node("Reshape", known, graph.constant("column", np.array([-1, 1], np.int64)))


def _choices(graph: Graph, recipe: Recipe, usable: str) -> None:
    """Add the largest of each part, and the first whose weights up to it exceed u times them all."""
    modes, samples = [], []
    best: dict[str, Any] = {"axis": 1, "keepdims": 1}  # of equals ArgMax takes the first
    zero, one = (graph.constant(n, np.array(x, recipe.dtype)) for n, x in (("zero", 0), ("one", 1)))
    axis, refused = graph.constant("axis", np.int64(1)), graph.constant("refused", np.int64(-1))
    uniforms = graph.split("chance", (1,) * len(recipe.parts))
    for n, part, u in zip(recipe.parts, graph.split("outputs", recipe.parts), uniforms, strict=True):
        modes.append(graph.node("ArgMax", part, **best))
        largest = graph.node("ReduceMax", part, axes=[1], keepdims=1)
        below = graph.node("CumSum", graph.node("Exp", graph.node("Sub", part, largest)), axis)
        last = graph.constant(f"{part}_last", np.array([n - 1], np.int64))
        target = graph.node("Mul", u, graph.node("Gather", below, last, axis=1))
        reached = graph.node("Cast", graph.node("Less", target, below), to=graph.types.INT32)
        samples.append(graph.node("ArgMax", reached, **best))
    positive = graph.node("Not", graph.node("Less", "chance", zero))
    inside = graph.every(graph.node("And", graph.node("Less", "chance", one), positive))
    for name, can, actions in (
        ("mode", usable, modes),
        ("sample", graph.node("And", usable, inside), samples),
    ):
        graph.node("Where", can, graph.node("Concat", *actions, axis=1), refused, name=name)


def _real(graph: Graph, recipe: Recipe, usable: str) -> None:
    """Add the mean, and mean + exp(log_std)·noise, inside the bounds."""
    space: Any = recipe.action_space
    low, high = (graph.constant(s, np.array(getattr(space, s), recipe.dtype)) for s in ("low", "high"))
    mean, log_std = graph.split("outputs", (space.d, space.d))
    drawn = graph.node("Add", mean, graph.node("Mul", graph.node("Exp", log_std), "chance"))
    both = graph.node("And", usable, graph.finite("chance"))
    for name, can, action in (("mode", usable, mean), ("sample", both, drawn)):
        inside = graph.node("Min", graph.node("Max", action, low), high)
        graph.node("Where", can, inside, "nan", name=name)
