"""The stages by name."""

from samscope.digests import Registry
from samscope.stages import (
    curvature,
    curve,
    drift,
    fit,
    landscape,
    m_sharpness,
    rise,
    shifts,
    train,
)
from samscope.stages.stage import Stage

STAGES: Registry[str, Stage] = {
    stage.name: stage
    for stage in (
        *(train.STAGE, fit.STAGE, curve.STAGE),
        *(curvature.STAGE, landscape.STAGE, drift.STAGE, rise.STAGE),
        *(m_sharpness.STAGE, shifts.STAGE),
    )
}
"""A new one is a file of this folder and an entry here. Those without settings come first: they
make what the rows of tables name, see `samscope.spec.SPECS`; the others measure what is made."""


def maker(spec: object) -> Stage:
    """The stage that makes what a row of a table names."""
    return next(s for s in STAGES.values() if s.settings is None and isinstance(spec, s.spec))
