"""MDPs and policies survive a file bit for bit, and nothing else gets in."""

import copy
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from pgref import instances, mdpfile
from pgref.errors import ArgumentError, DataFileError

MDP = {
    "transitions": [[[0.5, 0.5], [1.0, 0.0]], [[0.0, 0.25], [0.0, 1.0]]],
    "rewards": [[1, 2.5], [0, -1]],
    "start": [1, 0],
    "discount": 0.9,
}
SPARSE = {
    "data": [0.5, 0.5, 1.0, 0.25, 1.0],
    "indices": [0, 1, 0, 1, 1],
    "indptr": [0, 2, 3, 4, 5],
    "shape": [4, 2],
    **{key: MDP[key] for key in ("rewards", "start", "discount")},
}
POLICY = [[0.5, 0.5], [0.25, 0.75]]


def without(content, key):
    return {k: v for k, v in content.items() if k != key}


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **{key: np.asarray(value) for key, value in arrays.items()})
    return file.getvalue()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def zipped(entries, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def parts(content):
    return [(f"{key}.npy", npy(np.asarray(value))) for key, value in content.items()]


def with_start(entry):
    """An archive whose start is these bytes."""
    return zipped([*parts(without(MDP, "start")), ("start.npy", entry)])


def same(m, other):
    for name in ("rewards", "start"):
        assert getattr(m, name).tobytes() == getattr(other, name).tobytes()
    assert m.discount == other.discount
    if isinstance(m.transitions, np.ndarray):
        assert m.transitions.tobytes() == other.transitions.tobytes()
    else:
        assert (m.transitions != other.transitions).nnz == 0
        assert m.transitions.data.tobytes() == other.transitions.data.tobytes()


@given(seed=st.integers(0, 2**32 - 1), suffix=st.sampled_from(["npz", "json"]), sparse=st.booleans())
def test_what_is_saved_loads_bit_for_bit(tmp_path_factory, seed, suffix, sparse):
    rng = np.random.default_rng(seed)
    m = instances.random_mdp(rng, 5, 3, 0.99, successors=2, ending=0.3, sparse=sparse)
    path = tmp_path_factory.mktemp("mdp") / f"m.{suffix}"
    mdpfile.save_mdp(path, m)
    same(mdpfile.load_mdp(path), m)
    same(mdpfile.load_mdp(str(path)), m)
    pi = instances.random_policy(rng, 5, 3)
    for name, content in {
        "p.npy": npy(pi),
        "p.npz": npz(policy=pi),
        "p.json": json.dumps({"policy": pi.tolist()}),
    }.items():
        (path.parent / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        assert mdpfile.load_policy(path.parent / name).tobytes() == pi.tobytes()


@pytest.mark.parametrize("content", [MDP, SPARSE])
@pytest.mark.parametrize("form", [lambda c: json.dumps(c).encode(), lambda c: npz(**c)])
def test_files_written_by_hand_are_read_whatever_their_name(tmp_path, content, form):
    path = tmp_path / "no-ending"
    path.write_bytes(form(content))
    m = mdpfile.load_mdp(path)
    p = m.transitions if isinstance(m.transitions, np.ndarray) else m.transitions.toarray().reshape(2, 2, 2)
    assert p.tolist() == MDP["transitions"]
    assert m.rewards.tolist() == MDP["rewards"]
    assert (m.start.tolist(), m.discount) == ([1.0, 0.0], 0.9)


class Opens:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


BAD = {
    "empty": (b"", "JSONDecodeError"),
    "foreign": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "UnicodeDecodeError"),
    "text": (b"not json", "JSONDecodeError"),
    "cut JSON": (json.dumps(MDP)[:-9].encode(), "JSONDecodeError"),
    "JSON of another kind": (b"[1, 2]", "must hold an object, got list"),
    "deep JSON": (b"[" * 100_000, "RecursionError"),
    "a key twice": (b'{"start": [1], "start": [1]}', "a key appears twice"),
    "missing keys": (json.dumps({"discount": 0.9, "transitions": []}).encode(), "rewards, start missing"),
    "an extra key": (json.dumps({**MDP, "extra": 1}).encode(), "unexpected extra"),
    "both forms": (json.dumps({**MDP, **SPARSE}).encode(), "unexpected transitions"),
    "NaN": (json.dumps({**MDP, "discount": float("nan")}).encode(), r"discount must be in \[0, 1\], got nan"),
    "text for numbers": (json.dumps({**MDP, "start": ["1", "0"]}).encode(), "start must hold real numbers"),
    "null": (json.dumps({**MDP, "start": None}).encode(), "start must hold real numbers"),
    "ragged": (json.dumps({**MDP, "rewards": [[1], [1, 2]]}).encode(), "rewards must be a rectangular array"),
    "a row above 1": (npz(**{**MDP, "transitions": np.ones((2, 2, 2))}), r"transitions\[0, 0\] sums to 2"),
    "another shape": (npz(**{**MDP, "start": [1.0, 0.0, 0.0]}), r"start must have shape \(2\), got \(3,\)"),
    "a discount with an axis": (npz(**{**MDP, "discount": [0.9]}), "discount must be"),
    "complex": (npz(**{**MDP, "start": [1j, 0]}), "start must hold real numbers"),
    "cut archive": (npz(**MDP)[:-30], "BadZipFile"),
    "cut inside": (with_start(npy(np.ones(2))[:-8]), "ValueError"),
    "compressed": (zipped(parts(MDP), zipfile.ZIP_DEFLATED), "entries must be stored, not compressed"),
    "a foreign entry": (zipped([*parts(MDP), ("../x.npy", b"")]), "unexpected entry '../x'"),
    "an entry that is no array": (zipped([*parts(without(MDP, "start")), ("start", b"1")]), "start must"),
    "a huge header": (with_start(npy(np.ones(2)).replace(b"(2,), }", b"(" + 20 * b"9" + b",), }")), "Error"),
    "objects": (npz(**{**MDP, "start": np.array([None, 1])}), "pickle"),
    "no policy key": (npz(other=POLICY), "unexpected entry 'other'"),
    "a sparse index out of range": (npz(**{**SPARSE, "indices": [0, 1, 0, 1, 2]}), "CSR|valid sparse"),
    "a negative sparse index": (npz(**{**SPARSE, "indices": [0, 1, 0, 1, -1]}), "CSR|valid sparse"),
    "sparse pointers that fall": (npz(**{**SPARSE, "indptr": [0, 4, 3, 4, 5]}), "CSR|valid sparse"),
    "too few sparse pointers": (npz(**{**SPARSE, "indptr": [0, 2, 5]}), "must be a CSR matrix"),
    "fractional indices": (npz(**{**SPARSE, "indices": [0.0, 1, 0, 1, 1]}), "indices must hold integers"),
    "another sparse shape": (npz(**{**SPARSE, "shape": [4, 3]}), "sparse transitions must have shape"),
    "a shape of three": (npz(**{**SPARSE, "shape": [2, 2, 2]}), r"shape must have shape \(2\)"),
    "sparse data missing": (npz(**without(SPARSE, "indptr")), "indptr missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_mdp_files_are_refused_with_path_and_reason(tmp_path, name):
    content, reason = BAD[name]
    path = tmp_path / "some.file"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=reason) as caught:
        mdpfile.load_mdp(path)
    assert str(path) in str(caught.value)


def test_every_cut_of_a_file_is_refused(tmp_path):
    for content in (npz(**MDP), npz(**SPARSE), json.dumps(MDP).encode()):
        for length in range(0, len(content), 13):
            (tmp_path / "cut").write_bytes(content[:length])
            with pytest.raises(DataFileError):
                mdpfile.load_mdp(tmp_path / "cut")


def test_entries_that_share_bytes_are_refused(tmp_path):
    """Two directory entries for one stored array: together they are larger than the file."""
    with zipfile.ZipFile(tmp_path / "forged", "w") as archive:
        archive.writestr("start.npy", npy(np.ones(2000)))
        alias = copy.copy(archive.infolist()[0])
        alias.filename = "rewards.npy"
        archive.filelist.append(alias)
    with pytest.raises(DataFileError, match="entries overlap: they are larger than the file"):
        mdpfile.load_mdp(tmp_path / "forged")


def test_an_entry_that_appears_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped([*parts(MDP), *parts({"start": [0.0, 1.0]})])
    (tmp_path / "twice").write_bytes(content)
    with pytest.raises(DataFileError, match="an entry appears twice"):
        mdpfile.load_mdp(tmp_path / "twice")


def test_nothing_is_ever_unpickled(tmp_path):
    trap = tmp_path / "created"
    array = np.array([Opens(trap)], object)
    files = {
        "a.npy": npy(array, allow_pickle=True),
        "a.npz": zipped([("policy.npy", npy(array, allow_pickle=True))]),
        "a.pickle": pickle.dumps(Opens(trap)),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        for load in (mdpfile.load_policy, mdpfile.load_mdp):
            with pytest.raises(DataFileError):
                load(tmp_path / name)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(np.array([[0.5, 0.6]])), r"policy\[0\] sums to 1.1 \(must be 1"),
        (npy(np.array([[1.5, -0.5]])), r"policy\[0, 1\] is -0.5"),
        (npy(np.array([0.5, 0.5])), r"policy must have shape \(any, any\), got \(2,\)"),
        (npy(np.ones((0, 2))), "policy must have at least one state and one action"),
        (npy(np.array([[1.0 + 0j]])), "policy must hold real numbers"),
        (npy(np.array([["a"]])), "policy must hold real numbers"),
        (npy(np.array([[0.5, 0.5]]))[:-4], "ValueError"),
        (json.dumps({"policy": [[1], [0.5, 0.5]]}).encode(), "policy must be a rectangular array"),
        (json.dumps({"pi": [[1.0]]}).encode(), "policy missing"),
        (json.dumps({"policy": [[1.0]], "pi": 1}).encode(), "unexpected pi"),
        (npz(**MDP), "policy missing"),
    ],
)
def test_bad_policy_files_are_refused_with_path_and_reason(tmp_path, content, reason):
    path = tmp_path / "some.file"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=reason) as caught:
        mdpfile.load_policy(path)
    assert str(path) in str(caught.value)


