"""Reading what runs gather of the ratio during training: ratios.csv and persistence.csv."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from samscope.analysis import results
from samscope.errors import InputError
from samscope.optim.bins import BINS, COLUMNS, EDGES, PERSISTENCE, RATIOS, REST, region_of
from samscope.plan.types import Plan
from samscope.store import recorded

FILES = {"ratios": RATIOS, "persistence": PERSISTENCE}
REGION_OF = {name: region_of(name) for name in BINS}


def read(plan: Plan, cells: Iterable[str], name: str) -> pd.DataFrame:
    """A table of all runs that count: column cell, then those of the file.

    ``epoch`` is the step where a cell's budget is in steps, see `samscope.spec.Budget.unit`.

    Args:
        plan: of the profile.
        cells: ids.
        name: ``ratios`` or ``persistence``.

    Raises:
        InputError: for a file of other columns or with a cut line, naming it.
    """
    frames = []
    for cell in dict.fromkeys(cells):
        for run in results.runs(plan, cell):
            path = plan.run_dir(cell) / f"seed={run.seed}" / f"{name}.csv"
            if path.exists():
                frames.append(_read(path, FILES[name]).assign(cell=cell))
    columns = ["cell", *FILES[name]]
    known = [frame for frame in frames if len(frame)]
    return pd.concat(known, ignore_index=True)[columns] if known else pd.DataFrame(columns=columns)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path).rename(columns={"step": "epoch"})
        cut = not path.read_bytes().endswith(b"\n")
    except (OSError, ValueError) as error:
        raise InputError(path, "file", str(error), recorded.REDO) from None
    if tuple(frame.columns) != columns or cut:
        raise InputError(path, "file", "other columns, or a line is cut", recorded.REDO)
    return frame


def printed(plan: Plan, paper: str, name: str) -> pd.DataFrame:
    """Numbers of a paper's figures or text, as ``figures/<name>.csv`` of its folder has them."""
    path = plan.papers[paper].folder / "figures" / f"{name}.csv" if paper in plan.papers else None
    return pd.read_csv(path) if path and path.exists() else pd.DataFrame()


def total(frame: pd.DataFrame) -> pd.DataFrame:
    """All kinds of a frame of ratios together: a row an epoch, cell and seed.

    Shares are those of all parameters, sums those over them.
    """
    frame = frame[frame.batch == "all"]
    if frame.empty:
        numbers = ["seed", "epoch", "parameters", *COLUMNS]
        return pd.DataFrame({"cell": [], **{name: np.empty(0) for name in numbers}})
    shares = [*BINS, *REST]
    weights = frame.parameters.to_numpy()[:, None]
    weighted = frame.assign(
        **dict(zip(shares, (frame[shares] * weights).to_numpy().T, strict=True))
    )
    summed = weighted.groupby(["cell", "seed", "epoch"], sort=False).sum(numeric_only=True)
    summed[shares] = summed[shares].div(summed.parameters, axis=0)
    return summed.reset_index()


def regions(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the columns region1 to region4, sums of its bins."""
    shares = {
        f"region{region}": frame[[b for b in BINS if REGION_OF[b] == region]].sum(axis=1)
        for region in (1, 2, 3, 4)
    }
    return frame.assign(**shares)


def bins(low: float, high: float, sign: int = 1) -> list[str]:
    """Names of the bins of sign r with |r| from ``low`` to ``high``, which must be edges.

    >>> bins(1, 1.5), bins(16, float("inf"))
    (['1<r<1.2', '1.2<r<1.5'], ['16<r<32', '32<r<64', 'r>64'])
    """
    half = BINS[: len(BINS) // 2] if sign > 0 else BINS[len(BINS) // 2 :]
    starts = np.array([0, *EDGES]).round(3)  # 1.2 is 1.2002
    chosen = (starts >= low) & (starts < high)
    return [name for name, inside in zip(half, chosen, strict=True) if inside]


def independent_share(low: float, high: float) -> float:
    """Percent of r = h/g in an interval if g and h were independent normals of one variance.

    The ratio is then Cauchy's; a quarter of it is in each region.

    >>> round(independent_share(1, float("inf")), 6)
    25.0
    """
    return float(100 * (np.arctan(high) - np.arctan(low)) / np.pi)
