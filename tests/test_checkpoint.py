"""A state survives a file to the bit, every other file is refused, and a kill leaves a whole one."""

import copy
import hashlib
import io
import json
import math
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import checkpoint
from pgref.checkpoint import load, restore, save
from pgref.errors import ArgumentTypeError, CheckpointError


class Actor(NamedTuple):
    mean: Any
    log_std: Any = None


class State(NamedTuple):
    actor: Any
    runner: Any
    updates: Any = 0


class Handle:
    """What stands for a resource outside the process."""

    resumable = False


STATE = State(
    Actor(np.arange(6.0).reshape(2, 3), np.full(2, -0.5, np.float32)),
    (np.array([1, 2**64 - 1], np.uint64), (), None, True, "CartPole-v1"),
    2**63 - 1,
)
HEADER = {"algorithm": "trpo", "config": {"discount": 0.99, "hidden": [64, 64]}, "name": "倒立摆"}


# ------------------------------------------------------------------------------------------ round trips


def assert_same(a, b):
    """Equal to the bit, type for type."""
    assert type(a) is type(b)
    if isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif isinstance(a, float):
        assert struct.pack("d", a) == struct.pack("d", b)
    else:
        assert a == b


def blank(node):
    """The same structure with other values, as a fresh `init` would give it."""
    if isinstance(node, tuple):
        return getattr(node, "_make", tuple)([blank(child) for child in node])
    if isinstance(node, np.ndarray):
        return np.ones_like(node)
    if isinstance(node, np.generic):
        return node.dtype.type(1)
    return node if node is None else {bool: True, int: -7, float: 0.25, str: "else"}[type(node)]


def drawn_array(seed, dtype, shape):
    """Any finite bit pattern, denormals and both zeros among them."""
    rng = np.random.default_rng(seed)
    size = math.prod(shape)
    if dtype == "?":
        return rng.integers(0, 2, size).astype(bool).reshape(shape)
    array = np.frombuffer(rng.bytes(size * np.dtype(dtype).itemsize), dtype).copy()
    if array.dtype.kind == "f":
        array[~np.isfinite(array)] = -0.0
        array[::3] = np.finfo(dtype).tiny / 8
    return array.reshape(shape)


dtypes = st.sampled_from(["f4", "f8", "i8", "u8", "?", "i1", "u1", "i2", "u2", "i4", "u4"])
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
arrays = st.builds(drawn_array, st.integers(0, 2**32 - 1), dtypes, shapes)
scalars = st.builds(lambda *draw: drawn_array(*draw)[()], st.integers(0, 2**32 - 1), dtypes, st.just(()))
plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters())
)
leaves = arrays | scalars | plain
states = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.builds(Actor, inner, inner),
    max_leaves=12,
)


