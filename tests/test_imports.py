"""What an import costs and which way imports point."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The rooms from the ground up: a module imports only modules that stand before it in this list.
# "checks.*" stands for every other module of checks: no claim builds on another; "algorithms.*" likewise.
ORDER = """
    errors versions files arrays special chains mdp instances mdpfile bounds
    passes mlp networks categorical gaussian distributions policy critic
    natural tabular exact estimates objectives optimizers asynchrony
    streams spaces knobs moments
    envs envs.protocol envs.checked envs.cartpole envs.pendulum envs.acrobot envs.mountain_car
    envs.lqr envs.tabular envs.probes envs.names
    envs.gym_border envs.gym_live envs.gym envs.gymnasium_export envs.resolve
    task learning rollout samples worker
    asynchronous asynchronous.shared asynchronous.rounds asynchronous.schedule
    asynchronous.threads asynchronous.processes asynchronous.messages
    algorithms algorithms.*
    checkpoint rowfile records progress curves presets evaluation
    export export.reference export.recipe export.literals export.python export.c export.javascript
    export.jsonfile export.onnxfile export.targets export.running export.verification agent plans runs
    demo demo.actors demo.page
    figures.labels figures.style figures.one_parameter figures.sigmoid figures.step_size
    figures.discounting figures.surrogate figures.trust figures.asynchronous figures.learning
    figures.svg figures
    checks checks.finding checks.derivatives checks.draws checks.*
    oracle.deviation oracle.component oracle.report oracle.inputs oracle.trial oracle.likeness oracle.shrink
    oracle.compare oracle.sums oracle.returns_deviations oracle.returns oracle.losses_deviations
    oracle.losses oracle.value_losses_deviations oracle.value_losses oracle.categorical_deviations
    oracle.gaussian_deviations oracle.distributions oracle.products_deviations oracle.products
    oracle.search_deviations oracle.steps_deviations oracle.steps oracle.estimators_deviations
    oracle.estimators oracle.environments_deviations oracle.environments oracle.families oracle.files oracle
    oracle.plugin
    concordance book own chinese render
    report report.formulas report.mathml report.words report.source report.pictures report.entry report.page
    cli_training cli_export cli_demo cli_figures cli_oracle cli_report cli
""".split()
CONCURRENCY = {"threading", "queue", "concurrent", "multiprocessing", "asyncio", "subprocess", "socket"}


def modules():
    """Return {name: source} of every module of pgref but the package itself, which only exports."""
    found = {}
    for path in sorted((ROOT / "pgref").rglob("*.py")):
        parts = path.relative_to(ROOT / "pgref").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path.read_text(encoding="utf-8")
    return found


def names_in(source):
    """Return every dotted name that a source imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return names


def imported(source, known):
    """Return the modules of pgref that a source imports; "pgref" for what the package exports."""
    found = set()
    for name in names_in(source) - {"pgref.__version__"}:
        if name.split(".")[0] == "pgref":
            while name != "pgref" and name.removeprefix("pgref.") not in known:
                name = name.rpartition(".")[0]
            found.add(name.removeprefix("pgref."))
    return found


def place(name):
    """Return where in the order a module stands."""
    folder = name.partition(".")[0]
    one_of_many = folder in ("checks", "algorithms") and name not in ORDER
    return ORDER.index(f"{folder}.*" if one_of_many else name)


def loaded(statement):
    """Return the modules loaded once a fresh interpreter has run the statement."""
    script = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def roots(names):
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from pgref.b import c", {"b"}),
        ("from pgref import a, b", {"a", "b"}),
        ("from pgref import Policy", {"pgref"}),
        ("from pgref import __version__", set()),
        ("importlib.import_module('pgref.b')", {"b"}),
        ("import pgref.b as x", {"b"}),
        ("import numpy, scipy.sparse\nfrom math import pi", set()),
        ("def f():\n    if x:\n        from pgref.checks import c", {"checks.c"}),
    ],
)
def test_the_reader_of_imports_sees_every_form(source, expected):
    assert imported(source, {"a", "b", "checks", "checks.c"}) == expected


@pytest.mark.parametrize("name", modules())
def test_imports_point_to_lower_modules_only(name):
    known = modules()
    upward = {
        other for other in imported(known[name], known) if other == "pgref" or place(other) >= place(name)
    }
    assert sorted(upward) == []


def test_the_package_loads_nothing_but_the_standard_library_and_numpy():
    started = loaded("pass")
    foreign = roots(loaded("import pgref") - started) - sys.stdlib_module_names
    assert sorted(foreign - {"numpy", "pgref"}) == []


def test_the_package_starts_no_machinery_for_threads_or_processes():
    assert sorted(roots(loaded("import pgref") - loaded("import numpy")) & CONCURRENCY) == []


def test_no_module_loads_scipy_when_imported():
    names = sorted(modules(), key=place)
    imports = (
        f"import pgref.{name}; assert 'scipy' not in sys.modules, '{name} loads SciPy'" for name in names
    )
    loaded("; ".join(imports))


def test_the_types_are_published():
    assert (ROOT / "pgref" / "py.typed").is_file()
