"""What workers read and write without a lock, in plain memory or in memory that processes share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pgref.arrays import Array, Vector


class Shared(NamedTuple):
    """The arrays; whoever adds to one may overwrite what another adds at the same time."""

    pushed: Vector  # [M] int64 pushes of each worker, which alone writes it
    additions: Vector  # [P] int64 what each weight should have been added, less what was lost
    weights: Vector  # [P] θ, then ψ
    slots: Any  # the optimiser's NamedTuple of arrays [P]: the statistics of all workers


def share(weights: Vector, slots: Any, n_workers: int) -> Shared:
    """Return copies of the weights and of the optimiser's state, and counters at 0."""
    copies = type(slots)(*(slot.copy() for slot in slots))
    return Shared(np.zeros(n_workers, np.int64), np.zeros(len(weights), np.int64), weights.copy(), copies)


def push(shared: Shared, update: Vector, slots: Any, worker: int) -> None:
    """Add an update to the weights, element by element in place, and put down the new statistics.

    NumPy releases the GIL for arrays of more than about 500 elements; then other workers add meanwhile, and
    an element that two read before either writes has taken one addition for two. `additions` is added to in
    the same way, and shows it.

    Source: Recht, Ré, Wright & Niu (2011), HOGWILD!; Mnih et al. (2016) for the shared statistics.
    """
    for old, new in zip(shared.slots, slots, strict=True):
        old[...] = new
    np.add(shared.weights, update, out=shared.weights)
    np.add(shared.additions, 1, out=shared.additions)
    shared.pushed[worker] += 1


def lost_rate(shared: Shared) -> float:
    """Return the share of additions to single weights that were lost, from 0 to 1."""
    due = int(shared.pushed.sum()) * len(shared.additions)
    return 1.0 - int(shared.additions.sum()) / due if due else 0.0


def laid_out(shared: Shared, buffer: Any) -> Shared:
    """Return views of a buffer of `n_bytes(shared)` with the shapes and dtypes of `shared`."""
    views: list[Array] = []
    start = 0
    for array in _arrays(shared):  # int64 first, so that each begins at a multiple of its item's size
        views.append(np.frombuffer(buffer, array.dtype, array.size, start))
        start += array.nbytes
    pushed, additions, weights, *slots = views
    return Shared(pushed, additions, weights, type(shared.slots)(*slots))


def n_bytes(shared: Shared) -> int:
    """Return the size of all arrays together."""
    return sum(array.nbytes for array in _arrays(shared))


def write(target: Shared, source: Shared) -> None:
    """Copy all arrays of `source` into those of `target`."""
    for into, array in zip(_arrays(target), _arrays(source), strict=True):
        into[...] = array


def _arrays(shared: Shared) -> list[Array]:
    return [*shared[:3], *shared.slots]
