r"""Training state in a file: tuples of tuples of arrays and plain values, to the bit and without pickle.

A checkpoint is a NumPy archive. With plain NumPy, `np.load("run.npz")["actor.mean"]` is the field `mean` of
the state's field `actor`, and `json.loads(np.load("run.npz")["header.json"])` the header. An int is stored as
int64, a float as float64, a string as its UTF-8 bytes, and None has no entry.

The archive's comment, which are the file's last bytes, seals it in plain text (`tail -c 108 run.npz`):

    pgref checkpoint 0001 00000000000000012345 e3b0c442…\n

That is the version of the format, the number of bytes before the seal, and the SHA-256 of those bytes. All
three are checked before anything is parsed. Because a hash shows damage and not who wrote a file, what is
parsed after it must still have exactly the form that `save` gives it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np

from pgref.arrays import Array, require_finite
from pgref.errors import ArgumentError, ArgumentTypeError, CheckpointError, PgrefError
from pgref.files import Location, write_atomically

FORMAT = 1
SEAL = "pgref checkpoint {:04d} {:020d} {}\n"
SEALED = re.compile(rb"pgref checkpoint (\d{4}) (\d{20}) ([0-9a-f]{64})\n")
SEAL_LENGTH = len(SEAL.format(0, 0, 64 * "0"))
HEADER = "header.json"
ENTRY = re.compile(r"(\w+(?:\.\w+)*)\.npy")
NPY = re.compile(rb"\{'descr': '([<|]\w\d)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n")
DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8")
PLAIN: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float64}

S = TypeVar("S")


class Checkpoint(NamedTuple):
    """What a file holds."""

    header: dict[str, Any]  # as JSON returns it: its tuples have become lists
    arrays: dict[str, Array]  # every leaf of the state by its path, "actor.mean" or "workers.0.obs"


def save(path: Location, header: dict[str, Any], state: Any) -> None:
    """Write a header and a state, so that the file is the old or the new one whenever the power fails.

    The state consists of tuples and NamedTuples in any depth, arrays and NumPy scalars of the usual dtypes,
    bool, int, float, str and None. Anything in it whose attribute `resumable` is False is left out.

    Raises:
        ArgumentTypeError: a leaf that is none of these, or a header that JSON cannot hold.
        CheckpointError: a NaN or an infinity, or an int beyond 64 bits; nothing was written.
        OSError: the file cannot be written; an older one is intact.
    """
    try:
        arrays = {name: _as_entry(name, leaf) for name, leaf in _leaves(state).items()}
        for name, array in arrays.items():
            require_finite(name, array)
    except ArgumentError as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from error
    write_atomically(path, _packed(header, arrays))


def load(path: Location) -> Checkpoint:
    """Return the header and the arrays of a file that `save` has written.

    Raises:
        FileNotFoundError and other OSErrors: the file cannot be opened.
        CheckpointError: it is damaged, foreign, of another format or holds a NaN; the message says which.
    """
    with open(path, "rb") as file:
        try:
            return _unpacked(_unsealed(file))
        except Exception as error:  # whatever a parser says of bytes from anywhere
            reason = str(error) if isinstance(error, PgrefError) else f"{type(error).__name__}: {error}"
            raise CheckpointError(f"{os.fspath(path)}: {reason}") from error


def restore(template: S, arrays: dict[str, Array], path: Location) -> S:
    """Return a state built like the template, with the values in `arrays`; `path` is for the messages.

    What `save` leaves out is the template's own. A string may have any length.

    Raises:
        ArgumentTypeError: a leaf of the template that cannot come from a file.
        CheckpointError: an array is missing, is one too many, or has another shape or dtype.
    """
    leaves, file = _leaves(template), os.fspath(path)
    if missing := sorted(set(leaves) - set(arrays)):
        raise CheckpointError(f"{file}: {', '.join(missing)} missing")
    if extra := sorted(set(arrays) - set(leaves)):
        raise CheckpointError(f"{file}: unexpected {', '.join(extra)}")
    values = {name: _as_leaf(f"{file}: {name}", leaf, arrays[name]) for name, leaf in leaves.items()}
    restored: S = _mapped(lambda name, leaf: values[name], template)
    return restored


def _mapped(function: Callable[[str, Any], Any], node: Any, path: str = "") -> Any:
    """Return the state with function(path, leaf) in place of each leaf that belongs into a file."""
    if node is None or getattr(node, "resumable", True) is False:
        return node
    if type(node) is not tuple and not (isinstance(node, tuple) and hasattr(node, "_fields")):
        return function(path or "state", node)
    names = getattr(node, "_fields", range(len(node)))
    paths = [f"{path}.{name}" if path else str(name) for name in names]
    children = [_mapped(function, child, place) for child, place in zip(node, paths, strict=True)]
    return getattr(node, "_make", tuple)(children)


def _leaves(state: Any) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    _mapped(leaves.setdefault, state)
    return leaves


def _as_entry(name: str, leaf: Any) -> Array:
    """Return the array that stands for a leaf in a file."""
    kind = type(leaf)
    if kind is str:
        return np.frombuffer(leaf.encode("utf-8", "surrogatepass"), np.uint8)
    if kind in PLAIN:
        try:
            return np.array(leaf, PLAIN[kind])
        except OverflowError:
            raise ArgumentError(f"{name} must fit into int64, got {leaf.bit_length()} bits") from None
    if kind is not np.ndarray and not isinstance(leaf, np.generic):
        wanted = "an array, a number, a string, None or a tuple of these"
        raise ArgumentTypeError(f"{name} must be {wanted}, got {kind.__name__}")
    array = np.asarray(leaf, order="C")
    if array.dtype.str not in DTYPES:
        raise ArgumentTypeError(
            f"{name} must have one of the dtypes {', '.join(DTYPES)}, got {array.dtype.str}"
        )
    return array


def _as_leaf(where: str, leaf: Any, array: Array) -> Any:
    """Return the array as what the template's leaf is."""
    model = _as_entry(where, leaf)
    if array.dtype != model.dtype:
        raise CheckpointError(f"{where} has dtype {array.dtype}, must have {model.dtype}")
    if type(leaf) is str:
        try:
            return array.tobytes().decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{where} must be a string: {error}") from error
    if array.shape != model.shape:
        raise CheckpointError(f"{where} has shape {array.shape}, must have {model.shape}")
    if isinstance(leaf, np.ndarray):
        return array.copy()
    return array[()] if isinstance(leaf, np.generic) else array.item()


