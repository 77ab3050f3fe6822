"""Kinds of claims: a file of this folder is a kind, and its name is the kind's name.

It has ``Fields``, what a claim of the kind says beside `samscope.config.claims.Claim`, and
``compare``, the comparisons that decide it (see `samscope.analysis.verdicts`). Claims are read with
the plan, so the files are importable without pandas: what computes is imported where it is used.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any, get_type_hints

from samscope.analysis import printed
from samscope.config import claims as reading
from samscope.config.claims import Claim, Leaves, Values, Variant, Variants, variant_leaves
from samscope.errors import InputError
from samscope.optim.mixes import named_mix
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
    """Refuse a malformed claim, one about cells that no row names, and one that there is not.

    Where only some of the tables are planned, the rows of another may be meant.

    Raises:
        InputError: for the first of them, naming file, claim, field and value.
    """
    for paper in plan.papers.values():
        known: list[Mapping[str, Any]] = []
        said = read(paper)
        ids = [claim.id for claim in said]
        named = [("answers.claims", answer.claims) for answer in paper.about.answers]
        named += [(f"figures {figure.id} claims", figure.claims) for figure in paper.about.figures]
        for field, its in named:
            for claim_id in its:
                if claim_id not in ids:
                    allowed = ", ".join(ids) or "none: it has no claims"
                    raise InputError(f"{paper.name}/paper.yaml", field, claim_id, allowed)
        for claim in said:
            where = f"{paper.name}/claims.yaml {claim.id}"
            a, b = (getattr(claim, side, None) for side in ("a", "b"))
            if a is not None and a == b:
                raise InputError(where, "b", b or "(empty)", "another than a")
        for claim in said if not plan.config.tables else ():
            for field, leaves in _asked(claim):
                if leaves not in known:
                    printed.check(paper, leaves, f"{paper.name}/claims.yaml {claim.id}{field}")
                    known.append(leaves)


def _asked(claim: Claim) -> Iterator[tuple[str, dict[str, Any]]]:
    """The leaves of the cells that a claim is about, together as rows must have them.

    With each the name of the claim's field that asks for it, "" for those of all its cells.
    """
    variants: list[tuple[str, dict[str, Any]]] = []
    sides: list[tuple[str, dict[str, Any]]] = []
    for name, hint in get_type_hints(type(claim), include_extras=True).items():
        held = getattr(claim, name)
        if hint == Variant:
            variants.append((f" {name}", variant_leaves(held)))
        elif hint == Variants:
            variants += [(f" {name}", variant_leaves(one)) for one in held]
        elif hint == Leaves and name != "where":
            sides.append((f" {name}", held))
        elif hint == Values:
            sides += [(f" {name}", {claim.__dict__["leaf"]: one}) for one in held]
    yield "", claim.where
    for of, variant in variants or [("", {})]:
        for at, side in sides or [("", {})]:
            leaves = claim.where | variant | side
            yield at or of, leaves
            # Of a variant without an ascent no rho is asked.
            if variant and named_mix(variant["variant"], variant["condition"]).needs_ascent:
                for rho in getattr(claim, "rhos", ()):
                    yield " rhos", leaves | {"rho": rho}


def code(paper: Paper) -> tuple[str, ...]:
    """What decides a paper's claims, for `samscope.digests.digest`: of the kinds, those it has."""
    used = sorted({claim.kind for claim in read(paper)})
    return "samscope.analysis.verdicts:write", *(f"{__name__}.{kind}" for kind in used)
