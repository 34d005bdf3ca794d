"""The oracle: hand it a function, and it says equal, equal up to …, or what that function computes instead.

Every check takes a callable and returns a Report; `assert report.ok` in a test, `print(report)` by hand.
Names load on first use, so that pytest can load the plugin without NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pgref.oracle.families import FAMILIES

if TYPE_CHECKING:
    from pgref.oracle.distributions import categorical_entropy as categorical_entropy
    from pgref.oracle.distributions import categorical_kl as categorical_kl
    from pgref.oracle.distributions import categorical_kl_grad as categorical_kl_grad
    from pgref.oracle.distributions import categorical_log_prob as categorical_log_prob
    from pgref.oracle.distributions import categorical_mean_kl as categorical_mean_kl
    from pgref.oracle.distributions import gaussian_entropy as gaussian_entropy
    from pgref.oracle.distributions import gaussian_kl as gaussian_kl
    from pgref.oracle.distributions import gaussian_kl_grad as gaussian_kl_grad
    from pgref.oracle.distributions import gaussian_log_prob as gaussian_log_prob
    from pgref.oracle.distributions import gaussian_mean_kl as gaussian_mean_kl
    from pgref.oracle.environments import environment_step as environment_step
    from pgref.oracle.estimators import policy_gradient_estimator as policy_gradient_estimator
    from pgref.oracle.estimators import sampled_policy_gradient as sampled_policy_gradient
    from pgref.oracle.files import Checked as Checked
    from pgref.oracle.files import check_file as check_file
    from pgref.oracle.losses import policy_gradient_loss as policy_gradient_loss
    from pgref.oracle.losses import policy_gradient_loss_grad as policy_gradient_loss_grad
    from pgref.oracle.losses import ppo_loss as ppo_loss
    from pgref.oracle.losses import ppo_loss_grad as ppo_loss_grad
    from pgref.oracle.products import categorical_fisher_product as categorical_fisher_product
    from pgref.oracle.products import gaussian_fisher_product as gaussian_fisher_product
    from pgref.oracle.report import Report as Report
    from pgref.oracle.returns import gae as gae
    from pgref.oracle.returns import n_step_returns as n_step_returns
    from pgref.oracle.returns import normalise_advantages as normalise_advantages
    from pgref.oracle.returns import returns_to_go as returns_to_go
    from pgref.oracle.returns import td_errors as td_errors
    from pgref.oracle.steps import conjugate_gradient as conjugate_gradient
    from pgref.oracle.steps import line_search as line_search
    from pgref.oracle.steps import natural_step as natural_step
    from pgref.oracle.steps import trust_region_step as trust_region_step
    from pgref.oracle.value_losses import actor_critic_loss_grad as actor_critic_loss_grad
    from pgref.oracle.value_losses import clipped_value_loss as clipped_value_loss
    from pgref.oracle.value_losses import clipped_value_loss_grad as clipped_value_loss_grad
    from pgref.oracle.value_losses import td_loss_grad as td_loss_grad
    from pgref.oracle.value_losses import value_loss as value_loss
    from pgref.oracle.value_losses import value_loss_grad as value_loss_grad

OTHERS = {"files": "Checked check_file", "report": "Report"}
_HOME = {name: module for module, names in (FAMILIES | OTHERS).items() for name in names.split()}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pgref.oracle' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"pgref.oracle.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
