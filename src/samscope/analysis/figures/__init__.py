"""The figures by name. A figure is one file in this folder and one entry here.

Each ``draw`` makes a `Drawn`: the picture, the numbers in it, and a caption. Drawing libraries are
imported when something is drawn, because the workflow reads this registry to plan its jobs.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.analysis.figures import selection
from samscope.errors import InputError
from samscope.plan.papers import Plan

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
        landscape: whether it reads loss surfaces too.
    """

    name: str
    title: str
    cells: Callable[[Plan], tuple[str, ...]]
    curvature: bool = False
    landscape: bool = False


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("accuracy_vs_rho", "Test accuracy against rho", selection.variant_cells),
        Figure("paired_differences", "Differences to SGD and to SAM", selection.variant_cells),
        Figure("rescaling", "Rescaling SAM's gradient on a region", selection.rescaled_cells),
        Figure("region_shares", "Shares of the four regions", selection.sam_cells),
        Figure("shares_by_kind", "Shares of the regions by kind of layer", selection.sam_cells),
        Figure("ratio_bins", "Sizes of the ratio above 1", selection.sam_cells),
        Figure("persistence", "How long parameters stay in a region", selection.sam_cells),
        Figure("magnitude_ranks", "Region 1 and the largest gradients", selection.sam_cells),
        Figure("share_accuracy", "Share of region 1 and accuracy", selection.sam_cells),
        Figure("learning_rate", "The effective learning rate", selection.control_cells),
        Figure("lambda_max", "Sharpness", selection.measured_cells, curvature=True),
        Figure("over_training", "Curvature over training", selection.measured_cells, True),
        Figure("spectral_density", "Spectra of SGD and SAM", selection.sgd_and_sam_cells, True),
        Figure("noise_floor", "Noise, rounding, curvature", selection.sgd_and_sam_cells, True),
        Figure("lines", "Loss along lines", selection.mapped_cells, landscape=True),
        Figure("contours", "Loss on planes", selection.mapped_cells, landscape=True),
        Figure("surfaces", "Loss surfaces", selection.mapped_cells, landscape=True),
    )
}


def draw(plan: Plan, name: str) -> "Drawn":
    """Draw a figure from the records there are; what has not been run is shown as not run.

    Raises:
        InputError: for an unknown name, or a truncated or malformed record.
    """
    if name not in FIGURES:
        raise InputError("samscope figure", "name", name, ", ".join(FIGURES))
    from samscope.analysis.figures import canvas

    module = importlib.import_module(f"{__name__}.{name}")
    with canvas.styled():
        return module.draw(plan)


def write(plan: Plan, name: str) -> None:
    """Write ``<name>.svg``, ``.pdf``, ``.png`` and ``.csv`` (the numbers) to the figures."""
    from samscope.analysis.results import put

    drawn = draw(plan, name)
    folder = plan.results / "figures"
    put(folder / f"{name}.svg", drawn.svg())
    put(folder / f"{name}.pdf", drawn.pdf())
    put(folder / f"{name}.png", drawn.png())
    put(folder / f"{name}.csv", drawn.data.to_csv(index=False, lineterminator="\n"))
