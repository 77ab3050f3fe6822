"""The figures by name. A figure is one file in this folder and one entry here.

Each ``draw`` makes a `Drawn`: the picture, the numbers in it, and a caption. Drawing libraries are
imported when something is drawn, because the workflow reads this registry to plan its jobs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.analysis.figures import selection
from samscope.errors import InputError
from samscope.papers import Plan

if TYPE_CHECKING:
    from samscope.analysis.figures.canvas import Drawn


@dataclass(frozen=True)
class Figure:
    """An entry of the registry.

    Attributes:
        name: of its files.
        title: heading in the report.
        cells: ids of the cells it shows, from a plan.
        curvature: whether it reads spectra too.
    """

    name: str
    title: str
    cells: Callable[[Plan], tuple[str, ...]]
    curvature: bool = False


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("accuracy_vs_rho", "Test accuracy against rho", selection.variant_cells),
        Figure("paired_differences", "Differences to SGD and to SAM", selection.variant_cells),
        Figure("rescaling", "Rescaling SAM's gradient on a region", selection.rescaled_cells),
        Figure("region_shares", "Shares of the four regions", selection.sam_cells),
        Figure("lambda_max", "Sharpness", selection.measured_cells, curvature=True),
    )
}


def draw(plan: Plan, name: str) -> "Drawn":
    """Draw a figure from the records there are; what has not been run is shown as not run.

    Raises:
        InputError: for an unknown name, or a truncated or malformed record.
    """
    if name not in FIGURES:
        raise InputError("samscope figure", "name", name, ", ".join(FIGURES))
    from samscope.analysis.figures import (
        accuracy_vs_rho,
        canvas,
        lambda_max,
        paired_differences,
        region_shares,
        rescaling,
    )

    modules = (accuracy_vs_rho, lambda_max, paired_differences, region_shares, rescaling)
    by_name = {module.__name__.rpartition(".")[2]: module for module in modules}
    with canvas.styled():
        return by_name[name].draw(plan)


def write(plan: Plan, name: str) -> None:
    """Write ``<name>.svg``, ``.png`` and ``.csv`` (the numbers) to the profile's figures."""
    from samscope.analysis.results import put

    drawn = draw(plan, name)
    folder = plan.results / "figures"
    put(folder / f"{name}.svg", drawn.svg())
    put(folder / f"{name}.png", drawn.png())
    put(folder / f"{name}.csv", drawn.data.to_csv(index=False, lineterminator="\n"))
