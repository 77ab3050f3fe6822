"""Puts the results of the quick profile into README.md and the pictures it shows beside this file.

Run by `make docs`, after `make reproduce`. No number in the README's result section is typed in.
"""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "quick"
SIGNS = {"supported": "✓", "contradicted": "✕", "inconclusive": "?", "not run": "–"}


def main() -> None:
    """Rewrite the section of README.md between its markers."""
    shutil.copy(RESULTS / "figures" / "paired_differences.png", ROOT / "docs")
    shutil.copy(RESULTS / "tables" / "geometry_sam" / "T3.md", ROOT / "docs")
    with (RESULTS / "claims" / "geometry_sam.csv").open(encoding="utf-8") as file:
        claims = list(csv.DictReader(file))
    counts = Counter(claim["verdict"] for claim in claims)
    runs = [json.loads(p.read_text()) for p in RESULTS.glob("runs/**/provenance.json")]
    noise = _cell()["label_noise"]
    seeds = max(float(claim["n"] or 0) for claim in claims)
    minutes = sum(run["seconds"] for run in runs) / 60
    cpu, torch = runs[0]["cpu"], runs[0]["torch"]
    section = f"""
## What it found so far

Profile `quick`: {len(runs)} runs of small stand-ins on digits with {100 * noise:.0f} % label noise
({minutes:.0f} minutes of training on one core of an {cpu}, torch {torch}).
Of {len(claims)} claims of the geometry-SAM study
{", ".join(f"{counts[v]} are {v}" for v in SIGNS if counts[v])}. Those decided:

| claim | measured where weakest, 95 % interval | verdict |
| --- | --- | --- |
{chr(10).join(_line(c) for c in claims if c["verdict"] in ("supported", "contradicted"))}

![Paired differences of test accuracy to SGD and to SAM](docs/paired_differences.png)

*Test accuracy of each variant minus SGD's (above) and SAM's (below) of the same seed: mean and 95 %
t-interval over {seeds:.0f} seeds, at the study's rhos, not corrected for their number; grey holds
zero.* Verdicts are after Holm's correction over all comparisons of a claim. A table in the paper's
own layout: [docs/T3.md](docs/T3.md).
"""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head, rest = readme.split("<!-- results:begin", 1)
    marker, rest = rest.split("-->", 1)
    tail = rest[rest.index("<!-- results:end") :]
    begin = f"<!-- results:begin{marker}-->"
    (ROOT / "README.md").write_text(f"{head}{begin}\n{section}\n{tail}", encoding="utf-8")


def _cell() -> dict[str, object]:
    """The cell of any run; label noise is the same in all of them."""
    return json.loads(next(RESULTS.glob("runs/**/spec.json")).read_text())["cell"]


def _line(claim: dict[str, str]) -> str:
    low, high, effect = (float(claim[k]) for k in ("ci_low", "ci_high", "effect"))
    unit = {"ratio": "x ", "": ""}.get(claim["unit"], "")
    digits = 3 if claim["unit"] == "" else 2
    shown = f"{unit}{effect:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    points = f" {claim['unit']}" if claim["unit"] not in ("", "ratio") else ""
    where = f"{shown}{points} at {claim['at']}, n = {float(claim['n']):.0f}"
    verdict = f"{SIGNS[claim['verdict']]} {claim['verdict']}"
    return f"| {claim['id']} {claim['test']} | {where} | {verdict} |"


main()
