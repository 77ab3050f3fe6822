"""What training gathers of the two gradients of a step: tallies by epoch, and persistence.

A region compares h, what a step of SAM goes along, with g, what one of SGD would on the same
samples. h is the gradient at w + e, wherever the ascent ends: another norm, several steps or a
random direction change where, not what is compared. Of micro-batches both are means over the parts,
g at w and h at the points that the parts climbed to: no region of any one part, whose ratios would
be noisier. Where the second order is kept, h has what comes through e in it, so that an r beyond 1
says that the loss rises or that e turns; where it is observed or dropped, h is the gradient alone.
Weight decay that is part of the loss is part of both.

Nothing here touches the training: it reads g and h after the step is made. On a GPU `record` is
part of the step's graph, and only the end of a row of the history waits for the device.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from samscope.observe import ratios, reductions
from samscope.observe.persistence import Persistence, pack
from samscope.optim.bins import COLUMNS, KINDS, SUMS, short


class Observer:
    """The statistics of a run, gathered on the device.

    Args:
        model: whose parameters the gradients are of.
        device: of the gradients.
        compiled: turns a function into compiled code; None leaves it as it is.

    Attributes:
        g: where a step is to write its gradient at w, in the order of ``model.parameters()``.
        h: where it is to write that at w + e.
        persistence: of the regions.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, compiled: Callable | None = None
    ) -> None:
        kinds, first = ratios.layer_kinds(model), next(model.parameters())
        self._sizes = [int((kinds == kind).sum()) for kind in range(len(KINDS))]
        size, held = len(kinds), len(kinds)
        # `tally` reads the bits of a float32. It takes several steps of a small model at once:
        # each call of torch costs as much as a thousand elements.
        self._late = device.type == "cpu" and not compiled and first.dtype == torch.float32
        if self._late:
            depth = max(1, ratios.BLOCK // size)
            self._kept, self._filled = torch.zeros(2, depth, size), 0
            self._rows = self._kept.unbind(1)
            self._places = ratios.places(kinds, depth)
            self.g, self.h = torch.zeros(2, size) if depth > 1 else self._kept[:, 0]
        else:
            self._layout = reductions.layout(kinds).to(device)
            self._reduce = (compiled or (lambda f: f))(reductions.reductions)
            like = first.detach().to(device)
            self._rooms = (reductions.room(self._layout, like), reductions.room(self._layout, like))
            self.g, self.h = (room.view(-1)[:size] for room in self._rooms)
            held = self._layout.rows * reductions.ROW
        self.last = ratios.empty_table(device)
        self.sum = torch.zeros_like(self.last)
        self._members = ratios.memberships().to(device)
        self.persistence = Persistence(size, held, device)

    def begin(self, rows: int = 0, steps: int = 0) -> None:
        """Start a run of so many rows, of so many steps each; without any, one without references.

        A row is one of the run's history: mostly an epoch, see `samscope.spec.Budget`.
        """
        self._filled = 0
        self.sum.zero_()
        self.persistence.begin(rows, steps)

    def record(self) -> None:
        """Take in the gradients that a step has written to ``g`` and ``h``: part of its graph."""
        if self._late:
            return
        table, flags = reductions.tally(*self._rooms, self._layout, self._reduce)
        self.last.copy_(table)
        self.sum += self.last
        self.persistence.record(pack(flags), ratios.region_counts(self.last, self._members))

    def advance(self) -> None:
        """What `record` leaves to do outside of a recorded graph."""
        if not self._late:
            self.persistence.advance()
            return
        if self._kept.shape[1] > 1:
            for kept, gradient in zip(self._rows[self._filled], (self.g, self.h), strict=True):
                kept.copy_(gradient)
        self._filled += 1
        if self._filled == self._kept.shape[1]:
            self._catch_up()

    def _catch_up(self) -> None:
        """Take in the steps that wait for it."""
        steps, self._filled = self._filled, 0
        if not steps:
            return
        g, h = self._kept[:, :steps]
        table, flags = ratios.tally(g, h, self._places[:steps])
        self.last.copy_(table[:, -1])
        self.sum += table.sum(1)
        counts = ratios.region_counts(table, self._members)
        for packed, count in zip(pack(flags), counts, strict=True):
            self.persistence.record(packed, count)
            self.persistence.advance()

    def end_row(self, where: Mapping[str, Any], steps: int) -> list[dict[str, Any]]:
        """What is said of the last ``steps``, by the names of `samscope.optim.bins.RATIOS`.

        Args:
            where: the seed, and the epoch or step that ends.
            steps: of the row.
        """
        if self._late:
            self._catch_up()
        start = {**where, "batch": "all"}
        rows = []
        for kind, size, sums in zip(
            KINDS, self._sizes, ratios.columns(self.sum).tolist(), strict=True
        ):
            if size:
                values = dict(zip(COLUMNS, (s / steps for s in sums), strict=True))
                shown = _shares(values, size) | {k: short(values[k]) for k in SUMS}
                rows.append({**start, "kind": kind, "parameters": size, **shown})
        last = dict(zip(COLUMNS, ratios.columns(self.last).sum(0).tolist(), strict=True))
        about = {"batch": "last", "kind": "all", "parameters": sum(self._sizes)}
        rows.append({**start, **about, **_shares(last, sum(self._sizes))})
        self.sum.zero_()
        return rows

    def accumulators(self) -> list[Tensor]:
        """What `record` adds to."""
        return [self.sum, self.persistence.unbroken, self.persistence.chance]

    def state(self) -> dict[str, Tensor]:
        """What a run resumed between rows needs, but for the number of its steps."""
        return self.persistence.state()

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        """Go on after ``step`` from a copy of `state`."""
        self.persistence.restore(state, step)


def _shares(values: Mapping[str, float], size: int) -> dict[str, float]:
    """The counts in percent, to a hundredth, small ones to a thousandth: files of 200 epochs."""
    shares = {k: 100.0 * v / size for k, v in values.items() if k not in SUMS}
    return {k: round(v, 2 if v >= 1 else 3) or 0 for k, v in shares.items()}