@given(state=states)
@example(state=STATE)
@example(state=())
@example(state=None)
@example(state=((), ((),), None))
@example(state=(-0.0, 5e-324, -(2**63), 2**63 - 1, True, 1, 1.0, np.float32(1), np.float64(1), np.bool_(1)))
@example(state=("", "\0", "a\0", "\ud800", "倒立摆"))
@example(state=Actor(Actor(Actor(np.zeros((0, 3))))))
def test_what_is_saved_is_restored_to_the_bit(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("run") / "run.npz"
    save(path, HEADER, state)
    found = load(path)
    assert found.header == HEADER
    assert_same(restore(state, found.arrays, path), state)
    assert_same(restore(blank(state), found.arrays, path), state)
    before = path.read_bytes()
    save(path, found.header, restore(blank(state), found.arrays, path))
    assert path.read_bytes() == before, "saving what was restored changes no byte of the file"


def test_leaves_are_named_by_their_path(tmp_path):
    save(tmp_path / "run.npz", {}, STATE)
    assert list(load(tmp_path / "run.npz").arrays) == [
        "actor.mean",
        "actor.log_std",
        "runner.0",
        "runner.3",
        "runner.4",
        "updates",
    ]
    save(tmp_path / "run.npz", {}, np.ones(3))
    assert list(load(tmp_path / "run.npz").arrays) == ["state"]


def test_plain_numpy_reads_a_checkpoint(tmp_path):
    save(tmp_path / "run.npz", HEADER, STATE)
    with np.load(tmp_path / "run.npz") as archive:
        assert archive["actor.mean"].tobytes() == STATE.actor.mean.tobytes()
        assert archive["updates"] == 2**63 - 1
        assert bytes(archive["runner.4"]).decode() == "CartPole-v1"
        assert json.loads(archive["header.json"]) == HEADER


def test_the_seal_is_what_the_documentation_says(tmp_path):
    save(tmp_path / "run.npz", HEADER, STATE)
    data = (tmp_path / "run.npz").read_bytes()
    assert data == sealed(data[:-108])
    with zipfile.ZipFile(tmp_path / "run.npz") as archive:
        assert archive.comment == data[-108:]
        assert archive.testzip() is None


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(2, 6)[:, ::-2],
        np.broadcast_to(np.float32(2), (3, 2)),
    ],
)
def test_the_layout_in_memory_does_not_matter_and_the_state_is_left_alone(tmp_path, array):
    array.flags.writeable = False
    before = array.tobytes()
    save(tmp_path / "a.npz", {}, (array,))
    save(tmp_path / "b.npz", {}, (array.copy("C"),))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert array.tobytes() == before


def test_restored_arrays_are_fresh_writable_and_share_nothing(tmp_path):
    save(tmp_path / "run.npz", {}, STATE)
    found = load(tmp_path / "run.npz").arrays
    one, other = (restore(STATE, found, "run.npz") for _ in range(2))
    one.actor.mean[:] = 7.0
    assert_same(other, STATE)
    assert all(array.flags.writeable for array in found.values())


def test_what_cannot_be_resumed_is_left_out_and_kept_from_the_template(tmp_path):
    class Env(NamedTuple):
        clock: Any
        resumable = False

    mine = State(np.ones(2), (Handle(), Env(np.ones(1))), 3)
    fresh = State(np.zeros(2), (Handle(), Env(np.zeros(1))), 0)
    save(tmp_path / "run.npz", {}, mine)
    found = load(tmp_path / "run.npz").arrays
    assert list(found) == ["actor", "updates"]
    back = restore(fresh, found, "run.npz")
    assert (back.actor.tolist(), back.updates) == ([1.0, 1.0], 3)
    assert back.runner == fresh.runner
    with pytest.raises(CheckpointError, match="unexpected runner"):
        restore(State(np.zeros(2), Handle(), 0), {**found, "runner": np.ones(1)}, "run.npz")


# ------------------------------------------------------------------------------- what save does not take


class Resumable:
    resumable = True


