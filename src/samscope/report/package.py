"""What the files of a profile hold, for a program that reads them: a Frictionless Data Package.

See https://specs.frictionlessdata.io: ``datapackage.json`` names every CSV with the type and the
meaning of each column, and the JSON of all comparisons of the claims.
"""

import csv
import json
from typing import Any

from samscope.plan.types import Plan

NUMBER, INTEGER, TEXT, BOOLEAN = "number", "integer", "string", "boolean"
FIELDS = {
    # Of tables.
    "settings": (TEXT, "leaves of the cell that no column shows"),
    "column": (TEXT, "of the paper's table"),
    "metric": (TEXT, "a name of samscope.metrics"),
    "selection": (TEXT, "weights: best_val, of the best validation, or last, of the last epoch"),
    "reported": (TEXT, "as the paper prints it; of a claim, in words"),
    "measured": (NUMBER, "mean over seeds; geometric where runs differ by factors"),
    "ci_low": (NUMBER, "lower end of the 95 % t-interval over seeds"),
    "ci_high": (NUMBER, "its upper end"),
    "seeds": (INTEGER, "how many runs count"),
    "status": (TEXT, "measured, not run, or excluded"),
    "reason": (TEXT, "why there is no number or verdict, and what would decide"),
    "cell": (TEXT, "id of the setting that was run"),
    "tolerance": (NUMBER, "half of the 95 % prediction interval for one further run, or a factor"),
    "p_agreement": (NUMBER, "of the printed number as one further run, after Holm's correction"),
    "agreement": (TEXT, "agrees, unclear or differs"),
    "against": (TEXT, "what differences are to"),
    "reported_difference": (
        NUMBER,
        "between printed numbers, or their ratio where runs differ by factors",
    ),
    "difference": (NUMBER, "between measured numbers, paired by seed; or their ratio"),
    "difference_low": (NUMBER, "lower end of its 95 % t-interval"),
    "difference_high": (NUMBER, "upper end"),
    "p_difference": (NUMBER, "of the difference, after Holm's correction over the table"),
    # Of claims.
    "id": (TEXT, "of the claim"),
    "quote": (TEXT, "the paper's words"),
    "location": (TEXT, "where they stand"),
    "test": (TEXT, "the claim as it was tested"),
    "note": (TEXT, "on the claim"),
    "kind": (TEXT, "how it is tested, a file of samscope.analysis.claims"),
    "asks": (TEXT, "who asks: paper, open (the paper's open question) or ours"),
    "runs": (TEXT, "claims of one name rest on the same runs"),
    "verdict": (TEXT, "see samscope.analysis.verdicts"),
    "effect": (NUMBER, "of the comparison that supports the claim least"),
    "unit": (TEXT, "points, %, ratio, correlation, or none of a loss"),
    "n": (INTEGER, "number of seeds"),
    "at": (TEXT, "which comparison that is"),
    "p": (NUMBER, "its two-sided p-value"),
    "p_holm": (NUMBER, "the same after Holm's correction over the claim's comparisons"),
    "p_within": (NUMBER, "largest p-value of all comparisons that the effect is within its margin"),
    "fragile": (TEXT, "why the verdict hangs on little"),
    "same_as": (TEXT, "an earlier claim that these runs do not tell it from"),
    # Of spectra.
    "epoch": (INTEGER, "of the weights"),
    "quantity": (TEXT, "of the Hessian of the training loss"),
    "mean": (NUMBER, "over seeds; geometric where runs differ by factors"),
    "low": (NUMBER, "lower end of the 95 % t-interval over seeds"),
    "high": (NUMBER, "its upper end"),
    "versus_sgd": (NUMBER, "difference to SGD, or ratio where runs differ by factors"),
    "versus_low": (NUMBER, "lower end of its 95 % t-interval"),
    "versus_high": (NUMBER, "upper end"),
    "bound_percent": (NUMBER, "largest error of the number in a run, in percent"),
    "converged": (BOOLEAN, "whether Lanczos reached its tolerance in all runs"),
    # Of runs.
    "seed": (INTEGER, "of first weights and order of data"),
    "digest": (TEXT, "of all settings and the seed"),
    "commit": (TEXT, "of the code that trained"),
    "dirty": (BOOLEAN, "whether that code had uncommitted changes"),
    "torch": (TEXT, "version"),
    "python": (TEXT, "version"),
    "cpu": (TEXT, "of the machine"),
    "device": (TEXT, "that trained"),
    "threads": (INTEGER, "that trained"),
    "seconds": (NUMBER, "of training"),
    "fingerprint": (TEXT, "of the arithmetic"),
}
"""Columns that a table may have: type and meaning. All others are the paper's keys."""


def described(plan: Plan) -> str:
    """The package of what there is of a profile's tables, claims, spectra and runs, as JSON."""
    found = [
        path
        for paper in plan.papers
        for pattern in (f"tables/{paper}/*.csv", f"claims/{paper}.*", f"curvature/{paper}.csv")
        for path in sorted(plan.results.glob(pattern))
    ]
    found += plan.results.glob("report/provenance.csv")
    names = [str(path.relative_to(plan.results)) for path in found]
    package = {
        "profile": "data-package",
        "name": f"samscope-{plan.profile}",
        "title": f"samscope, profile {plan.profile}: the literature on SAM, reported and measured",
        "description": plan.about.description,
        "sources": [{"title": p.about.citation, "path": p.about.url} for p in plan.papers.values()],
        "resources": [_resource(plan, name) for name in names],
    }
    return json.dumps(package, indent=1, ensure_ascii=False) + "\n"


def _resource(plan: Plan, path: str) -> dict[str, Any]:
    name, _, kind = path.lower().replace("/", "-").rpartition(".")
    about = {"name": f"{name}-json" if kind == "json" else name, "path": path, "format": kind}
    if kind != "csv":
        return about
    with (plan.results / path).open(encoding="utf-8", newline="") as lines:
        columns = next(csv.reader(lines))
    fields = [dict(zip(("type", "description"), _meaning(c), strict=True)) for c in columns]
    named = [{"name": c, **field} for c, field in zip(columns, fields, strict=True)]
    return {
        **about,
        "profile": "tabular-data-resource",
        "encoding": "utf-8",
        "schema": {"fields": named, "missingValues": [""]},
    }


def _meaning(column: str) -> tuple[str, str]:
    return FIELDS.get(column, (TEXT, "a key of the paper's table, as it prints it"))
