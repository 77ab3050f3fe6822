import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from samscope.analysis.stats import (
    Spread,
    holm,
    mean_interval,
    paired_interval,
    rank_agreement,
    spreads,
)


@pytest.mark.parametrize(
    ("values", "quantile"),
    [
        # Quantiles of Student's t have closed forms for one and two degrees of freedom.
        ([3.0, 7.0], math.tan(math.pi * 0.475)),
        ([1.0, 2.0, 6.0], 0.95 / math.sqrt(2 * 0.975 * 0.025)),
    ],
)
def test_interval_is_the_closed_form(values, quantile):
    n, mean = len(values), sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    interval = mean_interval(values)
    assert interval.mean == pytest.approx(mean)
    assert interval.half == pytest.approx(quantile * spread / math.sqrt(n))
    assert (interval.low, interval.high) == (mean - interval.half, mean + interval.half)
    assert interval.n == n


def test_p_value_is_the_closed_form_for_two_degrees_of_freedom():
    t = mean_interval([1.0, 2.0, 6.0]).t
    assert t == pytest.approx(3 / math.sqrt(7 / 3))
    assert mean_interval([1.0, 2.0, 6.0]).p == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_interval_of_three_covers_what_it_says():
    draws = np.random.default_rng(0).normal(5.0, 2.0, (4000, 3))
    hits = [interval.low < 5.0 < interval.high for interval in map(mean_interval, draws)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.01)


def test_one_value_has_a_mean_and_no_interval():
    interval = mean_interval([4.0])
    assert (interval.mean, interval.n) == (4.0, 1)
    assert all(math.isnan(x) for x in (interval.low, interval.high, interval.p))


@pytest.mark.parametrize("values", [[], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0]])
def test_nothing_is_said_of_no_or_lost_values(values):
    interval = mean_interval(values)
    assert math.isnan(interval.mean)
    assert math.isnan(interval.half)
    assert math.isnan(interval.p)
    assert interval.n == len(values)


@pytest.mark.parametrize("values", [[0.25, 0.25], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_equal_values_say_nothing_of_chance(values):
    interval = mean_interval(values)
    assert (interval.mean, interval.n) == (values[0], len(values))
    assert all(math.isnan(x) for x in (interval.low, interval.high, interval.p))


def test_differences_that_are_equal_but_for_rounding_are_equal():
    a, b = pd.Series([50.3, 47.2]), pd.Series([50.2, 47.1])
    assert len(set(a - b)) == 2
    assert math.isnan(paired_interval(a, b).p)
    # The same spread of values of the size of their differences is a spread.
    assert mean_interval(a - b).error == 0 < mean_interval([1e-9, 2e-9]).error
    assert paired_interval(a, b + pd.Series([0.0, 1e-6])).p < 0.01


def test_paired_interval_uses_the_seeds_both_have():
    a = pd.Series({0: 10.0, 1: 12.0, 2: 19.0, 7: 1000.0})
    b = pd.Series({2: 11.0, 1: 9.0, 0: 8.0, 9: -1000.0})
    found = paired_interval(a, b)
    expected = scipy_stats.ttest_rel([10.0, 12.0, 19.0], [8.0, 9.0, 11.0])
    assert (found.n, found.p) == (3, pytest.approx(expected.pvalue))
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_holm_rejects_what_the_step_down_procedure_rejects():
    """Holm (1979): compare the smallest p with alpha / m, the next with alpha / (m - 1), ..."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        p, alpha = rng.uniform(0, 0.1, 5), rng.uniform(0.01, 0.2)
        rejected = set()
        for step, i in enumerate(np.argsort(p)):
            if p[i] > alpha / (5 - step):
                break
            rejected.add(int(i))
        assert {i for i, value in enumerate(holm(p)) if value <= alpha} == rejected


def test_holm_leaves_out_what_has_no_p_value():
    adjusted = holm([0.04, math.nan, 0.01])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.02)


def test_tolerance_is_the_closed_form_for_two_degrees_of_freedom():
    quantile = 0.95 / math.sqrt(2 * 0.975 * 0.025)
    assert Spread(0.4, 2).tolerance(3) == pytest.approx(quantile * 0.4 * math.sqrt(4 / 3))
    assert Spread(0.4, 2).p(Spread(0.4, 2).tolerance(3), 3) == pytest.approx(0.05)
    assert math.isnan(Spread(math.nan, 0).tolerance(3))
    assert math.isnan(Spread(math.nan, 0).p(1.0, 3))
    assert math.isnan(Spread(0.0, 2).tolerance(3))
    assert math.isnan(Spread(0.0, 2).p(0.1, 3))


def test_one_more_run_falls_within_the_tolerance_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(200):
        means = rng.normal(75, 3, 20)
        cells, printed = rng.normal(means, 0.3, (3, 20)).T, rng.normal(means, 0.3)
        for values, spread, number in zip(cells, spreads(cells), printed, strict=True):
            hits.append(abs(number - values.mean()) <= spread.tolerance(3))
    assert np.mean(hits) == pytest.approx(0.95, abs=0.01)


def test_spread_is_pooled_over_the_cells():
    pooled = spreads([[1.0, 3.0], [5.0, 6.0, 7.0], [4.0], [1.0, math.nan]])
    assert {(round(s.sd, 12), s.df) for s in pooled} == {(round(math.sqrt(4 / 3), 12), 3)}
    assert [s.df for s in spreads([[1.0], [2.0]])] == [0, 0]


def test_a_collapsing_cell_keeps_its_own_spread():
    rng = np.random.default_rng(3)
    calm = list(rng.normal(78, 0.3, (20, 3)))
    *rest, wild = spreads([*calm, [40.0, 60.0, 75.0]])
    assert {s.df for s in rest} == {40}
    assert rest[0].sd == pytest.approx(math.sqrt(np.mean([v.var(ddof=1) for v in calm])))
    assert (wild.df, wild.sd) == (2, pytest.approx(np.std([40, 60, 75], ddof=1)))


def test_ranks_count_the_pairs_in_the_same_order():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 6))
    pairs = [(i, j) for i in range(6) for j in range(i)]
    signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in pairs]
    assert rank_agreement(a, b).tau == pytest.approx(sum(signs) / 15)
    # All 120 orders of five are as likely; two of them are as extreme as this one.
    assert rank_agreement([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]).tau == pytest.approx(-1)


def test_ranks_leave_out_what_is_missing_and_say_nothing_of_two():
    assert rank_agreement([1, 2, math.nan, 4], [1, 2, 3, 4]).n == 3
    assert math.isnan(rank_agreement([1.0, 2.0], [1.0, 2.0]).tau)
    assert math.isnan(rank_agreement([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).tau)
