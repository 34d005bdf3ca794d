"""One HTML file in which a trained policy, exported to JavaScript, plays beside the untrained one.

It opens from the disk and asks nothing of any network: its Content-Security-Policy allows the one script and
the one style that are in it, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files

from pgref.agent import Agent
from pgref.demo import actors
from pgref.envs.resolve import describe
from pgref.errors import ArgumentError
from pgref.export import javascript
from pgref.export.recipe import described
from pgref.files import Location, write_atomically

WORLDS = {  # what `describe` calls an environment, and its name in worlds.js
    "CartPole": "CartPole",
    "Pendulum": "Pendulum",
    "Acrobot": "Acrobot",
    "MountainCarContinuous": "MountainCarContinuous",
    "CartPole-v1": "CartPole",
    "Pendulum-v1": "Pendulum",
    "Acrobot-v1": "Acrobot",
    "MountainCarContinuous-v0": "MountainCarContinuous",
}
LANGUAGES = ("en", "zh")
EXPORT = re.compile(r"^export (?=(?:const|function) (\w+))", re.MULTILINE)


def write(agent: Agent, path: Location, lang: str = "en") -> None:
    """Write the page of `text`; an older file stays whole until the new one is.

    Raises:
        ArgumentError, ArgumentTypeError, NonFiniteError: as `text`; nothing is written.
        OSError: the file cannot be written.
    """
    write_atomically(path, text(agent, lang).encode())


def text(agent: Agent, lang: str = "en") -> str:
    """Return the page on which an agent plays, beside itself as it was before its first update.

    Args:
        agent: of CartPole, Pendulum, Acrobot or MountainCarContinuous, pgref's or Gymnasium's.
        lang: "en" or "zh", in which the page begins; a button changes it.

    Raises:
        ArgumentError: another environment, one with constants of its own, or another language.
        ArgumentTypeError, NonFiniteError: a policy that cannot be exported, as `export.recipe.described`.
    """
    name = describe(agent.env)
    if name not in WORLDS:
        raise ArgumentError(f"env must be one of {', '.join(WORLDS)} as it comes, got {agent.env.name!r}")
    if lang not in LANGUAGES:
        raise ArgumentError(f"lang must be one of {', '.join(LANGUAGES)}, got {lang!r}")
    about = {
        "env": WORLDS[name],
        "algorithm": agent.algorithm.replace("_", "-").upper(),
        "steps": agent.state.steps,
        "discount": agent.config.discount,
        "lang": lang,
    }
    script = [
        f"const PAGE = {json.dumps(about)};",
        f"const worlds = {_value(_data('worlds.js'))};",
        f"const trained = {_networks(actors.trained(agent))};",
        f"const untrained = {_networks(actors.untrained(agent))};",
        *map(_data, ("words.js", "pictures.js", "play.js")),
    ]
    return _assembled(f"{about['algorithm']} · {about['env']}", "\n".join(script), _data("play.css"))


def _networks(pair: actors.Pair) -> str:
    policy, critic = (_value(javascript.text(described(actor))) for actor in pair)
    return f"{{ policy: {policy}, critic: {critic} }}"


def _value(module: str) -> str:
    """Return an ES module as an expression for what it exports: a page without a server cannot import."""
    names = ", ".join(found[1] for found in EXPORT.finditer(module))
    return f"(() => {{\n{EXPORT.sub('', module)}\nreturn {{ {names} }};\n}})()"


def _assembled(title: str, script: str, style: str) -> str:
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:"
    parts = {
        "csp": f"{policy}; base-uri 'none'; form-action 'none'",
        "title": title,
        "style": style,
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _data("play.html"))


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _data(name: str) -> str:
    return files("pgref.demo").joinpath(name).read_text("utf-8")
