"""Kinds of claims: a file of this folder is a kind, and its name is the kind's name.

It has ``Fields``, what a claim of the kind says beside `samscope.config.claims.Claim`, and
``compare``, the comparisons that decide it (see `samscope.analysis.verdicts`). Claims are read with
the plan, so the files are importable without pandas: what computes is imported where it is used.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from samscope.analysis import printed
from samscope.config import claims as reading
from samscope.config.claims import Claim
from samscope.errors import InputError
from samscope.plan.types import Paper, Plan


@cache
def kinds() -> dict[str, ModuleType]:
    """The kinds by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def read(paper: Paper) -> tuple[Claim, ...]:
    """The claims of a paper, each of the ``Fields`` of its kind; none without a ``claims.yaml``.

    Raises:
        InputError: for a mistake in it, naming file, claim, field and value.
    """
    fields = {name: module.Fields for name, module in kinds().items()}
    return reading.read(paper.folder / "claims.yaml", fields)


def check(plan: Plan) -> None:
    """Refuse a malformed claim, one about cells that no row names, an answer by none.

    Where only some of the tables are planned, the rows of another may be meant.

    Raises:
        InputError: for the first of them, naming file, claim, field and value.
    """
    for paper in plan.papers.values():
        known: list[Mapping[str, Any]] = []
        said = read(paper)
        ids = [claim.id for claim in said]
        for claim_id in (one for answer in paper.about.answers for one in answer.claims):
            if claim_id not in ids:
                file, allowed = (
                    f"{paper.name}/paper.yaml",
                    ", ".join(ids) or "none: it has no claims",
                )
                raise InputError(file, "answers.claims", claim_id, allowed)
        for claim in said:
            sides = (getattr(claim, side, None) for side in ("a", "b"))
            named = [claim.where | dict(side) for side in sides if isinstance(side, Mapping)]
            for rho in () if plan.config.tables else getattr(claim, "rhos", ()):
                if (where := {"rho": rho}) not in known:
                    printed.check(paper, where, f"{paper.name}/claims.yaml {claim.id} rhos")
                    known.append(where)
            for where in [] if plan.config.tables else [claim.where, *named]:
                if where not in known:
                    printed.check(paper, where, f"{paper.name}/claims.yaml {claim.id}")
                    known.append(where)


def code(paper: Paper) -> tuple[str, ...]:
    """What decides a paper's claims, for `samscope.digests.digest`: of the kinds, those it has."""
    used = sorted({claim.kind for claim in read(paper)})
    return "samscope.analysis.verdicts:write", *(f"{__name__}.{kind}" for kind in used)
