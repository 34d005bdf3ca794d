"""The errors that pgref raises: one base class, and the standard class that ordinary code already catches.

Numerical non-success (a flat curvature, a refused step) is a status in a result, never one of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PgrefError(Exception):
    """Base class of every error of this package."""


class ArgumentError(PgrefError, ValueError):
    """An argument has the right type and an unusable value."""


class ArgumentTypeError(PgrefError, TypeError):
    """An argument has the wrong type, or one that could only be cast with loss."""


class ShapeError(ArgumentError):
    """An array has another shape than the one it must have."""


class NonFiniteError(ArgumentError):
    """A number that must be finite is NaN or infinite."""


class NotAbsorbingError(ArgumentError):
    """With a discount of 1 a policy must end almost surely, and this one can run for ever."""


class DataFileError(PgrefError, ValueError):
    """A file cannot be read as what it should hold; the message names the path and the reason."""


class MissingExtraError(PgrefError, ImportError):
    """An optional package is not installed; the message says what to install."""


class EnvApiError(PgrefError, TypeError):
    """An environment does not speak Gymnasium's API."""


class CheckpointError(DataFileError):
    """A checkpoint cannot be read or written; the message names the path and the reason."""


class WorkerError(PgrefError, RuntimeError):
    """A worker failed; its own exception is the cause."""


class WorkerTimeout(WorkerError):
    """A worker has not answered for too long."""


class WorkerDied(WorkerError):
    """A worker's process ended without an answer."""


@contextmanager
def scipy_needed(what: str) -> Iterator[None]:
    """Say in a MissingExtraError that this needs SciPy, without which learning and all around it works."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise MissingExtraError(f"{what} needs SciPy: pip install scipy") from missing