class Pair(tuple):
    __slots__ = ()


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (object(), "got object"),
        (Resumable(), "got Resumable"),
        ([1.0], "got list"),
        ({"a": 1}, "got dict"),
        (Pair((1, 2)), "got Pair"),
        (b"bytes", "got bytes"),
        (1j, "got complex"),
        (np.random.default_rng(0), "got Generator"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "got MaskedArray"),
        (np.array([None]), r"got \|O"),
        (np.array(["a"]), "got <U1"),
        (np.array([1j]), "got <c16"),
        (np.array([1.0], ">f8"), "got >f8"),
        (np.array([1.0], np.float16), "got <f2"),
        (np.array([1.0], np.clongdouble), "got <c"),
        (np.array(["2026-11-22"], "M8[D]"), "got <M8"),
        (np.zeros(1, [("x", "f8")]), r"got \|V8"),
        (np.str_("a"), "got <U1"),
    ],
)
def test_a_foreign_leaf_is_refused_by_its_path_and_nothing_is_written(tmp_path, leaf, reason):
    with pytest.raises(ArgumentTypeError, match=rf"^runner\.1\.mean must .*{reason}"):
        save(tmp_path / "run.npz", {}, State(np.ones(1), (1, Actor(leaf))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (np.array([[0.0, 1.0], [2.0, np.nan]]), r"must be finite, got nan at index \(1, 1\)"),
        (np.array([np.inf], np.float32), "must be finite, got inf"),
        (np.float32("-inf"), "must be finite, got -inf"),
        (math.nan, "must be finite, got nan"),
        (2**63, "must fit into int64, got 64 bits"),
        (-(2**63) - 1, "must fit into int64, got 64 bits"),
        pytest.param(10**5000, "must fit into int64, got 16610 bits", id="too long to print"),
    ],
)
def test_a_number_that_cannot_be_kept_is_refused_and_the_old_file_stays(tmp_path, leaf, reason):
    path = tmp_path / "run.npz"
    save(path, HEADER, STATE)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=rf"run\.npz: runner\.0 {reason}"):
        save(path, HEADER, State(np.ones(1), (leaf,)))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ([1], "header must be a dict, got list"),
        ({"a": object()}, "header must be what JSON can hold: .*object"),
        ({"a": math.nan}, "header must be what JSON can hold: .*nan|NaN|range"),
        ({("a", 1): 1}, "header must be what JSON can hold: keys"),
    ],
)
def test_a_header_that_json_cannot_hold_is_refused(tmp_path, header, reason):
    with pytest.raises(ArgumentTypeError, match=reason):
        save(tmp_path / "run.npz", header, STATE)
    endless = {}
    endless["self"] = endless
    with pytest.raises(ArgumentTypeError, match="header must be what JSON can hold"):
        save(tmp_path / "run.npz", endless, STATE)
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    save(path, HEADER, STATE)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*run\.npz'"):
        save(path, {}, (1,))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


# ------------------------------------------------------------------------------------- what load refuses


def sealed(content, version=1):
    """The seal as the documentation describes it, written independently."""
    digest = hashlib.sha256(content).hexdigest()
    return content + b"pgref checkpoint %04d %020d %s\n" % (version, len(content), digest.encode())


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def forged(*entries, compression=zipfile.ZIP_STORED, header=b"{}"):
    """A file with a valid seal around any entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in (("header.json", header), *entries):
            archive.writestr(name, content)
    return sealed(file.getvalue())


def with_npy(content):
    return forged(("theta.npy", content))


def whole(tmp_path, state=STATE):
    save(tmp_path / "whole.npz", HEADER, state)
    return (tmp_path / "whole.npz").read_bytes()


def with_shape(text):
    """One number under a header with any text as its shape."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }\n" % text
    return with_npy(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(8))


def refused(path, content, reason=""):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_changed_byte_anywhere_is_found(tmp_path):
    data, rng = whole(tmp_path), random.Random(1)
    for i in range(len(data)):
        flipped = bytearray(data)
        flipped[i] ^= rng.randrange(1, 256)
        refused(tmp_path / "run.npz", flipped, "not a checkpoint|has format|before its seal|damaged")


def test_a_file_cut_or_extended_anywhere_is_refused(tmp_path):
    data = whole(tmp_path)
    for length in range(len(data)):
        refused(tmp_path / "run.npz", data[:length], "not a checkpoint of pgref, or cut short")
    refused(tmp_path / "run.npz", data[1:], "bytes before its seal, must have")
    for more in (b"\n", b"\0" * 108, data[:50]):
        refused(tmp_path / "run.npz", data + more, "not a checkpoint")
        refused(tmp_path / "run.npz", more + data, "bytes before its seal, must have")
    refused(tmp_path / "run.npz", data + data[-108:], "bytes before its seal, must have")


