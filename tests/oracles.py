"""What the tests of the oracle have in common: variants as a user's callables."""

import ast
from importlib import import_module

import numpy as np

from pgref.oracle import families
from pgref.oracle.compare import check
from pgref.oracle.inputs import drawn

FAMILIES = {name: import_module(f"pgref.oracle.{name}") for name in families.FAMILIES}
COMPONENTS = [component for family in FAMILIES.values() for component in family.COMPONENTS]


def components(family):
    """Return the components of a family."""
    return FAMILIES[family].COMPONENTS


def deviations(family):
    """Return (component, deviation) of a family, for parametrize."""
    return [(component, d) for component in components(family) for d in component.deviations]


def as_user(component, function):
    """Return a function of the inputs by name as a callable of positional arguments, as users write them.

    Only for components whose callables get the inputs themselves.
    """
    names = list(drawn(component, "float64", 1, 0)[0])

    def called(*arguments):
        with np.errstate(all="ignore"):
            return function(**dict(zip(names, arguments, strict=True)))

    return called


def named(component, deviation, **options):
    """Return the report on a deviation as a user's callable."""
    return check(component, as_user(component, deviation.function), **options)


SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.BitOr: ast.BitAnd}
OTHER_NAMES = {"minimum": "maximum", "maximum": "minimum", "mean": "sum", "sum": "mean", "exp": "log1p"}


def mutants(source):
    """Return {label: function}, each with one operator, number or reduction of the source changed."""
    found = {}
    for index in range(len(list(ast.walk(ast.parse(source))))):
        tree = ast.parse(source)
        node = list(ast.walk(tree))[index]
        change = changed(node)
        if change:
            namespace = {"np": np}
            exec(compile(ast.unparse(ast.fix_missing_locations(tree)), "<mutant>", "exec"), namespace)
            found[f"{index}: {change}"] = namespace[tree.body[0].name]
    return found


def changed(node):
    """Change a node in place and say how, or return None for one that has nothing to change."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        before, node.op = type(node.op), SWAPS[type(node.op)]()
        return f"{before.__name__} to {type(node.op).__name__}"
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        node.value += 1
        return f"{node.value - 1} to {node.value}"
    if isinstance(node, ast.Attribute) and node.attr in OTHER_NAMES:
        before, node.attr = node.attr, OTHER_NAMES[node.attr]
        return f"{before} to {node.attr}"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
        before, node.op = type(node.op), ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        return f"no {before.__name__}"
    return None
