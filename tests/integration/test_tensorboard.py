"""An event file is read back record by record: length, checksum, protocol buffer."""

import math
import struct
from typing import Any, NamedTuple

import numpy as np
import pytest

from pgref import records
from pgref.errors import ArgumentError

pytestmark = pytest.mark.integration


class Episodes(NamedTuple):
    returns: Any
    lengths: Any


class Update(NamedTuple):
    updates: int
    steps: int
    status: str
    episodes: Episodes
    kl: float | None
    accepted: bool


@pytest.fixture
def scalars(peer):
    """Return the function that reads (name, steps, value) from the one event file of a folder."""
    peer("tensorboardX")
    events, checksum = peer("tensorboardX.proto.event_pb2"), peer("tensorboardX.crc32c").crc32c

    def masked(data):
        crc = checksum(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    def read(folder):
        (path,) = folder.iterdir()
        content, found = path.read_bytes(), []
        while content:
            size, crc = struct.unpack("<QI", content[:12])
            assert crc == masked(content[:8])
            event = events.Event.FromString(content[12 : 12 + size])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            content = content[16 + size :]
        return found

    return read


def test_numbers_stand_against_the_steps_and_words_and_none_are_left_out(scalars, tmp_path):
    clock = iter([10.0, 10.5, 12.0]).__next__
    with records.TensorBoard(tmp_path, clock=clock) as record:
        record(Update(1, 64, "done", Episodes(np.array([1.0, 2.0]), np.array([7, 9])), 0.25, True))
        record(Update(2, 2**40, "flat", Episodes(np.array([]), np.array([], int)), math.inf, False))
    assert scalars(tmp_path) == [
        ("updates", 64, 1.0),
        ("episodes", 64, 2.0),
        ("mean_return", 64, 1.5),
        ("mean_length", 64, 8.0),
        ("kl", 64, 0.25),
        ("accepted", 64, 1.0),
        ("seconds", 64, 0.5),
        ("updates", 2**40, 2.0),
        ("episodes", 2**40, 0.0),
        ("kl", 2**40, math.inf),
        ("accepted", 2**40, 0.0),
        ("seconds", 2**40, 2.0),
    ]


def test_the_file_is_closed_on_errors_with_what_was_recorded(scalars, tmp_path):
    record = records.TensorBoard(tmp_path)
    record(NamedTuple("Some", [("steps", int), ("kl", float)])(3, 0.5))
    with pytest.raises(KeyboardInterrupt), record:
        raise KeyboardInterrupt
    assert scalars(tmp_path) == [("kl", 3, 0.5)]


def test_an_update_without_steps_is_refused(scalars, tmp_path):
    with records.TensorBoard(tmp_path) as record, pytest.raises(ArgumentError, match="have steps, got kl"):
        record(NamedTuple("Some", [("kl", float)])(0.5))