def test_damage_under_a_valid_seal_is_refused_or_harmless(tmp_path):
    """Anyone can compute a seal: what is parsed gives arrays of the usual dtypes or CheckpointError."""
    content, rng, path = whole(tmp_path)[:-108], random.Random(2), tmp_path / "run.npz"
    harmless = 0
    for i in range(len(content)):
        flipped = bytearray(content)
        flipped[i] ^= rng.randrange(1, 256)
        path.write_bytes(sealed(bytes(flipped)))
        try:
            found = load(path).arrays
        except CheckpointError:
            continue
        harmless += 1
        assert all(array.dtype.str in checkpoint.DTYPES for array in found.values())
    assert harmless < len(content) / 2


FOREIGN = {
    "empty": b"",
    "short": b"PK",
    "text": b"not a checkpoint\n" * 20,
    "image": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "pickle": pickle.dumps(list(range(1000))),
    "plain npz": forged()[:-108],
    "nul": bytes(5000),
}
FORGED = {
    "a newer format": (sealed(b"", 2), "has format 2, this pgref reads format 1; a newer pgref wrote it"),
    "no format": (sealed(b"anything", 0), "has format 0, this pgref reads format 1$"),
    "no archive": (sealed(b"anything"), "BadZipFile"),
    "nothing": (sealed(b""), "BadZipFile"),
    "no header": (sealed(b"PK\5\6" + bytes(18)), "header.json"),
    "a header of another kind": (forged(header=b"[]"), "header must be an object, got list"),
    "a header in no encoding": (forged(header=b"\xff"), "UnicodeDecodeError"),
    "a header that is no JSON": (forged(header=b"{"), "JSONDecodeError"),
    "a deep header": (forged(header=b"[" * 100_000), "RecursionError"),
    "compressed": (forged(compression=zipfile.ZIP_DEFLATED), "entries must be stored, not compressed"),
    "a bomb": (
        forged(("theta.npy", npy(np.zeros(10**6))), compression=zipfile.ZIP_DEFLATED),
        "entries must be stored, not compressed",
    ),
    "a path": (forged(("../theta.npy", npy(np.ones(2)))), "unexpected entry '../theta.npy'"),
    "a root": (forged(("/theta.npy", npy(np.ones(2)))), "unexpected entry '/theta.npy'"),
    "a backslash": (forged(("a\\theta.npy", npy(np.ones(2)))), "unexpected entry"),
    "dots": (forged(("a..b.npy", npy(np.ones(2)))), "unexpected entry 'a..b.npy'"),
    "a folder": (forged(("theta/", b"")), "unexpected entry 'theta/'"),
    "a newline": (forged(("theta.npy\n", npy(np.ones(2)))), "unexpected entry"),
    "no name": (forged((".npy", npy(np.ones(2)))), "unexpected entry '.npy'"),
    "another ending": (forged(("theta.npz", npy(np.ones(2)))), "unexpected entry 'theta.npz'"),
    "no npy": (with_npy(b""), "theta is no array that a checkpoint may hold"),
    "text": (with_npy(b"1.0"), "theta is no array"),
    "npy 2.0": (with_npy(npy(np.ones(2)).replace(b"\1\0", b"\2\0", 1)), "theta is no array"),
    "objects": (with_npy(npy(np.array([None]), allow_pickle=True)), "theta is no array"),
    "big-endian": (with_npy(npy(np.ones(2, ">f8"))), "theta is no array"),
    "complex": (with_npy(npy(np.ones(2, complex))), "theta is no array"),
    "half": (with_npy(npy(np.ones(2, np.float16))), "theta is no array"),
    "text dtype": (with_npy(npy(np.array(["a"]))), "theta is no array"),
    "records": (with_npy(npy(np.zeros(2, [("x", "f8")]))), "theta is no array"),
    "Fortran order": (with_npy(npy(np.asfortranarray(np.ones((2, 3))))), "theta is no array"),
    "code for a shape": (with_shape(b"2 - 1,"), "theta is no array"),
    "a negative shape": (with_shape(b"-1,"), "theta is no array"),
    "too many axes": (with_shape(100 * b"1, "), "ValueError: .*dim"),
    "a cut array": (with_npy(npy(np.ones(2))[:-8]), r"theta has 8 bytes, its shape \(2,\) needs 16"),
    "an array with more": (with_npy(npy(np.ones(2)) + b"x"), "theta has 17 bytes"),
    "an absurd shape": (with_shape(b"10000000000000, 10"), "theta has 8 bytes, .* needs 800000000000000"),
    "an absurd shape of nothing": (with_shape(b"0, " + 30 * b"9"), "theta has 8 bytes, .* needs 0"),
    "an absurd number": (with_shape(5000 * b"9"), "theta|ValueError"),
    "two numbers in one": (with_shape(b"1 1"), "ValueError"),
    "NaN": (with_npy(npy(np.array([0.0, np.nan]))), r"theta must be finite, got nan at index \(1,\)"),
    "infinity": (with_npy(npy(np.array(-np.inf, np.float32))), "theta must be finite, got -inf"),
    "a third truth": (with_npy(npy(np.ones(3, bool))[:-1] + b"\2"), "theta holds bytes that are neither"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_before_it_is_parsed(tmp_path, monkeypatch, name):
    monkeypatch.delattr(zipfile, "ZipFile")
    refused(tmp_path / "run.npz", FOREIGN[name], "not a checkpoint of pgref, or cut short")


@pytest.mark.parametrize("name", FORGED)
def test_a_valid_seal_opens_no_door(tmp_path, name):
    refused(tmp_path / "run.npz", *FORGED[name])


def test_a_damaged_file_is_never_parsed(tmp_path, monkeypatch):
    data = bytearray(whole(tmp_path))
    data[200] ^= 1
    monkeypatch.delattr(zipfile, "ZipFile")
    refused(tmp_path / "run.npz", data, "damaged: its bytes do not have the SHA-256 of its seal")


def test_an_entry_twice_is_refused(tmp_path):
    entry = ("theta.npy", npy(np.ones(2)))
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = forged(entry, entry)
    refused(tmp_path / "run.npz", content, "an entry appears twice")


def test_entries_that_share_bytes_are_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("header.json", b"{}")
        archive.writestr("a.npy", npy(np.ones(2000)))
        for name in ("b.npy", "c.npy"):
            alias = copy.copy(archive.infolist()[1])
            alias.filename = name
            archive.filelist.append(alias)
    refused(tmp_path / "run.npz", sealed(file.getvalue()), "entries overlap: they are larger than the file")


class Opens:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_ever_unpickled(tmp_path):
    trap, path = tmp_path / "created", tmp_path / "run.npz"
    for array in (np.array([Opens(trap)], object), np.array(Opens(trap), object)):
        refused(path, with_npy(npy(array, allow_pickle=True)), "theta is no array")
    refused(path, with_npy(pickle.dumps(Opens(trap))), "theta is no array")
    refused(path, sealed(pickle.dumps(Opens(trap))), "BadZipFile")
    refused(path, pickle.dumps(Opens(trap)), "not a checkpoint")
    assert not trap.exists()


def test_a_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.npz")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load(os.devnull)


# ---------------------------------------------------------------------------------- what restore refuses

FOUND = {"actor.mean": np.ones(4610), "runner.0": np.array(3), "runner.1": np.array([65, 66], np.uint8)}
TEMPLATE = State(Actor(np.zeros(4610)), (0, ""), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actor.mean": np.ones(4868)}, r"actor.mean has shape \(4868,\), must have \(4610,\)"),
        ({"actor.mean": np.ones((4610, 1))}, r"actor.mean has shape \(4610, 1\), must have \(4610,\)"),
        ({"actor.mean": np.ones(4610, np.float32)}, "actor.mean has dtype float32, must have float64"),
        ({"actor.mean": np.ones(4610, ">f8")}, "actor.mean has dtype >f8, must have float64"),
        ({"runner.0": np.array(3.0)}, "runner.0 has dtype float64, must have int64"),
        ({"runner.0": np.array(True)}, "runner.0 has dtype bool, must have int64"),
        ({"runner.0": np.array([3])}, r"runner.0 has shape \(1,\), must have \(\)"),
        ({"runner.1": np.array(3)}, "runner.1 has dtype int64, must have uint8"),
        ({"runner.1": np.array([255], np.uint8)}, "runner.1 must be a string: .*utf-8"),
        ({"runner.0": None}, "runner.0 missing"),
        ({"runner.1": None, "actor.mean": None}, r"actor.mean, runner.1 missing"),
        ({"updates": np.array(1)}, "unexpected updates"),
        ({"z": np.array(1), "actor": np.array(1)}, "unexpected actor, z"),
    ],
)
def test_arrays_that_do_not_fit_the_template_are_refused(change, message):
    found = {name: array for name, array in {**FOUND, **change}.items() if array is not None}
    with pytest.raises(CheckpointError, match=rf"^run\.npz: {message}"):
        restore(TEMPLATE, found, Path("run.npz"))


def test_what_fits_the_template_is_restored():
    back = restore(TEMPLATE, FOUND, "run.npz")
    assert (back.actor.mean.sum(), back.runner, back.updates) == (4610.0, (3, "AB"), None)


def test_a_template_with_a_foreign_leaf_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"actor must be an array.*got object"):
        restore(State(object(), 1), {"actor": np.ones(1), "runner": np.array(1), "updates": np.array(1)}, "r")