def _packed(header: dict[str, Any], arrays: dict[str, Array]) -> bytes:
    if not isinstance(header, dict):
        raise ArgumentTypeError(f"header must be a dict, got {type(header).__name__}")
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentTypeError(f"header must be what JSON can hold: {error}") from error
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = bytes(SEAL_LENGTH)
        with archive.open(HEADER, "w") as entry:
            entry.write(text.encode())
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.save(entry, array, allow_pickle=False)
    content = file.getvalue()[:-SEAL_LENGTH]
    return content + SEAL.format(FORMAT, len(content), hashlib.sha256(content).hexdigest()).encode()


def _unsealed(file: BinaryIO) -> bytes:
    length = file.seek(0, os.SEEK_END) - SEAL_LENGTH
    file.seek(max(length, 0))
    seal = SEALED.fullmatch(file.read(SEAL_LENGTH))
    if seal is None:
        raise CheckpointError("not a checkpoint of pgref, or cut short")
    version, size = int(seal[1]), int(seal[2])
    if version != FORMAT:
        newer = "; a newer pgref wrote it" if version > FORMAT else ""
        raise CheckpointError(f"has format {version}, this pgref reads format {FORMAT}{newer}")
    if size != length:
        raise CheckpointError(f"has {length} bytes before its seal, must have {size}")
    file.seek(0)
    content = file.read()
    if hashlib.sha256(memoryview(content)[:length]).hexdigest().encode() != seal[3]:
        raise CheckpointError("damaged: its bytes do not have the SHA-256 of its seal")
    return content


def _unpacked(content: bytes) -> Checkpoint:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError("entries must be stored, not compressed")
        if sum(entry.file_size for entry in entries) > len(content):
            raise CheckpointError("entries overlap: they are larger than the file")
        if len({entry.filename for entry in entries}) < len(entries):
            raise CheckpointError("an entry appears twice")
        arrays = {}
        for entry in entries:
            if entry.filename != HEADER:
                name = ENTRY.fullmatch(entry.filename)
                if name is None:
                    raise CheckpointError(f"unexpected entry {entry.filename!r}")
                arrays[name[1]] = _array(name[1], archive.read(entry))
        header = json.loads(archive.read(HEADER).decode("utf-8"))
    if not isinstance(header, dict):
        raise CheckpointError(f"header must be an object, got {type(header).__name__}")
    return Checkpoint(header, arrays)


def _array(name: str, npy: bytes) -> Array:
    """Return the array in an entry, whose header is matched and never evaluated."""
    start = 10 + int.from_bytes(npy[8:10], "little")
    head = NPY.fullmatch(npy[10:start])
    if npy[:8] != b"\x93NUMPY\x01\x00" or head is None or head[1].decode() not in DTYPES:
        raise CheckpointError(f"{name} is no array that a checkpoint may hold")
    dtype, shape = np.dtype(head[1].decode()), tuple(int(n) for n in head[2].split(b",") if n.strip())
    size = math.prod(shape) * dtype.itemsize
    if size != len(npy) - start:
        raise CheckpointError(f"{name} has {len(npy) - start} bytes, its shape {shape} needs {size}")
    if dtype == np.bool_ and npy[start:].strip(b"\0\1"):
        raise CheckpointError(f"{name} holds bytes that are neither false nor true")
    return require_finite(name, np.ndarray(shape, dtype, npy, start).copy())
