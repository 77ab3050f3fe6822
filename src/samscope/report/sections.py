"""What each section of the page says, as plain values for the templates."""

from collections import Counter
from typing import Any

import pandas as pd

from samscope.analysis import claims, results
from samscope.plan.papers import Paper, Plan


def completeness(plan: Plan, runs: pd.DataFrame) -> dict[str, Any]:
    """How much of the grid has been run.

    Args:
        plan: of the profile.
        runs: from `samscope.analysis.results.provenance`.
    """
    planned = sum(len(p.seeds) for p in plan.cells.values())
    measured = plan.measured()
    spectra_done = len({cell for cell, *_ in results.spectra(plan, measured)})
    return {
        "runs": planned, "done": len(runs), "cells": len(plan.cells),
        "cells_done": runs.cell.nunique(), "spectra": len(measured), "spectra_done": spectra_done,
        "diverged": sum(run["diverged"] for cell in plan.cells for run in results.runs(plan, cell)),
    }  # fmt: skip


def profiles(plan: Plan) -> dict[str, str]:
    """Links to the pages of the profiles that have one, this one's first."""
    others = sorted(p.parents[1].name for p in plan.results.parent.glob("*/report/index.html"))
    here = {plan.profile: "#"}
    return here | {p: f"../../{p}/report/index.html" for p in others if p != plan.profile}


def asked(paper: Paper) -> dict[str, list[str]]:
    """The questions of a paper's tables, each with the ids of the tables that it is asked of."""
    questions: dict[str, list[str]] = {}
    for table in paper.tables.values():
        questions.setdefault(table.question, []).append(table.id)
    return questions


def verdicts(plan: Plan, paper: Paper) -> dict[str, Any]:
    """The claims with their verdicts, how many of each, and the verdicts of other profiles.

    Those that are decided come first, in the order of `samscope.analysis.claims.VERDICTS`.
    """
    lines = claims.evaluate(plan, paper.name).to_dict("records")
    counts = Counter(line["verdict"] for line in lines)
    others = _elsewhere(plan, paper.name)
    for line in lines:
        line["elsewhere"] = {p: of[line["id"]] for p, of in others.items() if line["id"] in of}
    lines.sort(key=lambda line: claims.VERDICTS.index(line["verdict"]))
    return {"lines": lines, "counts": {verdict: counts[verdict] for verdict in claims.VERDICTS}}


def _elsewhere(plan: Plan, paper: str) -> dict[str, dict[str, str]]:
    """The verdicts that other profiles have written, by claim."""
    found = {}
    for path in sorted(plan.results.parent.glob(f"*/claims/{paper}.csv")):
        profile = path.parents[1].name
        if profile != plan.profile:
            frame = pd.read_csv(path, keep_default_na=False)
            found[profile] = dict(zip(frame.id, frame.verdict, strict=True))
    return found


def curvature(plan: Plan) -> list[dict[str, str]]:
    """The table of every paper's measured spectra as it was written, and where its numbers are."""
    found = []
    for name in plan.papers:
        path = plan.results / "curvature" / f"{name}.md"
        known = path.exists()
        found.append({
            "text": path.read_text(encoding="utf-8") if known else "",
            "files": {"CSV": f"../curvature/{name}.csv"} if known else {},
            "command": f"results/{plan.profile}/curvature/{name}.csv",
        })  # fmt: skip
    return found


def cost(runs: pd.DataFrame) -> dict[str, Any]:
    """How long the runs took in all, and on what."""
    seconds = pd.to_numeric(runs.seconds)
    on = runs.device.where(runs.device != "cpu", runs.cpu).dropna()
    return {"runs": len(runs), "seconds": float(seconds.sum()), "on": sorted(set(on))}


def environments(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """One line for every environment that trained runs: versions, device, how many, how long."""
    keys = ["torch", "python", "cpu", "device", "threads", "commit", "dirty"]
    known = runs.assign(seconds=pd.to_numeric(runs.seconds))
    groups = known.groupby(keys, dropna=False, sort=False)
    lines = [
        {**dict(zip(keys, map(_plain, key), strict=True)), "runs": len(group),
         "seconds": float(group.seconds.sum())}
        for key, group in groups
    ]  # fmt: skip
    return sorted(lines, key=lambda line: (-line["runs"], str(line)))


def _plain(value: Any) -> Any:
    """None for what a record does not say."""
    return None if pd.isna(value) else value
