"""Every check passes on the code, whatever the seed; its negative controls are in a file for its module."""

import numpy as np
import pytest

from pgref import book

CHECKS = sorted({name for item in book.items() for name in item.checks})


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(("mdps", "seeds"), [(1, 5), (30, 5), (200, 1)])
def test_a_check_passes_on_the_code_and_names_each_finding_once(name, mdps, seeds):
    for seed in range(seeds):
        findings = book.check_function(name)(np.random.default_rng(seed), mdps)
        assert [f for f in findings if not f.ok] == [], seed
        assert len({f.what for f in findings}) == len(findings) >= 1


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_draws_all_chance_from_its_generator(name):
    first, second = (book.check_function(name)(np.random.default_rng(7), 5) for _ in range(2))
    assert first == second
