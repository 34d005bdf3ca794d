"""What the tests of the checks share."""

import inspect


def checks_of(module):
    """Return the checks that a module of pgref.checks defines: its public functions."""
    functions = [f for name, f in vars(module).items() if inspect.isfunction(f) and name[0] != "_"]
    return {f for f in functions if f.__module__ == module.__name__}


def rejected(check, rng, mdps=20):
    """Return what the check finds false."""
    return [finding.what for finding in check(rng, mdps) if not finding.ok]
