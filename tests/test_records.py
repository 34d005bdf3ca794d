"""Rows of updates, and the files that hold them: read back, cut off anywhere, continued."""

import csv
import json
import math
import os
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgref import records
from pgref.errors import ArgumentError, ArgumentTypeError, DataFileError, MissingExtraError

FORMATS = [records.Csv, records.Jsonl]


class Episodes(NamedTuple):
    returns: Any
    lengths: Any


class Step(NamedTuple):
    kl: float
    status: str


class Update(NamedTuple):
    updates: int
    steps: int
    status: str
    episodes: Episodes
    kl: Any = None
    accepted: bool = True


class Staleness(NamedTuple):
    updates: int
    staleness: Any
    step: Step


def update(n, k=2, **fields):
    """Return the n-th update, in which k episodes ended."""
    rng = np.random.default_rng(n)
    episodes = Episodes(rng.standard_normal(k), rng.integers(1, 500, k))
    return Update(n, 100 * n, "done", episodes, **fields)


def named(values):
    """Return a NamedTuple with those fields."""
    return NamedTuple("Named", [(name, Any) for name in values])(**values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


def recorded(path, kind, updates, **settings):
    with kind(path, **settings) as record:
        for one in updates:
            record(one)
    return path.read_bytes()


def test_a_row_holds_the_fields_and_what_the_episodes_were():
    episodes = Episodes(np.array([1.0, 2.0, 6.0]), np.array([10, 20, 33]))
    assert records.row(Update(3, 64, "flat", episodes, 0.25, False)) == {
        "updates": 3,
        "steps": 64,
        "status": "flat",
        "episodes": 3,
        "mean_return": 3.0,
        "mean_length": 21.0,
        "kl": 0.25,
        "accepted": False,
    }


def test_means_of_no_episodes_are_none():
    row = records.row(update(1, k=0))
    assert (row["episodes"], row["mean_return"], row["mean_length"]) == (0, None, None)


@pytest.mark.parametrize(
    ("array", "mean", "largest"),
    [
        (np.array([0, 3, 6]), 3.0, 6),
        (np.array([[0.5, -1.5]], np.float32), -0.5, 0.5),
        (np.array([True, False]), 0.5, True),
        (np.array([], int), None, None),
        (np.array([-np.inf, np.inf]), math.nan, math.inf),
        (np.full(2, 1.5e308), math.inf, 1.5e308),
        (np.array([2**24, 2**24 + 2], np.float32), 2.0**24 + 1, 2.0**24 + 2),
    ],
)
def test_another_array_becomes_its_mean_and_its_largest_entry(array, mean, largest):
    row = records.row(Staleness(1, array, Step(0.1, "done")))
    assert list(row) == ["updates", "staleness_mean", "staleness_max", "step.kl", "step.status"]
    assert repr((row["staleness_mean"], row["staleness_max"])) == repr((mean, largest))


def test_a_record_inside_a_record_gets_dotted_names():
    inner = Update(2, 5, "done", Episodes(np.array([4.0]), np.array([5])))
    row = records.row(named({"updates": 1, "trial": inner}))
    assert row["trial.steps"] == 5
    assert (row["trial.episodes"], row["trial.mean_return"], row["trial.mean_length"]) == (1, 4.0, 5.0)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(2**62), 2**62),
        (np.bool_(True), True),
        (np.array(7), 7),
        (np.str_("x"), "x"),
        (10**400, 10**400),
        (None, None),
    ],
)
def test_numbers_of_numpy_become_those_of_python(value, plain):
    found = records.row(named({"value": value}))["value"]
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize("value", [[1.0], {"a": 1}, 1j, np.array(["x"]), np.array(1j), np.longdouble(1), len])
def test_a_field_that_is_no_plain_value_is_refused(value):
    with pytest.raises(ArgumentTypeError, match="field must be a number, a word, None, an array"):
        records.row(named({"field": value}))


def test_an_update_that_is_no_named_tuple_is_refused():
    with pytest.raises(ArgumentTypeError, match="update must be a NamedTuple, got dict"):
        records.row({"updates": 1})


