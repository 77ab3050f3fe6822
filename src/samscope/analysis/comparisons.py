"""What claims compare: the records of some cells, two variants at a rho, a share and a level."""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import pandas as pd

from samscope.analysis import choice, gathered, printed, results, scope, selection, spectra
from samscope.analysis.effects import Comparison, by_seed, compared, metrics_compared, near
from samscope.analysis.stats import mean_interval, paired_interval
from samscope.analysis.view import View
from samscope.config.claims import BEST, NONE, Bounded, Margins, Trend, variant_leaves
from samscope.metrics import METRICS, of_stage
from samscope.plan.rows import applying
from samscope.plan.types import Plan, Row

HELD_OUT = "held_out_"

Side = tuple[str, float | None, Mapping[str, Any]]
"""Of a comparison: a variant, a rho and settings."""


class Records:
    """The records of the cells that a view shows, read once, and what is compared in them."""

    def __init__(self, view: View, margins: Margins = NONE) -> None:
        self.view = view
        self.margins = margins
        self._without: int | None = None
        self._found: dict[tuple, list[tuple[str, Row]]] = {}
        self._tables: dict[tuple[str | None, str], pd.DataFrame] = {}
        self._series: dict[tuple[str | None, str, str], pd.Series] = {}

    @property
    def seeds(self) -> list[int]:
        """Of what has been read."""
        frames = (frame for frame in self._tables.values() if "seed" in frame)
        return sorted({int(seed) for frame in frames for seed in frame.seed.unique()})

    def without(self, seed: int | None) -> "Records":
        """The same but for a seed, or for none."""
        other = copy(self)
        other._without = seed
        return other

    @cached_property
    def unlike(self) -> str:
        """Why its levels are not compared with printed ones, see `samscope.analysis.scope`."""
        shown = (row for row, values in self._rows if printed.fits(values, self.view.where))
        row = next(shown, None)
        return scope.unlike(self.view.plan, self.view.paper.name, row) if row else ""

    def cell(
        self, variant: str, rho: float | None, settings: Mapping[str, Any] | None = None
    ) -> str | None:
        """Id of the planned cell of a variant at a rho; None where it is not planned.

        It departs from the paper's protocol in nothing but what the view is of, the variant's own
        leaves (as in ``sameckpt3 condition=0.1``) and the settings. Where the paper printed the
        better of several, it is that of ours, see `samscope.analysis.choice`.

        Args:
            variant: as a claim names it; "" of what is not trained.
            rho: of its ascent, of which a variant without one has none; None: any.
            settings: leaves, as the paper has them.
        """
        found = self._named(variant, rho, settings or {})
        return found[0][1].cell if found else None

    def printed(self, metric: str, a: Side, b: Side) -> tuple[float, ...]:
        """What the paper prints of ``a`` minus ``b``, once for each table that has both.

        A ratio where runs differ by factors. Numbers that must not be compared are left out.

        Args:
            metric: that is compared; of a column of the history nothing is printed.
            a: variant, rho and settings, as `cell` takes them.
            b: likewise.
        """
        if metric not in METRICS:
            return ()
        left, right = (self._printed(metric, *side) for side in (a, b))
        pairs = [(value, right[table]) for table, value in left.items() if table in right]
        if METRICS[metric].factors:
            return tuple(float(f"{a / b:.4g}") for a, b in pairs if a > 0 and b > 0)
        return tuple(float(f"{a - b:.4g}") for a, b in pairs)

    def _printed(
        self, metric: str, variant: str, rho: float | None, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """By table, the number of a variant; of one that stands at several rhos, that at this."""
        rows = [
            (table, row)
            for table, row in self._named(variant, rho, settings)
            if row.metric == metric and not row.reported.excluded and row.reported.printed
        ]
        rows.sort(key=lambda found: found[1].at("rho") == rho)
        return {table: row.reported.value for table, row in rows}

    def _named(
        self, variant: str, rho: float | None, settings: Mapping[str, Any]
    ) -> list[tuple[str, Row]]:
        """The rows that name the cell of a variant, see `cell`, with their tables."""
        said = (variant_leaves(variant) if variant else {}) | dict(settings)
        leaves = {**self.view.where, **said}
        key = (rho, *leaves.items())
        if key not in self._found:
            found = [
                (table, row)
                for (row, values), table in zip(self._rows, self._tables_of_rows, strict=True)
                if row.cell and printed.fits(values, leaves)
                # What is chosen among several values has none of them before it is.
                if all(said[k] == BEST or len(values[k]) == 1 for k in said.keys() & values.keys())
                if all(leaf in leaves or len(values[leaf]) > 1 for leaf in row.varied)
                if rho is None or not _ascends(row) or printed.fits(values, {"rho": rho})
            ]
            # A row that says a value itself has it in every profile; of another, a profile's
            # protocol may have put its own in the place of the paper's.
            own = [len(said.keys() & {*row.varied}) for _, row in found]
            first = found[own.index(max(own))][1] if found else None
            self._found[key] = [
                (table, row)
                for (table, row), count in zip(found, own, strict=True)
                if count == max(own) and first and row.cell == first.cell
            ]
        return self._found[key]

    def values(self, variant: str, rho: float, metric: str) -> pd.Series:
        """A metric by seed; empty if not run."""
        return self.of(self.cell(variant, rho), metric)

    def of(self, cell: str | None, name: str, when: str = "mean") -> pd.Series:
        """By seed: a metric of a cell, or a column of its history, ``when`` as in claims.yaml.

        A metric that follows training is that at the best-validation epoch; one that is measured
        afterwards is of the last.
        """
        key = (cell, name, when)
        if key not in self._series:  # the same but for a seed is asked for once a seed
            self._series[key] = self.without(None)._of(*key)
        found = self._series[key]
        return found if self._without is None else found[found.index != self._without]

    def _of(self, cell: str | None, name: str, when: str) -> pd.Series:
        if name not in METRICS:
            return self._history(cell, name, when)
        stage = METRICS[name].stage
        frame = self._read(cell, stage, partial(results.metrics, names=of_stage(stage)))
        frame = frame[(frame.metric == name) & (frame.selection == "best_val")]
        return frame.set_index("seed").value

    def history(self, variant: str, rho: float, column: str, when: str) -> pd.Series:
        """A column of the history by seed, of the epochs that have it; empty if not run.

        ``held_out_`` stands for the validation samples, or the test's where there are none.
        """
        return self._history(self.cell(variant, rho), column, when)

    def course(self, variant: str, rho: float, column: str) -> dict[int, pd.Series]:
        """A column of the history by epoch, and by seed; empty if not run."""
        frame = self._rows_of(self.cell(variant, rho), column)
        return {int(at): rows.set_index("seed")[column] for at, rows in frame.groupby("epoch")}

    def _history(self, cell: str | None, column: str, when: str) -> pd.Series:
        return over_epochs(self._rows_of(cell, column), when)[column]

    def _rows_of(self, cell: str | None, column: str) -> pd.DataFrame:
        """Seed, epoch and a column of the history, of the epochs that have it."""
        held = column
        if cell and column.startswith(HELD_OUT):
            held = f"{selection.held_out(self.view, cell)}_{column.removeprefix(HELD_OUT)}"
        frame = self._read(cell, "history", results.histories)
        frame = frame.reindex(columns=["seed", "epoch", held]).rename(columns={held: column})
        return frame.astype({"epoch": float, column: float}).dropna()

    def share(self, variant: str, rho: float, name: str, when: str) -> pd.Series:
        """A bin's share of all parameters by seed, in percent; empty if not run."""
        frame = gathered.total(self.gathered(variant, rho, "ratios"))
        return over_epochs(frame, when)[name]

    def trajectory(self, variant: str, rho: float, metric: str) -> pd.DataFrame:
        """A metric of the weights along training: seed, epoch, training loss, value."""
        stage, read = METRICS[metric].stage, spectra.measured
        if stage != "curvature":
            read = partial(results.along, stage=stage)
        frame = self._read(self.cell(variant, rho), f"trajectory {stage}", read)
        return frame[["seed", "epoch", "loss"]].assign(value=frame[metric])

    def gathered(self, variant: str, rho: float, name: str) -> pd.DataFrame:
        """A table of `samscope.analysis.gathered`, of a variant at a rho; empty if not run."""
        return self._read(self.cell(variant, rho), name, partial(gathered.read, name=name))

    def _read(
        self, cell: str | None, name: str, read: Callable[[Plan, list[str]], pd.DataFrame]
    ) -> pd.DataFrame:
        """A table of a cell, read once; of no cell, one without rows."""
        if (cell, name) not in self._tables:
            self._tables[cell, name] = read(self.view.plan, [cell] if cell else [])
        frame = self._tables[cell, name]
        if self._without is None or "seed" not in frame:
            return frame
        return frame[frame.seed != self._without]

    def missing(self, *wanted: tuple[str, float]) -> str:
        """Why there is no result for the first of these variants at a rho that has none."""
        return why_missing(self.cell(*at) for at in wanted)

    def pair(
        self, metric: str, a: str, b: str, rho: float, side: str = "a_above_b", rival: str = ""
    ) -> Comparison:
        """``a`` minus ``b`` at a rho, paired over seeds; a ratio where runs differ by factors."""
        left, right = (self.values(variant, rho, metric) for variant in (a, b))
        missing = self.missing((a, rho), (b, rho))
        at = at_rho(rho, rival)
        found = metrics_compared(at, metric, left, right, side, missing, self.margins)
        return replace(found, printed=self.printed(metric, (a, rho, {}), (b, rho, {})))

    def trend(
        self,
        claim: Trend,
        rho: float,
        of: Callable[[str], pd.Series],
        part: str = "",
        margin: float = 0.0,
    ) -> Comparison:
        """Late minus early share, in points, paired over seeds.

        That it does not fall is tested as that it falls by less than a margin: of no change at
        all, a test could never tell that it is none.

        Args:
            claim: that something rises or falls.
            rho: of the variant.
            of: the share by seed at a time, as in claims.yaml.
            part: of what, where a claim is of several.
            margin: in points.
        """
        early, late = of(claim.early), of(claim.late)
        shown = paired_interval(late, early)
        falls = claim.direction == "falls"
        gain = paired_interval(early, late) if falls else paired_interval(late + margin, early)
        missing = self.missing((claim.variant, rho))
        # "Does not fall" has a margin of its own, within which it holds.
        alike = [] if margin else near(late, early, "points", self.margins)
        found = compared(at_rho(rho, part), shown, "points", [gain], missing, alike)
        return replace(found, pairs=by_seed(late - early))

    def against(
        self, claim: Bounded, rho: float, found: pd.Series, chance: pd.Series | None = None
    ) -> Comparison:
        """What is found against the claim's bounds, or above chance where it has none."""
        low, high, missing = claim.at_least, claim.at_most, self.missing((claim.variant, rho))
        if not claim.of_level:
            shown = paired_interval(found, chance)
            alike = near(found, chance, "points", self.margins)
            level = compared(at_rho(rho), shown, "points", [shown], missing, alike)
            return replace(level, pairs=by_seed(found if chance is None else found - chance))
        gains = [] if low is None else [mean_interval(found - low)]
        gains += [] if high is None else [mean_interval(high - found)]
        level = compared(at_rho(rho), mean_interval(found), "%", gains, missing)
        return replace(level, pairs=by_seed(found))

    @cached_property
    def _rows(self) -> list[tuple[Row, dict[str, tuple[str, ...]]]]:
        """Those of the view's tables, whatever its cells, with their leaves in the paper."""
        rows = choice.settled(self.view.plan, replace(self.view, where={}).rows)
        return [(row, printed.values(self.view.paper, row)) for row in rows]

    @cached_property
    def _tables_of_rows(self) -> list[str]:
        """The table of each of `_rows`."""
        tables = self.view.paper.tables
        return [name for name in self.view.tables or tables for _ in tables[name].rows]


def _ascends(row: Row) -> bool:
    """Whether a row's spec has an ascent, and so a rho: SGD is at all of them."""
    return applying(row.spec).get("rho", 0.0) is not None


def why_missing(cells: Iterable[str | None]) -> str:
    """Why there is no result for one of some cells, of which None is not planned."""
    return "not planned" if None in cells else "no result yet"


def told(settings: Mapping[str, Any]) -> str:
    """Leaves in words, ``batch_size=1024,lr=0.1``; what the paper has where there are none."""
    named = ((k, f"{v:g}" if isinstance(v, float) else v) for k, v in settings.items())
    return ",".join(f"{k}={v}" for k, v in named) or "the protocol"


def at_rho(rho: float, part: str = "") -> str:
    """What is compared where, in words."""
    return f"rho {rho:g}" + (f", {part}" if part else "")


def over_epochs(frame: pd.DataFrame, when: str) -> pd.DataFrame:
    """By seed: means over the epochs of a frame that are meant, ``when`` as in claims.yaml."""
    epochs = frame.groupby("seed").epoch
    first, last = epochs.transform("min"), epochs.transform("max")
    meant = {
        "mean": frame.epoch >= first,
        "first_epoch": frame.epoch == first,
        "last_epoch": frame.epoch == last,
        "first_half": 2 * frame.epoch <= last,
        "second_half": 2 * frame.epoch > last,
    }
    return frame[meant[when]].groupby("seed").mean(numeric_only=True)
