"""Peers are optional: a test skips where its peer is missing, and fails there if PGREF_REQUIRE_EXTRAS=1."""

import importlib
import os

import pytest

EXTRAS = {
    "gymnasium": "gym",
    "latex2mathml": "report",
    "matplotlib": "plot",
    "onnx": "onnx",
    "tensorboardX": "tb",
    "tqdm": "progress",
}  # what to install for a package that is no peer


@pytest.fixture(scope="session")
def peer():
    """Return the function that imports a peer by name."""

    def imported(name):
        if module := installed(name):
            return module
        message = f'{name} is not installed: pip install ".[{EXTRAS.get(name, "peers")}]"'
        if os.environ.get("PGREF_REQUIRE_EXTRAS") == "1":
            pytest.fail(message)
        pytest.skip(message)

    return imported


@pytest.fixture(scope="session")
def optional_peer():
    """Return the function that imports a peer too large for the extras: a test of it skips in any case."""

    def imported(name):
        if module := installed(name):
            return module
        pytest.skip(f"{name} is not installed: pip install {name}")

    return imported


def installed(name):
    """Return the module, or None if there is none; a module that misses a part of its own is an error."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
    return None
