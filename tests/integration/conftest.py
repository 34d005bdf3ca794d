"""Peers are optional: a test skips where its peer is missing, and fails there if PGREF_REQUIRE_EXTRAS=1."""

import importlib
import os

import pytest


@pytest.fixture(scope="session")
def peer():
    """Return the function that imports a peer by name."""

    def imported(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
        message = f'{name} is not installed: pip install ".[peers]"'
        if os.environ.get("PGREF_REQUIRE_EXTRAS") == "1":
            pytest.fail(message)
        pytest.skip(message)

    return imported