def test_a_bare_array_is_no_mdp(tmp_path):
    (tmp_path / "p.npy").write_bytes(npy(np.ones((1, 1, 1))))
    with pytest.raises(DataFileError, match="discount, rewards, start, transitions missing"):
        mdpfile.load_mdp(tmp_path / "p.npy")


def test_a_missing_file_stays_a_missing_file(tmp_path):
    for load in (mdpfile.load_mdp, mdpfile.load_policy):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "nowhere.npz")
        with pytest.raises(IsADirectoryError):
            load(tmp_path)


@pytest.mark.parametrize("name", ["m", "m.npy", "m.NPZ", "m.json.gz"])
def test_only_two_endings_are_written(tmp_path, name):
    m = instances.aliased_mdp()
    with pytest.raises(ArgumentError, match=r"path must end in .npz or .json, got .*" + name):
        mdpfile.save_mdp(tmp_path / name, m)
    assert list(tmp_path.iterdir()) == []


def test_other_sparse_forms_are_saved_as_csr(tmp_path):
    m = instances.TabularMDP(scipy.sparse.coo_matrix(np.eye(2)), np.ones((2, 1)), np.array([1.0, 0.0]), 0.5)
    for name in ("m.npz", "m.json"):
        mdpfile.save_mdp(tmp_path / name, m)
        same(mdpfile.load_mdp(tmp_path / name), m)
