"""What each section of the page says, as plain values for the templates."""

from collections import Counter
from typing import Any, get_args

import pandas as pd

from samscope import numerics, stages
from samscope.analysis import results
from samscope.analysis import verdicts as decided
from samscope.config.claims import Asks
from samscope.plan.types import Paper, Plan

ASKS = get_args(Asks)


def completeness(plan: Plan, runs: pd.DataFrame) -> dict[str, Any]:
    """How much of the grid has been run.

    Args:
        plan: of the profile.
        runs: from `samscope.analysis.results.provenance`.
    """
    planned = sum(len(p.seeds) for p in plan.specs.values())
    measured = stages.runs(plan, "curvature")
    spectra_done = len({cell for cell, *_ in results.spectra(plan, measured)})
    return {
        "runs": planned, "done": len(runs), "cells": len(plan.specs),
        "cells_done": runs.cell.nunique(), "spectra": len(measured), "spectra_done": spectra_done,
        "diverged": sum(run.diverged for cell in plan.specs for run in results.runs(plan, cell)),
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
        questions.setdefault(table.about.question, []).append(table.id)
    return questions


def verdicts(plan: Plan, paper: Paper) -> dict[str, Any]:
    """The claims with the verdicts as written, how many of each, and those of other profiles.

    Those that are decided come first, in the order of `samscope.analysis.verdicts.VERDICTS`.
    Counted are the paper's own claims; ``apart`` are the others, by whose they are.
    """
    lines = decided.read(plan, paper.name)
    counts = {
        asks: Counter(
            line["verdict"] for line in lines if line["asks"] == asks and not line["same_as"]
        )
        for asks in ASKS
    }
    others = _elsewhere(plan, paper.name)
    for line in lines:
        line["elsewhere"] = {p: of[line["id"]] for p, of in others.items() if line["id"] in of}
    lines.sort(key=lambda line: decided.VERDICTS.index(line["verdict"]))
    return {
        "lines": lines,
        "counts": {verdict: counts["paper"][verdict] for verdict in decided.VERDICTS},
        "told": _spread(counts["paper"]),
        "apart": {asks: _spread(of) for asks, of in counts.items() if asks != "paper" and of},
        "runs": len({line["runs"] or line["id"] for line in lines}),
        "margins": _margins(lines),
    }


def _spread(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {verdict}" for verdict in decided.VERDICTS if (n := counts[verdict]))


def _margins(lines: list[dict[str, Any]]) -> str:
    """The margins that the claims of a paper share, in words; "" without any."""
    shared = lines[0]["margins"] if lines else {}
    words = {
        "points": "{:g} {point}",
        "loss": "{:.0%} of a loss",
        "ratio": "a factor of {:g} of a norm or a curvature",
    }
    return ", ".join(
        words[k].format(v, point="point" if v == 1 else "points")
        for k, v in shared.items()
        if v is not None
    )


def _elsewhere(plan: Plan, paper: str) -> dict[str, dict[str, str]]:
    """The verdicts that other profiles have written, by claim."""
    found = {}
    for path in sorted(plan.results.parent.glob(f"*/claims/{paper}.csv")):
        profile = path.parents[1].name
        if profile != plan.profile:
            frame = pd.read_csv(path, keep_default_na=False)
            found[profile] = dict(zip(frame.id, frame.verdict, strict=True))
    return found


def curvature(plan: Plan, paper: str) -> dict[str, Any] | None:
    """The table of a paper's spectra as it was written, and where its numbers are.

    None where the profile measures none of it.
    """
    if "curvature" not in plan.papers[paper].scale.stages:
        return None
    path = plan.results / "curvature" / f"{paper}.md"
    known = path.exists()
    return {
        "text": path.read_text(encoding="utf-8") if known else "",
        "files": {"CSV": f"../curvature/{paper}.csv"} if known else {},
        "command": f"results/{plan.profile}/curvature/{paper}.csv",
    }


def arithmetic(runs: pd.DataFrame) -> dict[str, int]:
    """How many runs there are, and of how many the arithmetic is not the reference's.

    See `samscope.numerics`: of those no bits are promised, and a verdict at the edge may turn.
    """
    other = [numerics.verdicts_only(_plain(found)) for found in runs.fingerprint]
    return {"runs": len(runs), "other": sum(other)}


def cost(runs: pd.DataFrame) -> dict[str, Any]:
    """How long the runs took in all, and on what."""
    seconds = pd.to_numeric(runs.seconds)
    on = runs.device.where(runs.device != "cpu", runs.cpu).dropna()
    return {"runs": len(runs), "seconds": float(seconds.sum()), "on": sorted(set(on))}


def environments(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """One line for every environment that trained runs: versions, device, how many, how long."""
    keys = ["torch", "python", "cpu", "device", "threads", "commit", "dirty", "fingerprint"]
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