def test_two_fields_for_one_column_are_refused():
    with pytest.raises(ArgumentError, match=r"different names, got kl_mean, kl_max, kl_mean$"):
        records.row(named({"kl": np.ones(2), "kl_mean": 1.0}))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_recorder_leaves_the_update_as_it_was(kind, tmp_path):
    one = update(1, kl=np.ones(3))
    before = repr(one)
    for array in (*one.episodes, one.kl):
        array.setflags(write=False)
    recorded(tmp_path / "run", kind, [one])
    assert repr(one) == before


texts = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    [
        "nan",
        "-inf",
        "Infinity",
        "True",
        "None",
        "1_0",
        " 1",
        '"',
        '"a"',
        "a,b",
        "{}",
        "\r",
        "\u2028",
        "\ud800",
    ]
)
values = st.none() | st.booleans() | st.integers() | st.floats() | texts


@given(st.lists(st.lists(values, min_size=2, max_size=2), min_size=1, max_size=4))
@example([[math.nan, -0.0], [math.inf, 5e-324], [-math.inf, ""]])
@example([[None, None]])
def test_a_csv_gives_back_every_value_and_its_type(folder, table):
    rows = [{"nan": a, "word": b} for a, b in table]
    recorded(folder / "run.csv", records.Csv, map(named, rows))
    assert repr(records.read(folder / "run.csv")) == repr(rows)


@given(st.lists(values, min_size=1, max_size=4))
@example([math.nan, -0.0, math.inf, 5e-324, -math.inf, ""])
def test_json_lines_give_back_every_value_but_the_words_for_numbers(folder, column):
    rows = [{"value": value} for value in column if value not in ("nan", "inf", "-inf")]
    recorded(folder / "run.jsonl", records.Jsonl, map(named, rows))
    assert repr(records.read(folder / "run.jsonl")) == repr(rows)


def test_a_csv_is_what_the_standard_library_reads(tmp_path):
    recorded(tmp_path / "run.csv", records.Csv, [update(1), update(2, k=0)])
    with open(tmp_path / "run.csv", newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["updates"], first["status"], first["accepted"]) == ("1", "done", "True")
    assert float(first["mean_return"]) == update(1).episodes.returns.mean()
    assert second["mean_return"] == ""


def test_json_lines_are_strict_json(tmp_path):
    content = recorded(
        tmp_path / "run.jsonl", records.Jsonl, [update(1, kl=math.nan), update(2, kl=-math.inf)]
    )
    lines = [json.loads(line, parse_constant=pytest.fail) for line in content.splitlines()]
    assert [line["kl"] for line in lines] == ["nan", "-inf"]


@pytest.mark.parametrize("kind", FORMATS)
def test_each_line_is_in_the_file_before_the_call_returns(kind, tmp_path):
    with kind(tmp_path / "run") as record:
        for n in range(1, 4):
            record(update(n))
            assert [row["updates"] for row in records.read(tmp_path / "run")] == list(range(1, n + 1))


@pytest.mark.parametrize("kind", FORMATS)
@given(data=st.data())
def test_a_run_cut_off_anywhere_and_resumed_leaves_the_file_of_one_that_was_not(folder, kind, data):
    updates = [update(n, k=n % 3) for n in range(1, 6)]
    path = folder / "cut"
    whole = recorded(path, kind, updates)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    resume_at = data.draw(st.integers(0, len(records.read(path))))
    resumed = recorded(path, kind, updates[resume_at:], append=True, resume_at=resume_at)
    assert resumed == whole


@pytest.mark.parametrize("kind", FORMATS)
def test_append_without_a_count_keeps_every_whole_row(kind, tmp_path):
    path = tmp_path / "run"
    whole = recorded(path, kind, [update(1), update(2)], append=True)
    path.write_bytes(whole + b"3,tor")
    assert recorded(path, kind, [], append=True) == whole
    assert recorded(path, kind, [update(5)]) != whole
    assert [row["updates"] for row in records.read(path)] == [5]


