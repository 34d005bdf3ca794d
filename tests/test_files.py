"""A file that is being written holds the old bytes or the new ones, and nothing is left beside it."""

import errno
import os
import stat
import threading
from contextlib import suppress

import pytest

from pgref import cli, files, instances, mdpfile
from pgref.files import write_atomically

OLD, NEW = b"old" * 1000, b"new" * 30_000
LEFT = ".run.npz.0123456789abcdef.tmp"  # what a killed writer of run.npz leaves


@pytest.fixture
def target(tmp_path):
    (tmp_path / "run.npz").write_bytes(OLD)
    return tmp_path / "run.npz"


def raising(error):
    def function(*arguments, **options):
        raise error

    return function


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_file_is_made_and_replaced(tmp_path):
    for path in (tmp_path / "run.npz", str(tmp_path / "run.npz")):
        for data in (OLD, NEW, b""):
            write_atomically(path, data)
            assert (tmp_path / "run.npz").read_bytes() == data
            assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


def test_a_bare_name_is_written_into_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomically("run.npz", NEW)
    assert (tmp_path / "run.npz").read_bytes() == NEW


def test_the_data_are_on_the_disk_before_they_get_the_name_and_then_the_name_is(target, monkeypatch):
    done = []

    def fsync(descriptor):
        status = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(status.st_mode) else status.st_size)

    def replace(source, goal, real=os.replace):
        done.append("replace")
        real(source, goal)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomically(target, NEW)
    assert done == [len(NEW), "replace", "folder"]
    assert target.read_bytes() == NEW


def test_where_folders_cannot_be_opened_the_file_is_written_all_the_same(target, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.setattr(os, "open", raising(PermissionError(errno.EACCES, "a folder")))
    write_atomically(target, NEW)
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_fault_or_an_interrupt_at_any_step_leaves_the_old_file_alone(target, monkeypatch, step, error):
    monkeypatch.setattr(os, step, raising(error))
    with pytest.raises(type(error)):
        write_atomically(target, NEW)
    assert target.read_bytes() == OLD
    assert names(target) == ["run.npz"]


def test_a_disk_that_fills_up_halfway_leaves_the_old_file_and_the_message_names_it(target):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(NEW) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"run\.npz'$") as caught:
            write_atomically(target, NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(target))
    assert target.read_bytes() == OLD
    assert names(target) == ["run.npz"]


@pytest.mark.parametrize("mode", ["xb", "r+b"])  # a read-only folder; a read-only file, as open() sees it
def test_what_is_read_only_stays_as_it_is(target, monkeypatch, mode):
    def refuse(name, asked):
        if asked == mode:
            raise PermissionError(errno.EACCES, "Permission denied", str(name))
        return open(name, asked)

    monkeypatch.setattr(files, "open", refuse, raising=False)
    with pytest.raises(PermissionError, match=r"run\.npz'$"):
        write_atomically(target, NEW)
    assert target.read_bytes() == OLD
    assert names(target) == ["run.npz"]


def test_what_killed_writers_of_this_path_left_is_removed_and_nothing_else(target):
    others = [".run.npz.tmp", ".other.npz.0123456789abcdef.tmp", ".run.npz.0123456789ABCDEF.tmp",
              ".run.npz.x.0123456789abcdef.tmp", ".runxnpz.0123456789abcdef.tmp", f"{LEFT}x"]  # fmt: skip
    for name in (*others, LEFT, LEFT.replace("0", "f")):
        (target.parent / name).touch()
    write_atomically(target, NEW)
    assert names(target) == sorted([*others, "run.npz"])


def test_a_leftover_that_cannot_be_removed_is_no_fault(target):
    (target.parent / LEFT).mkdir()
    write_atomically(target, NEW)
    assert target.read_bytes() == NEW


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
def test_links_are_followed_and_permissions_kept(target, tmp_path):
    target.chmod(0o640)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.npz"
    link.symlink_to(target)
    write_atomically(link, NEW)
    assert link.is_symlink()
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (NEW, 0o640)
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    write_atomically(tmp_path / "fresh", NEW)
    assert (tmp_path / "fresh").stat().st_mode == ordinary.stat().st_mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_pipe_and_a_device_are_written_to_and_stay_what_they_are(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, NEW)
    reader.join(10)
    assert received == [NEW]
    assert pipe.is_fifo()
    write_atomically(os.devnull, NEW)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_folder_in_the_way_or_missing_is_the_systems_own_error(tmp_path):
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, NEW)
    with pytest.raises(FileNotFoundError, match=r"nowhere/run\.npz'$"):
        write_atomically(tmp_path / "nowhere" / "run.npz", NEW)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once_never_mix_their_bytes(target):
    contents, seen = [bytes([i]) * 50_000 for i in range(2)], set()

    def write(data):
        for _ in range(100):
            with suppress(FileNotFoundError):  # the other took its temporary file for a leftover
                write_atomically(target, data)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.add(target.read_bytes())
    assert seen <= {OLD, *contents}
    assert seen & set(contents)
    write_atomically(target, NEW)
    assert names(target) == ["run.npz"]


@pytest.mark.parametrize("name", ["m.npz", "m.json"])
def test_mdps_and_records_of_the_command_are_written_whole_or_not_at_all(tmp_path, monkeypatch, name):
    write = {
        "m.npz": lambda path: mdpfile.save_mdp(path, instances.aliased_mdp()),
        "m.json": lambda path: cli._write_json(str(path), True, {"items": []}),
    }[name]
    path = tmp_path / name
    write(path)
    before = path.read_bytes()
    path.write_bytes(OLD)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", raising(OSError(errno.EIO, "broken")))
        with pytest.raises(OSError, match="broken"):
            write(path)
        assert path.read_bytes() == OLD
    write(path)
    assert path.read_bytes() == before
    assert names(path) == [name]
