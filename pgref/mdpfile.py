"""MDPs and policies in files: NumPy archives (.npz), bare arrays (.npy, a policy only) and JSON.

The keys are transitions, rewards, start and discount. Sparse transitions are stored as data, indices,
indptr and shape, those of the CSR matrix, in place of transitions. A file is never unpickled, and what it
holds is checked before it is used.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pgref.arrays import Matrix, as_array
from pgref.errors import ArgumentError, DataFileError, MissingExtraError, PgrefError, scipy_needed
from pgref.files import Location, write_atomically
from pgref.mdp import TabularMDP, as_policy

SHARED = ("rewards", "start", "discount")
DENSE = ("transitions", *SHARED)
SPARSE = ("data", "indices", "indptr", "shape", *SHARED)


def load_mdp(path: Location) -> TabularMDP:
    """Return the MDP that a .npz or JSON file holds.

    Raises:
        FileNotFoundError and other OSErrors: the file cannot be opened.
        DataFileError: it holds no MDP; the message names the path and the reason.
        MissingExtraError: it holds a sparse one, and SciPy is not installed.
    """
    content = _read(path)
    sparse = "data" in content
    _require_keys(path, content, SPARSE if sparse else DENSE)
    try:
        transitions = _csr(content) if sparse else content["transitions"]
        return TabularMDP(transitions, *(content[key] for key in SHARED))
    except MissingExtraError:
        raise
    except PgrefError as error:
        raise DataFileError(f"{_name(path)}: {error}") from error


def load_policy(path: Location) -> Matrix:
    """Return the policy π [S, A] that a .npy file is, or that a .npz or JSON file holds as "policy".

    Raises:
        FileNotFoundError and other OSErrors: the file cannot be opened.
        DataFileError: it holds no policy; the message names the path and the reason.
    """
    content = _read(path)
    _require_keys(path, content, ("policy",))
    try:
        return as_policy("policy", content["policy"], kind="f")
    except PgrefError as error:
        raise DataFileError(f"{_name(path)}: {error}") from error


def save_mdp(path: Location, mdp: TabularMDP) -> None:
    """Write the MDP so that `load_mdp` returns the same bits, as .npz or .json by the path's ending.

    Raises:
        ArgumentError: the path ends otherwise.
        OSError: the file cannot be written; an older one is intact.
    """
    suffix = Path(path).suffix
    if suffix not in (".npz", ".json"):
        raise ArgumentError(f"path must end in .npz or .json, got {_name(path)}")
    p = mdp.transitions
    if isinstance(p, np.ndarray):
        content: dict[str, Any] = {"transitions": p}
    else:
        content = {"data": p.data, "indices": p.indices, "indptr": p.indptr, "shape": np.array(p.shape)}
    content |= {"rewards": mdp.rewards, "start": mdp.start, "discount": np.array(mdp.discount)}
    if suffix == ".npz":
        file = io.BytesIO()
        np.savez(file, **content)
        write_atomically(path, file.getvalue())
    else:
        text = json.dumps({key: array.tolist() for key, array in content.items()})
        write_atomically(path, (text + "\n").encode())


def _read(path: Location) -> dict[str, Any]:
    with open(path, "rb") as file:
        magic = file.read(6)
        file.seek(0)
        reader = _archive if magic[:2] == b"PK" else _array if magic == b"\x93NUMPY" else _json
        try:
            return reader(file)
        except Exception as error:  # whatever a parser says of bytes from anywhere
            raise DataFileError(f"{_name(path)}: {type(error).__name__}: {error}") from error


def _archive(file: BinaryIO) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("entries must be stored, not compressed: write it with numpy.savez")
    names = [entry.filename.removesuffix(".npy") for entry in entries]
    if foreign := set(names) - {"policy", *DENSE, *SPARSE}:
        raise ValueError(f"unexpected entry {min(foreign)!r}")
    if len(set(names)) < len(names):
        raise ValueError("an entry appears twice")
    if sum(entry.file_size for entry in entries) > os.fstat(file.fileno()).st_size:
        raise ValueError("entries overlap: they are larger than the file")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in names}


def _array(file: BinaryIO) -> dict[str, Any]:
    return {"policy": np.load(file, allow_pickle=False)}


def _json(file: BinaryIO) -> dict[str, Any]:
    content = json.loads(file.read().decode("utf-8"), object_pairs_hook=_once)
    if not isinstance(content, dict):
        raise TypeError(f"must hold an object, got {type(content).__name__}")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(content := dict(pairs)) < len(pairs):
        raise ValueError("a key appears twice")
    return content


def _csr(content: dict[str, Any]) -> Any:
    with scipy_needed("a sparse MDP"):
        from scipy.sparse import csr_matrix

    shape = as_array("shape", content["shape"], (2,), "i")
    data = as_array("data", content["data"], (None,))
    indices, indptr = (as_array(key, content[key], (None,), "i") for key in ("indices", "indptr"))
    try:
        return csr_matrix((data, indices, indptr), tuple(shape.tolist()))
    except ValueError as error:
        raise ArgumentError(f"data, indices, indptr and shape must be a CSR matrix: {error}") from error


def _require_keys(path: Location, content: Iterable[str], wanted: tuple[str, ...]) -> None:
    found = set(content)
    if missing := sorted(set(wanted) - found):
        raise DataFileError(f"{_name(path)}: {', '.join(missing)} missing")
    if extra := sorted(found - set(wanted)):
        raise DataFileError(f"{_name(path)}: unexpected {', '.join(extra)}")


def _name(path: Location) -> str:
    return os.fspath(path)