# ------------------------------------------------------------------------------------------------- kills

# Each child saves state after state until it is killed, and says after each save which one that was. What
# the file then holds must be that state or the next one, whole; a kill between two system calls of a save
# leaves a temporary file, and the share of such kills shows that they do hit the writing itself.
KILLS = """
import itertools, json, mmap, os, random, signal, struct, sys, time
import numpy as np
from pgref import checkpoint

path, kills, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
returned = mmap.mmap(-1, 8)  # shared with the children

def save(k):
    checkpoint.save(path, {"k": k}, (k, np.full(20_000, float(k))))
    returned[:] = struct.pack("q", k)

def leftovers():
    return len(os.listdir(os.path.dirname(path))) - 1

save(0)
saves, interrupted, most = 0, 0, 0
started = time.perf_counter()
for _ in range(kills):
    first = struct.unpack("q", returned[:])[0] + 1
    child = os.fork()
    if not child:
        try:
            for k in itertools.count(first):
                save(k)
        finally:
            os._exit(1)
    time.sleep(random.uniform(0.001, 0.015))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the child ended by itself"
    last = struct.unpack("q", returned[:])[0]
    header, arrays = checkpoint.load(path)
    k, filled = checkpoint.restore((0, np.zeros(20_000)), arrays, path)
    assert header == {"k": k} and k in (last, last + 1), (header, k, last)
    assert (filled == k).all()
    returned[:] = struct.pack("q", k)
    saves += k + 1 - first
    interrupted += leftovers() > 0
    most = max(most, leftovers())
seconds = time.perf_counter() - started
save(k + 1)
print(json.dumps({"kills": kills, "saves": saves, "interrupted": interrupted, "most_leftovers": most,
                  "left": leftovers(), "seconds": seconds}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
@pytest.mark.parametrize("kills", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_kill_at_any_instant_leaves_the_last_file_or_the_next_one(tmp_path, kills):
    command = [sys.executable, "-c", KILLS, str(tmp_path / "run.npz"), str(kills), "20261122"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    print(record)  # noqa: T201 (the figures, with -s)
    assert record["interrupted"] >= kills / 50, "the kills do not hit the writing"
    assert record["left"] == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]
