"""A policy-gradient chapter as code: every definition, equation, algorithm and claim, numbered and verified.

Names load on first use, so that `import pgref` costs next to nothing and SciPy loads only where it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgref.agent import A2C as A2C
    from pgref.agent import A3C as A3C
    from pgref.agent import NPG as NPG
    from pgref.agent import PPO as PPO
    from pgref.agent import TRPO as TRPO
    from pgref.agent import VPG as VPG
    from pgref.agent import ActorCritic as ActorCritic
    from pgref.agent import Evaluation as Evaluation
    from pgref.agent import load as load
    from pgref.arrays import Workspace as Workspace
    from pgref.asynchrony import expected_iterates as expected_iterates
    from pgref.asynchrony import staleness_law as staleness_law
    from pgref.bounds import GapBounds as GapBounds
    from pgref.bounds import gap_bounds as gap_bounds
    from pgref.bounds import importance_surrogate as importance_surrogate
    from pgref.bounds import local_surrogate as local_surrogate
    from pgref.bounds import max_kl as max_kl
    from pgref.bounds import max_tv as max_tv
    from pgref.bounds import performance_difference as performance_difference
    from pgref.bounds import surrogate_gap as surrogate_gap
    from pgref.critic import Critic as Critic
    from pgref.distributions import Categorical as Categorical
    from pgref.distributions import DiagonalGaussian as DiagonalGaussian
    from pgref.distributions import MultiCategorical as MultiCategorical
    from pgref.errors import PgrefError as PgrefError
    from pgref.estimates import gae as gae
    from pgref.estimates import td_errors as td_errors
    from pgref.exact import natural_gradient as natural_gradient
    from pgref.exact import policy_gradient as policy_gradient
    from pgref.exact import trpo_exact_tabular as trpo_exact_tabular
    from pgref.mdp import TabularMDP as TabularMDP
    from pgref.mdp import action_values as action_values
    from pgref.mdp import advantages as advantages
    from pgref.mdp import expected_return as expected_return
    from pgref.mdp import state_values as state_values
    from pgref.mdp import visitation as visitation
    from pgref.mdpfile import load_mdp as load_mdp
    from pgref.mdpfile import load_policy as load_policy
    from pgref.natural import CGResult as CGResult
    from pgref.natural import conjugate_gradient as conjugate_gradient
    from pgref.natural import line_search as line_search
    from pgref.natural import natural_step as natural_step
    from pgref.networks import MLP as MLP
    from pgref.networks import Table as Table
    from pgref.networks import WithFreeOutputs as WithFreeOutputs
    from pgref.policy import Policy as Policy

__version__ = "0.1.0"

HOMES = {
    "agent": "A2C A3C ActorCritic Evaluation NPG PPO TRPO VPG load",
    "arrays": "Workspace",
    "asynchrony": "expected_iterates staleness_law",
    "bounds": "GapBounds gap_bounds importance_surrogate local_surrogate max_kl max_tv "
    "performance_difference surrogate_gap",
    "critic": "Critic",
    "distributions": "Categorical DiagonalGaussian MultiCategorical",
    "errors": "PgrefError",
    "estimates": "gae td_errors",
    "exact": "natural_gradient policy_gradient trpo_exact_tabular",
    "mdp": "TabularMDP action_values advantages expected_return state_values visitation",
    "mdpfile": "load_mdp load_policy",
    "natural": "CGResult conjugate_gradient line_search natural_step",
    "networks": "MLP Table WithFreeOutputs",
    "policy": "Policy",
}
_HOME = {name: module for module, names in HOMES.items() for name in names.split()}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pgref' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"pgref.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
