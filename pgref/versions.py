"""The versions that decide the bits, for whatever is written into a file."""

from __future__ import annotations

import platform


def versions() -> dict[str, str]:
    """Return the versions of pgref, NumPy and Python."""
    import numpy as np

    from pgref import __version__

    return {"pgref": __version__, "numpy": np.__version__, "python": platform.python_version()}
