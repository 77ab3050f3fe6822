"""How long an element stays in its region: members of a reference step, looked at in later steps.

The geometry-SAM study froze the members of region 1 at the end of epoch 1 and counted, at every
later step, how many are members now (Experiment 2) and how many have been at every step since
(Experiment 3). Here this is done for the four regions and several references, beside what
independent steps of the same shares would give. An element's region is one of four bits, two
elements a byte.
"""

from collections.abc import Mapping
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from samscope.optim.bins import LAGS, short

EPOCHS = (0.1, 0.25, 0.5, 0.75)
"""Shares of training at whose epochs' ends there are references, beside the end of epoch 1."""

PERIOD = 100
"""Steps between the references of the rolling slot."""

TENTHS = 10
_FIXED = 1 + len(EPOCHS)
_REGIONS = 4


def reference_steps(epochs: int, steps: int) -> tuple[int, ...]:
    """The fixed references of a run: ends of epochs, as steps from 1.

    >>> reference_steps(200, 176)
    (176, 3520, 8800, 17600, 26400)
    """
    ends = {1, *(max(1, round(share * epochs)) for share in EPOCHS)}
    return tuple(epoch * steps for epoch in sorted(ends) if epoch < epochs)


def pack(flags: Tensor) -> Tensor:
    """Two elements a byte: uint8 [..., n] of four bits each to uint8 [..., (n + 1) // 2]."""
    if flags.shape[-1] % 2:
        flags = F.pad(flags, (0, 1))
    first, second = flags.unflatten(-1, (2, -1)).unbind(-2)
    return first | second << _REGIONS


def members(packed: Tensor) -> Tensor:
    """How many elements of `pack` are in each region: float64 [4].

    >>> members(pack(torch.tensor([1, 8, 1], dtype=torch.uint8))).tolist()
    [2.0, 0.0, 0.0, 1.0]
    """
    if packed.is_cpu:
        return packed.bincount(minlength=2**8).double() @ _bits()
    # bincount waits for a GPU
    bits = torch.arange(2 * _REGIONS, dtype=torch.uint8, device=packed.device)[:, None]
    return ((packed >> bits) & 1).sum(1).view(2, _REGIONS).sum(0).double()


@cache
def _bits() -> Tensor:
    """How many of two elements are in each region, by their byte: float64 [256, 4]."""
    bits = (torch.arange(2**8)[:, None] >> torch.arange(2 * _REGIONS)) & 1
    return bits.view(-1, 2, _REGIONS).sum(1).double()


class Persistence:
    """The references of a run, on the device; nothing waits for it but `rows`.

    Args:
        size: number of parameters.
        held: number of flags that come at every step, vacant ones among them.
        device: of the flags.
    """

    def __init__(self, size: int, held: int, device: torch.device) -> None:
        slots, self.size = _FIXED + 1, size
        zeros = lambda *shape, **kind: torch.zeros(*shape, device=device, **kind)  # noqa: E731
        half = (held + 1) // 2
        self.now = zeros(half, dtype=torch.uint8)
        self.shares = zeros(_REGIONS, dtype=torch.float64)
        self.frozen = zeros(slots, half, dtype=torch.uint8)
        self.unbroken = zeros(slots, half, dtype=torch.uint8)
        # What independent steps would leave unbroken, and the members at the reference.
        self.chance = zeros(slots, _REGIONS, dtype=torch.float64)
        self.members = zeros(slots, _REGIONS, dtype=torch.float64)
        # For each fixed reference and tenth of training, by lag: sums over windows, whose number is
        # the first; then the members, those found again and all along, and by chance.
        self._one = torch.ones_like(self.shares)
        lags = len(LAGS) + 1
        self.found = zeros(_FIXED + TENTHS, lags, 6, _REGIONS, dtype=torch.float64)
        self.begin(0, 0)

    def begin(self, epochs: int, steps: int) -> None:
        """Start a run of ``epochs`` of ``steps``."""
        for tensor in self.state().values():
            tensor.zero_()
        self.references, self.total, self.step = reference_steps(epochs, steps), epochs * steps, 0

    def record(self, packed: Tensor, counts: Tensor) -> None:
        """Take a step in: which elements are where, see `pack`, and how many, float64 [4].

        A CUDA graph may hold this; `advance` is to follow outside of it.
        """
        self.now.copy_(packed)
        torch.div(counts, self.size, out=self.shares)
        self.unbroken &= self.now
        self.chance *= self.shares

    def advance(self) -> None:
        """After `record`: look at the references whose lag it is, make the step one if it is."""
        self.step += 1
        for slot, reference in enumerate(self.references):
            lag = self.step - reference
            if lag in LAGS or (lag > 0 and self.step == self.total):
                self._look(slot, slot, lag)
            elif lag == 0:
                self._freeze(slot)
        since = (self.step - 1) % PERIOD
        lag = (since or PERIOD) if self.step > 1 else 0
        if lag in LAGS:
            start = self.step - lag
            tenth = min(TENTHS * (start - 1) // max(self.total, 1), TENTHS - 1)
            self._look(_FIXED, _FIXED + tenth, lag)
        if since == 0:
            self._freeze(_FIXED)

    def rows(self, seed: int) -> list[dict[str, float]]:
        """By the names of `samscope.optim.bins.PERSISTENCE`."""
        rows = []
        for place, by_lag in enumerate(self.found.cpu()):
            for at, values in enumerate(by_lag):
                windows = int(values[0, 0])
                if not windows:
                    continue
                fixed = place < len(self.references)
                start = self.references[place] if fixed else place - _FIXED + 1
                where = {"reference" if fixed else "part": start}
                where["lag"] = LAGS[at] if at < len(LAGS) else self.total - start
                size = windows * self.size
                held = (100.0 * values[1] / size).tolist()
                shares = (100.0 * values[2:] / values[1].clamp(min=1)).tolist()
                for region in range(_REGIONS):
                    about: dict[str, float] = {"region": region + 1, "windows": windows}
                    about["members"] = short(held[region])
                    shown = {k: short(v[region]) for k, v in zip(_VALUES, shares, strict=True)}
                    rows.append({"seed": seed, **where, **about, **shown})
        return rows

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs besides the number of its steps; the tensors themselves."""
        names = ("frozen", "unbroken", "chance", "members", "found")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        """Go on after ``step`` from a copy of `state`."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.step = step

    def _freeze(self, slot: int) -> None:
        self.frozen[slot].copy_(self.now)
        self.unbroken[slot].copy_(self.now)
        self.chance[slot].fill_(1.0)
        self.members[slot].copy_(members(self.now))

    def _look(self, slot: int, place: int, lag: int) -> None:
        at = LAGS.index(lag) if lag in LAGS else len(LAGS)
        before, chance = self.members[slot], torch.stack([self.shares, self.chance[slot]])
        overlap, unbroken = members(self.now & self.frozen[slot]), members(self.unbroken[slot])
        found = torch.stack([self._one, before, overlap, unbroken, *(chance * before)])
        self.found[place, at] += found


_VALUES = ("overlap", "unbroken", "overlap_chance", "unbroken_chance")
