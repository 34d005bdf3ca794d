"""What the benchmarks share: a plain environment, interleaved timing, and a record of the machine.

Import this before NumPy. It lets OpenBLAS choose its kernel for the processor at hand and use one thread.
"""

import csv
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
import timeit
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

UNSET = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if os.environ.pop(name, None)]
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

RESULTS = Path(__file__).parent / "results"


class Spread(NamedTuple):
    """The middle half of repeated measurements, in seconds."""

    median_s: float
    low_s: float  # first quartile
    high_s: float  # third quartile


def spread(samples: list[float]) -> Spread:
    """Return the median and the quartiles; of one sample, that sample."""
    if len(samples) == 1:
        return Spread(*samples * 3)
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high)


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Spread]:
    """Return CPU seconds per call, the calls taking turns so that a busy moment hits all of them.

    With one thread on an idle machine these are wall seconds; on a busy one, waiting is left out. A call
    much shorter than the clock can time is repeated within its turn until the turn takes 20 ms.
    """
    timers = {name: timeit.Timer(call, timer=time.process_time) for name, call in calls.items()}
    turns = {name: max(1, round(0.02 / min(timer.repeat(2, 1)))) for name, timer in timers.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, timer in timers.items():
            samples[name].append(timer.timeit(turns[name]) / turns[name])
    return {name: spread(taken) for name, taken in samples.items()}


class Process(NamedTuple):
    """What one process took and said."""

    wall: float  # s
    cpu: float  # s, user and system
    output: str
    errors: str
    failure: str  # last line of its errors, empty if it succeeded


def process(command: Sequence[str], folder: Any = None) -> Process:
    """Run a command to its end in a process of its own; it stays on this process's cores."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, stdout=output, stderr=errors)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        said = errors.read()
        failure = (said.strip() or "failed").splitlines()[-1] if child.returncode else ""
        return Process(wall, used.ru_utime + used.ru_stime, output.read(), said, failure)


def one_core() -> None:
    """Stay on one core, with all threads and processes started from now on: JAX would take them all."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """Return processor, BLAS kernels and versions; what cannot be found out is said in words."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "blas": _blas(),
        "unset before NumPy was loaded": UNSET or "nothing was set",
    }


def describe(record: dict[str, Any]) -> None:
    """Print the machine and the settings, a line each."""
    for part in record.values():
        for key, value in part.items():
            print(f"{key}: {value}")


def version(package: str) -> str:
    """Return the installed version of a package, or that there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def write(out: Path, name: str, record: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write NAME.json with everything and NAME.csv with one line for each measurement."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps({**record, "rows": rows}, indent=1), encoding="utf-8")
    with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    print(f"\nwritten: {out / name}.json and .csv")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _blas() -> Any:
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return "unknown: threadpoolctl is not installed"
    import numpy  # noqa: F401  loads the library that is asked about
    import scipy.linalg  # noqa: F401

    keys = ("internal_api", "version", "architecture", "num_threads")
    found = [{key: pool.get(key) for key in keys} for pool in threadpool_info()]
    return [pool for pool in found if pool["internal_api"] != "openmp"]
