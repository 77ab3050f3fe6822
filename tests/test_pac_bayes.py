"""The bounds against numbers worked out by hand, a divergence by integration, and their limits."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from samscope.analysis.pac_bayes import foret, mcallester, spread, telling_radius


def test_the_theorem_by_hand():
    """K = 4, n = 101, |w| = 3, rho = 1: with delta = 1.01 the second logarithm is log 100."""
    # log 101 = 4.615121, its root over 2 is 1.074141; (3 * 2.074141)^2 = 38.718545
    # 4 log 39.718545 = 14.727270; 4 log 100 = 18.420681; 8 log 618 = 51.411987
    assert foret(3.0, 1.0, 4, 101, 1.01) == pytest.approx(
        math.sqrt((14.727270 + 18.420681 + 51.411987) / 100), rel=1e-6
    )


def test_mcallester_by_hand():
    """The same, with sigma = 1 / (2 + 2.148283) and KL = 4.5 * 4.148283^2 = 77.437156."""
    assert spread(1.0, 4, 101) == pytest.approx(1 / 4.148283, rel=1e-6)
    assert mcallester(3.0, 1.0, 4, 101, 1.01) == pytest.approx(
        math.sqrt((77.437156 + 4.605170) / 200), rel=1e-6
    )


def test_its_divergence_is_that_of_the_two_gaussians():
    """In one dimension, by integration of q log(q / p)."""
    n, rho, norm, delta = 1000, 2.0, 1.5, 0.05
    sigma = spread(rho, 1, n)
    q, p = stats.norm(norm, sigma), stats.norm(0, sigma)
    integrand = lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x))  # noqa: E731
    divergence, _ = integrate.quad(integrand, norm - 10 * sigma, norm + 10 * sigma)
    found = mcallester(norm, rho, 1, n, delta) ** 2 * 2 * (n - 1) - math.log(n / delta)
    assert found == pytest.approx(divergence, rel=1e-6)


def test_noise_of_the_spread_stays_in_the_ball():
    """But for a part of at most 1 / sqrt n of the draws."""
    k, n, rho = 50, 400, 0.3
    norms = np.linalg.norm(
        np.random.default_rng(0).normal(0, spread(rho, k, n), (20000, k)), axis=1
    )
    assert 0 < (norms > rho).mean() < 1 / math.sqrt(n)


@pytest.mark.parametrize(("norm", "k", "n"), [(12.5, 8340, 50000), (3.0, 10, 600)])
def test_the_slack_is_1_at_the_telling_radius(norm, k, n):
    assert foret(norm, telling_radius(norm, k, n), k, n) == pytest.approx(1, rel=1e-9)


def test_few_samples_tell_at_no_radius():
    assert telling_radius(3.0, 4, 60) == math.inf
    assert foret(3.0, 1e9, 4, 60) > 1
