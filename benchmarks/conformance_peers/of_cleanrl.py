"""The adapter to CleanRL, whose statements run with our arrays: it has no functions for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance_peers.calls import Call, noop, ppo_calls, tensor


def cleanrl() -> Iterator[Call]:
    """Yield the calls of CleanRL's ppo.py."""
    yield Call("gae", "ppo.py, the block with lastgaelam", cleanrl_gae)
    yield from ppo_calls("ppo.py, for epoch in …", cleanrl_update)


@cache
def statements(name: str) -> Any:
    """Return the statement of the installed ppo.py that contains the name, compiled."""
    package = find_spec("cleanrl")
    file = Path(next(iter(package.submodule_search_locations)), "ppo.py")
    blocks = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.With, ast.For))
        and any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))
    ]
    wanted = [b for b in blocks if isinstance(b, ast.With) or getattr(b.target, "id", "") == "epoch"]
    if not wanted:
        raise LookupError(f"ppo.py has no block with {name}")
    return compile(ast.Module([wanted[-1]], []), str(file), "exec")


def cleanrl_gae(
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    truncated: Any,
    discount: float,
    trace: float,
) -> Any:
    """Return the advantages; dones[t], as the script stores it, is the one flag of the step before."""
    import torch

    ends = tensor(terminated | truncated).double()
    names = {
        "args": SimpleNamespace(gae=True, gamma=discount, gae_lambda=trace, num_steps=len(rewards)),
        "agent": SimpleNamespace(get_value=lambda obs: obs),
        "next_obs": tensor(next_values[-1]),
        "next_done": ends[-1],
        "dones": torch.cat([torch.zeros_like(ends[:1]), ends[:-1]]),
        "rewards": tensor(rewards),
        "values": tensor(values),
        "device": "cpu",
        "torch": torch,
    }
    exec(statements("lastgaelam"), names)
    return names["advantages"]


def cleanrl_update(
    given: Any, clip: float = 0.2, clip_values: bool = False, normalise: bool = False
) -> tuple[Any, Any]:
    """Run one epoch of one minibatch; return its losses."""
    import torch

    def acted(obs: Any, actions: Any) -> tuple[Any, ...]:  # the script shuffles: obs are the rows' numbers
        at = obs.long()
        return None, given.log_probs[at], torch.zeros(given.n), given.values[at]

    args = SimpleNamespace(batch_size=given.n, minibatch_size=given.n, update_epochs=1, clip_coef=clip)
    args.norm_adv, args.clip_vloss = normalise, clip_values
    args.ent_coef, args.vf_coef, args.max_grad_norm, args.target_kl = 0.0, 1.0, np.inf, None
    names = {
        **{"np": np, "torch": torch, "nn": torch.nn, "args": args, "clipfracs": []},
        "agent": SimpleNamespace(get_action_and_value=acted, parameters=list),
        "optimizer": SimpleNamespace(zero_grad=noop, step=noop),
        **{"b_inds": np.arange(given.n), "b_obs": torch.arange(given.n), "b_actions": torch.zeros(given.n)},
        **{"b_logprobs": given.old_log_probs, "b_advantages": given.advantages},
        **{"b_values": given.old_values, "b_returns": given.targets},
    }
    exec(statements("pg_loss"), names)
    return names["pg_loss"].item(), names["v_loss"].item()