@pytest.mark.parametrize("kind", FORMATS)
def test_other_columns_are_refused_and_nothing_is_written(kind, tmp_path):
    path = tmp_path / "run"
    with kind(path) as record:
        record(update(1))
        before = path.read_bytes()
        with pytest.raises(ArgumentError, match=r"run: columns must be updates, steps, .*, got updates, kl$"):
            record(named({"updates": 2, "kl": 0.1}))
        assert path.read_bytes() == before
        record(update(2))
    with kind(path, append=True) as record, pytest.raises(ArgumentError, match="columns must be"):
        record(named({"updates": 3}))
    assert [row["updates"] for row in records.read(path)] == [1, 2]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_first_update_that_fails_fixes_no_columns(kind, tmp_path):
    with kind(tmp_path / "run") as record:
        with pytest.raises(ArgumentTypeError):
            record(named({"updates": [1]}))
        record(update(1))
    assert len(records.read(tmp_path / "run")) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_a_clock_adds_the_seconds_and_a_resumed_run_counts_on(kind, tmp_path):
    path = tmp_path / "run"
    recorded(path, kind, [update(1), update(2)], clock=iter([10.0, 10.5, 12.0]).__next__)
    recorded(path, kind, [update(2)], append=True, resume_at=1, clock=iter([100.0, 101.0]).__next__)
    assert [row["seconds"] for row in records.read(path)] == [0.5, 1.5]
    assert "seconds" not in records.row(update(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resume_at": 3}, "resume_at must come with append=True, got 3 alone"),
        ({"append": True, "resume_at": -1}, "resume_at must be a whole number of at least 0, got -1"),
        ({"append": True, "resume_at": 1.5}, "resume_at must be a whole number"),
    ],
)
@pytest.mark.parametrize("kind", FORMATS)
def test_settings_out_of_range_are_refused_before_the_file_is_touched(kind, settings, message, tmp_path):
    path = tmp_path / "run"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(ArgumentError, match=message):
        kind(path, **settings)
    assert path.read_text(encoding="utf-8") == "precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names here")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_pipe_takes_the_lines(kind, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with kind(tmp_path / "pipe") as record:
        record(update(1))
    found = os.read(reader, 65536)
    os.close(reader)
    with kind(tmp_path / "file") as record:
        record(update(1))
    assert found == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_without_a_folder_is_an_error_of_the_system(kind, tmp_path):
    with pytest.raises(FileNotFoundError):
        kind(tmp_path / "none" / "run")
    with pytest.raises(FileNotFoundError):
        records.read(tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"updates,kl\n1\n", "line 2: "),
        (b"updates,kl\n1,2\n1,2,3\n", "line 3: "),
        (b'updates,kl\n1,"2\n', "line 2: unexpected end of data"),
        (b'updates,kl\n1,"""2"\n', "line 2: "),
        (b"updates\n\xff\n", "line 2: .*utf-8"),
        (b"updates,kl\n\n", "line 2: "),
        (b'{"updates": 1}\n{"updates": \n', "line 2: "),
        (b'{"updates": 1}\n[2]\n', "line 2: must be an object, got list"),
    ],
)
def test_a_line_that_holds_no_row_is_named(content, message, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match="run, " + message):
        records.read(path)
    with pytest.raises(DataFileError, match="run, " + message):
        records.Csv(path, append=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (records.Csv, b'{"updates": 1}\n', "must be a file of Csv"),
        (records.Jsonl, b"updates\n1\n", "must be a file of Jsonl"),
        (records.Csv, b"steps\n1\n", "every row must have a whole number of updates"),
        (records.Jsonl, b'{"updates": 1.5}\n', "every row must have a whole number of updates"),
    ],
)
def test_a_file_of_something_else_is_not_appended_to(kind, content, message, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message):
        kind(path, append=True)
    assert path.read_bytes() == content


def test_a_file_without_a_whole_line_has_no_rows(tmp_path):
    for content in (b"", b"updates,st", b'{"upd', b"updates,steps\n"):
        (tmp_path / "run").write_bytes(content)
        assert records.read(tmp_path / "run") == []


def test_tensorboard_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pgref\[tb\]"'):
        records.TensorBoard(tmp_path)
