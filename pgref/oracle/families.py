"""Every check by name, and the module that holds it. Loads nothing before a check is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

FAMILIES = {  # modules of this package, each with its checks and with COMPONENTS
    "returns": "gae n_step_returns normalise_advantages returns_to_go td_errors",
    "losses": "policy_gradient_loss policy_gradient_loss_grad ppo_loss ppo_loss_grad",
    "value_losses": "actor_critic_loss_grad clipped_value_loss clipped_value_loss_grad td_loss_grad "
    "value_loss value_loss_grad",
    "distributions": "categorical_entropy categorical_kl categorical_kl_grad categorical_log_prob "
    "categorical_mean_kl gaussian_entropy gaussian_kl gaussian_kl_grad gaussian_log_prob gaussian_mean_kl",
    "products": "categorical_fisher_product gaussian_fisher_product",
    "steps": "conjugate_gradient line_search natural_step trust_region_step",
    "estimators": "policy_gradient_estimator sampled_policy_gradient",
    "environments": "environment_step",
}


def check_names() -> list[str]:
    """Return the names of all checks, family by family."""
    return [name for names in FAMILIES.values() for name in names.split()]


def check_named(name: str) -> Callable[..., Any]:
    """Return the check of that name, which must be one of `check_names`."""
    family = next(module for module, names in FAMILIES.items() if name in names.split())
    check: Callable[..., Any] = getattr(import_module(f"pgref.oracle.{family}"), name)
    return check
