"""Puts the measured results into README.md, and its pictures and table beside this file.

Run by `make docs`, once the profiles below are built. No number in the README's result section is
typed in.
"""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAPER = "geometry_sam"
PROFILES = {"quick": "digits with wrong labels", "cpu": "natural images"}
SIGNS = {"supported": "✓", "contradicted": "✕", "inconclusive": "?", "not run": "–"}
DECIDED = ("supported", "contradicted")


def main() -> None:
    """Rewrite the section of README.md between its markers."""
    quick, cpu = (ROOT / "results" / profile for profile in PROFILES)
    for folder, name in ((quick, "digits.png"), (cpu, "natural_images.png")):
        shutil.copy(folder / "figures" / PAPER / "paired_differences.png", ROOT / "docs" / name)
    shutil.copy(quick / "tables" / PAPER / "T3.md", ROOT / "docs")
    claims = {profile: _claims(profile) for profile in PROFILES}
    decided = [
        claim_id
        for claim_id in claims["quick"]
        if any(claims[p][claim_id]["verdict"] in DECIDED for p in PROFILES)
    ]
    n = {profile: f"{_seeds(claims[profile]):.0f} seeds" for profile in PROFILES}
    section = f"""
## What it found so far

Of the {len(claims["quick"])} claims of the geometry-SAM study:

{chr(10).join(_profile(profile, claims[profile]) for profile in PROFILES)}

![Natural images: paired differences of test accuracy to SGD and to SAM](docs/natural_images.png)

*Natural images: test accuracy of each variant minus SGD's (above) and SAM's (below) of the same
seed, mean and 95 % t-interval over {n["cpu"]}, not corrected for their number.
Blue lies above zero, red below, grey holds it.*

![Digits: paired differences of test accuracy to SGD and to SAM](docs/digits.png)

*The same on digits, {n["quick"]}. A table in the paper's layout: [docs/T3.md](docs/T3.md).*

Those that one of the two decides, each measured where it is weakest, with its 95 % interval:

| claim | {" | ".join(f"{name} (`{profile}`)" for profile, name in PROFILES.items())} |
| --- |{" --- |" * len(PROFILES)}
{chr(10).join(_line(claim_id, claims) for claim_id in decided)}

{_agreement(decided, claims)} Supported: significant on the claimed side in every comparison.
Contradicted: significant on the other side in one, after Holm's correction over them.
"""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head, rest = readme.split("<!-- results:begin", 1)
    marker, rest = rest.split("-->", 1)
    tail = rest[rest.index("<!-- results:end") :]
    begin = f"<!-- results:begin{marker}-->"
    (ROOT / "README.md").write_text(f"{head}{begin}\n{section}\n{tail}", encoding="utf-8")


def _claims(profile: str) -> dict[str, dict[str, str]]:
    """The verdicts of a profile by claim."""
    path = ROOT / "results" / profile / "claims" / f"{PAPER}.csv"
    with path.open(encoding="utf-8") as file:
        return {claim["id"]: claim for claim in csv.DictReader(file)}


def _profile(profile: str, claims: dict[str, dict[str, str]]) -> str:
    """What was run, and how the verdicts are spread."""
    runs = _runs(profile)
    counts = Counter(claim["verdict"] for claim in claims.values())
    spread = ", ".join(f"{counts[verdict]} {verdict}" for verdict in SIGNS if counts[verdict])
    minutes = sum(run["seconds"] for run in runs) / 60
    return (
        f"- profile `{profile}`, {PROFILES[profile]}: {spread}\n"
        f"  ({len(runs)} runs, {minutes:.0f} minutes of training on {_machines(runs)})"
    )


def _runs(profile: str) -> list[dict]:
    """The provenance of the runs that a profile's records of cells hold."""
    found = []
    for path in (ROOT / "results" / profile / "runs").rglob("metrics.json"):
        if not path.parent.name.startswith("seed="):
            seeds = [run["seed"] for run in json.loads(path.read_text())["runs"]]
            paths = [path.parent / f"seed={seed}" / "provenance.json" for seed in seeds]
            found += [json.loads(source.read_text()) for source in paths]
    return found


def _machines(runs: list[dict]) -> str:
    """On what they were trained, and by which torch, the most of them first."""
    counts = Counter(f"{_machine(run)}, torch {run['torch']}" for run in runs)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{machine} ({count})" for machine, count in counts.most_common())


def _machine(run: dict) -> str:
    if run["device"] != "cpu":
        return f"an {run['device']}"
    cores = "one core" if run["threads"] == 1 else f"{run['threads']} cores"
    return f"{cores} of an {run['cpu']}"


def _seeds(claims: dict[str, dict[str, str]]) -> float:
    return max(float(claim["n"] or 0) for claim in claims.values())


def _line(claim_id: str, claims: dict[str, dict[str, dict[str, str]]]) -> str:
    shown = " | ".join(_verdict(claims[profile][claim_id]) for profile in PROFILES)
    return f"| {claim_id} {claims['quick'][claim_id]['test']} | {shown} |"


def _verdict(claim: dict[str, str]) -> str:
    verdict = f"{SIGNS[claim['verdict']]} {claim['verdict']}"
    if not claim["effect"]:
        return verdict
    low, high, effect = (float(claim[k]) for k in ("ci_low", "ci_high", "effect"))
    unit = {"ratio": "x ", "": ""}.get(claim["unit"], "")
    digits = 3 if claim["unit"] == "" else 2
    points = f" {claim['unit']}" if claim["unit"] not in ("", "ratio") else ""
    return f"{verdict}: {unit}{effect:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{points}"


def _agreement(decided: list[str], claims: dict[str, dict[str, dict[str, str]]]) -> str:
    """Of the claims that every profile decides, how many alike."""
    verdicts = [{claims[profile][claim]["verdict"] for profile in PROFILES} for claim in decided]
    both = [found for found in verdicts if found <= set(DECIDED)]
    alike = sum(len(found) == 1 for found in both)
    return f"Both decide {len(both)} of them, {alike} alike."


main()
