"""Files that hold what they held before or all of what is new, whatever happens while they are written."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

Location: TypeAlias = "str | os.PathLike[str]"


def write_atomically(path: Location, data: bytes) -> None:
    """Write a file that holds all of `data`, or after a fault, a kill or a power cut what it held before.

    The bytes go into a temporary file beside the target, then onto the disk, and only then get the name.
    Temporary files that killed writers of this path left are removed. So a path has one writer at a time: of
    two at once one may fail, and the file is whole all the same. Links are followed, an existing file's
    permissions kept, and what is no regular file, a pipe or /dev/stdout, is written to as it is.

    Raises:
        OSError: no such folder, no permission, no space left, …; the old file is intact.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        Path(path).write_bytes(data)
        return
    target = Path(os.path.realpath(path))
    replacing = target.exists()
    if replacing:
        open(target, "r+b").close()  # raises for a file that may not be written; replacing it would not
    _remove_leftovers(target)
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            if replacing:
                shutil.copymode(target, temporary)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:  # a full disk says no name, a full folder that of the temporary file
        error.filename = os.fspath(path)
        raise
    finally:
        with suppress(OSError):  # after the replacement it is gone
            temporary.unlink()
    _sync_folder(target.parent)


def _remove_leftovers(target: Path) -> None:
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.tmp")
    with suppress(OSError):  # a folder that cannot be listed, a file that another writer has just removed
        for name in filter(ours.fullmatch, os.listdir(target.parent)):
            target.with_name(name).unlink()


def _sync_folder(folder: Path) -> None:
    """Bring the new name onto the disk, where the system lets a folder be opened."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
