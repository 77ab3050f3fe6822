"""What is gathered of the ratio r = h/g in training, by name: kinds, bins, sums, lags. No torch.

One set of bins serves every form in which the geometry-SAM study binned r: the six of its figure
(1, 1.2, 1.5, 2, 4, 8, 16 on signed r), the later octaves of |r| and of signed r, and the regions.
"""

KINDS = (
    *("convolution", "batchnorm", "linear", "bias"),
    *("layernorm", "embedding", "attention", "graph"),
)
"""Of parameters: weights of convolutions, all of batch normalisation, weights of linear layers,
biases of all but the normalisations; all of layer normalisation, embeddings, the matrices of
attention and of graph layers."""

EDGES = (0.125, 0.25, 0.5, 1.0, 1229 / 1024, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Of |r|, between its bins: all of at most ten binary digits, hence a 1.2 that is 1.2002."""

_INTERVALS = tuple(zip((0.0, *EDGES), (*EDGES, float("inf")), strict=True))


def _name(sign: int, low: float, high: float) -> str:
    if sign > 0:
        return f"r>{low:.4g}" if high == float("inf") else f"{low:.4g}<r<{high:.4g}"
    return f"r<-{low:.4g}" if high == float("inf") else f"-{high:.4g}<r<{-low if low else 0:.4g}"


BINS = tuple(_name(sign, *interval) for sign in (1, -1) for interval in _INTERVALS)
"""Positive r from the smallest to the largest |r|, then negative r alike."""

REST = ("tie", "zero", "nonfinite")
"""Elements in no bin: |h| = |g|, g = 0 or h = 0, g or h not finite."""

PARTS = ("region1", "region2", "region3", "region4", "none")
SUMS = tuple(f"{product}_{part}" for product in ("gg", "hh", "gh") for part in PARTS)
"""Sums of g^2, h^2 and g h over the elements of a region, or of none."""

COLUMNS = (*BINS, *REST, *SUMS)
"""Of a tally."""

RATIOS = ("seed", "epoch", "batch", "kind", "parameters", *COLUMNS)
"""Of ratios.csv. A row an epoch and kind with batch ``all``, means over the epoch's steps; a row an
epoch with batch ``last`` and kind ``all``, the epoch's last step alone, which is the one that the
geometry-SAM code logged. Bins and rest in percent of the row's parameters. Of a run that is counted
in steps the second column is ``step``, and its rows are of the steps since the row before."""

LAGS = tuple(d * 10**k for k in range(6) for d in (1, 2, 5))
"""Steps after a reference at which persistence is looked at, beside the run's last step."""

PERSISTENCE = (
    *("seed", "reference", "part", "lag", "region", "windows", "members"),
    *("overlap", "overlap_chance", "unbroken", "unbroken_chance"),
)
"""Of persistence.csv: where the members of a region at a reference step are ``lag`` steps later.

``reference`` is the step, from 1; without it the row is of ``windows`` references together, a
hundred steps apart in a tenth of training, ``part``. ``members`` in percent of all parameters; of
the members, in percent: ``overlap``, those that are in the region now; ``unbroken``, those that
were in it at every step since. Chance is what independent steps of the same shares would give."""


def short(value: float) -> float:
    """The value to four digits, as files of many numbers keep it."""
    return float(f"{value:.4g}") or 0


def region_of(name: str) -> int:
    """The region (1 to 4) that holds a bin.

    >>> [region_of(name) for name in ("1<r<1.2", "0.5<r<1", "r<-64", "-0.125<r<0")]
    [1, 2, 3, 4]
    """
    sign, interval = divmod(BINS.index(name), len(_INTERVALS))
    return 2 * sign + (1 if _INTERVALS[interval][0] >= 1 else 2)
