"""Puts what was found into README.md and results.md, with their pictures and a table.

Run by `make docs`, once the profiles below are built. No number in README's section or in
results.md is typed in.
"""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

from samscope.analysis.verdicts import DECIDED, VERDICTS
from samscope.config.paper import read_paper
from samscope.report.text import effect, effect_digits

ROOT = Path(__file__).parents[1]
PAPERS = {
    "geometry_sam": "the geometry-SAM study",
    "epfl_cs439": "the CS-439 report",
    "foret2021": "Foret et al.",
    "lee2025": "the slides on it",
    "hse2024": "the seminar",
}
PROFILES = {
    "geometry_sam": {"decide": "digits with wrong labels", "cpu": "natural images"},
    "epfl_cs439": {"decide": "digits as stand-ins", "cpu": "molecules in full, heartbeats reduced"},
    "foret2021": {"decide": "digits with wrong labels", "cpu": "natural images"},
    "lee2025": {"decide": "digits with wrong labels"},
    "hse2024": {"decide": "digits, division mod 23", "cpu": "images, digits, division mod 97"},
}
DIGITS, CLEAN = ("decide", "digits with wrong labels"), ("decide", "digits, true labels")
IMAGES, MOLECULES = ("cpu", "natural images"), ("cpu", "molecules")
BEATS, FEW = ("cpu", "heartbeats"), ("cpu", "500 natural images")
GRAPHS = ("decide", "digits for molecules")
EQUATIONS = ("decide", "division mod 23"), ("cpu", "division mod 97")
FIRST = (
    ("Does SAM beat SGD in test accuracy, both as a study sets them?", "C0.17a", DIGITS, IMAGES),
    ("… an SGD with its best learning rate and weight decay?", "C0.17b", DIGITS, IMAGES),
    ("… with both at their best?", "C0.17c", DIGITS, IMAGES),
    ("… without wrong labels?", "C0.18a", CLEAN, IMAGES),
    ("Does it add to AdamW, both at their best?", "C0.20c", DIGITS),
    ("With crop and flip, is its error below SGD’s of the better budget?", "C1.1a", FEW),
    ("Does adaptive SAM beat Adam, by a report’s full protocol?", "C3.4a", MOLECULES),
    ("Is a network worse at heartbeats of patients it was not trained on?", "C3.9a", BEATS),
    ("Does it matter that SAM looks along the gradient, not anywhere?", "C1.9a", DIGITS),
    ("Do two steps of looking beat one, at rho 0.5?", "C1.4b", DIGITS),
    ("… with adaptive SAM?", "C1.4d", DIGITS),
    ("Of SAM’s step, is the part where the gradient grew the best alone?", "C0.7", DIGITS, IMAGES),
    ("Do longer steps where it is flat (IRE) beat longer steps everywhere?", "C0.21e", DIGITS),
    ("Is SAM’s minimum flatter than SGD’s?", "C1.8a", DIGITS),
    ("… at the training loss that both reach?", "C1.8c", DIGITS),
    ("… adaptive SAM’s than Adam’s?", "C3.4f", MOLECULES),
    ("Is test loss less training loss larger at a sharper minimum?", "C3.1c", GRAPHS, MOLECULES),
    ("Straight between two solutions of SAM, does the loss rise less?", "C2.4d", CLEAN),
    ("Is what was held out answered tenfold later than the training set?", "C2.5a", *EQUATIONS),
    ("Does a network grok sooner with SAM?", "C2.5c", EQUATIONS[0]),
    ("Do more features than samples end below the best of fewer?", "C2.7d", CLEAN),
    ("… with a fifth of the labels wrong?", "C2.7e", DIGITS),
)
"""What the README says: a question in plain words, the claim that is its yes, and where."""
FRAGILE = "\\*"
ANSWERS = ("yes", "no, the opposite", "no difference that matters", "open", "not comparable", "–")
NUDGED = ROOT / "docs" / "nudged.csv"
"""Verdicts of the profile ``nudged``, written where that is built."""
SIGNS = dict(zip(VERDICTS, "✓✕≈?∅–", strict=True))
METHODS = {"ADAM": "Adam", "ASAM": "adaptive SAM", "SAM": "SAM"}
AGREEMENT = {"agrees": "≈", "unclear": "~", "differs": "≠"}


def main() -> None:
    """Rewrite results.md, and the section of README.md between its markers."""
    pictures = {
        "molecules.png": ("cpu", "epfl_cs439", "sweeps"),
        "natural_images.png": ("cpu", "geometry_sam", "paired_differences"),
        "digits.png": ("decide", "geometry_sam", "paired_differences"),
        "tuned.png": ("decide", "geometry_sam", "forest"),
    }
    for name, (profile, paper, figure) in pictures.items():
        shutil.copy(_results(profile, "figures", paper) / f"{figure}.png", ROOT / "docs" / name)
    shutil.copy(_results("decide", "tables", "geometry_sam") / "T3.md", ROOT / "docs")
    claims = {
        paper: {profile: _claims(paper, profile) for profile in profiles}
        for paper, profiles in PROFILES.items()
    }
    rounding = _nudged(claims)
    moved = ",\nor from weights moved by rounding" if rounding else ""
    n = {profile: _seeds(profile) for profile in PROFILES["geometry_sam"]}
    results = f"""# Results

Written by `make docs` from the records in the repository.

**Molecules, by the full protocol of the CS-439 report**: its graph network on Mutagenicity, 200
epochs, at the last of them. Printed is one run, measured the mean ± half of a 95 % t-interval.

{chr(10).join(_molecules())}

≈: what is printed lies in the 95 % prediction interval of one more run of ours, ~ outside it but
not after Holm's correction, ≠ outside it.

![Molecules: accuracy and gap against rho](molecules.png)

{chr(10).join(chr(10).join(_paper(paper, claims[paper])) for paper in PAPERS)}
![Natural images: paired differences of test accuracy to SGD and to SAM](natural_images.png)

*Natural images: test accuracy of each variant minus SGD's (above) and SAM's (below) of the same
seed, mean and 95 % t-interval over {n["cpu"]}, not corrected for their number.
Blue lies above zero, red below, grey holds it.*

**Is it the method, or the baseline?** Digits, test accuracy of SAM minus that of SGD: as the study
sets both, tuned (learning rate and weight decay, on validation), and by how many labels are wrong.

![Digits: SAM against SGD, tuned and not](tuned.png)

![Digits: paired differences of test accuracy to SGD and to SAM](digits.png)

*The same on digits, {n["decide"]}. A table in the paper's layout: [T3](T3.md).*

What the page says first of each paper:

{chr(10).join(chr(10).join(_answers(paper, claims[paper])) for paper in PAPERS)}
{rounding}
The claims that a profile decides, each measured where it is weakest, with its 95 % interval:

{chr(10).join(chr(10).join(_decided(paper, claims[paper])) for paper in PAPERS)}
Supported: significant on the claimed side in every comparison. Contradicted: significant on the
other side in one, after Holm's correction over them. Equivalent: in all of them smaller than the
margin that was declared before the runs, by two one-sided tests. \\*: fragile, the p-value that
decides it is within a factor of 2 of the level, or it is another without one of the seeds{moved}.
Intervals are over seeds, on one set of test samples; nothing is corrected over claims.
"""
    (ROOT / "docs" / "results.md").write_text(results, encoding="utf-8")
    section = f"""
{_caption(claims)}

![Digits: SAM against SGD, tuned and not](docs/tuned.png)

{chr(10).join(_first(claims))}

Brackets hold the 95 % interval over seeds. Flatter: a smaller largest eigenvalue of the Hessian,
as a ratio (×). *Yes* and *the opposite* are significant, *no difference* is within a margin set
before the runs, *open* is none; \\* hangs on little. All: [docs/results.md](docs/results.md).
"""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head, rest = readme.split("<!-- results:begin", 1)
    marker, rest = rest.split("-->", 1)
    tail = rest[rest.index("<!-- results:end") :]
    begin = f"<!-- results:begin{marker}-->"
    (ROOT / "README.md").write_text(f"{head}{begin}\n{section}\n{tail}", encoding="utf-8")


def _nudged(claims: dict[str, dict[str, dict[str, dict[str, str]]]]) -> str:
    """What rounding turns, told; a verdict that it turns is marked as fragile."""
    folder = ROOT / "results" / "nudged" / "claims"
    built = {
        paper: _claims(paper, "nudged") for paper in PAPERS if (folder / f"{paper}.csv").exists()
    }
    if built:
        rows = [
            (paper, id_, claim["verdict"], claim["effect"])
            for paper, of in built.items()
            for id_, claim in of.items()
        ]
        with NUDGED.open("w", encoding="utf-8", newline="") as file:
            head = ("paper", "id", "verdict", "effect")
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
    if not NUDGED.exists():
        return ""
    with NUDGED.open(encoding="utf-8") as file:
        pairs = [(claims[row["paper"]]["decide"][row["id"]], row) for row in csv.DictReader(file)]
    # Random features, for one, have no weights to move.
    moved = [(old, new) for old, new in pairs if old["effect"] != new["effect"]]
    decided = [(old, new) for old, new in moved if old["verdict"] in DECIDED]
    turned = [(old, new) for old, new in decided if old["verdict"] != new["verdict"]]
    sure = sum(not old["fragile"] for old, _ in turned)
    lines = [f"- {old['id']}: {old['verdict']}, then {new['verdict']}" for old, new in turned]
    for old, _ in turned:
        old["fragile"] = ", ".join(filter(None, (old["fragile"], "turned by rounding")))
    papers = ", ".join(dict.fromkeys(PAPERS[new["paper"]] for _, new in decided))
    count = (
        f"{len(turned)} are others, {sure} of them not fragile before" if turned else "none turns"
    )
    return f"""**What rounding turns.** The digits once more, every initial weight changed by one
part in ten million, as another processor's rounding might (profile `nudged`; {papers}): of
{len(decided)} verdicts whose numbers move with them, {count}.

{chr(10).join(lines)}
"""


def _caption(claims: dict[str, dict[str, dict[str, dict[str, str]]]]) -> str:
    """What the README's figure shows, in numbers."""
    of = claims["geometry_sam"]["decide"]
    shown = {
        "as a study sets both": "C0.17a",
        "against an SGD that is tuned": "C0.17b",
        "with both tuned": "C0.17c",
        "once no label is wrong": "C0.18a",
    }
    told = [f"**{_effect(of[claim])}** {words}" for words, claim in shown.items()]
    seeds = sorted(float(of[claim]["n"]) for claim in shown.values())
    images = claims["geometry_sam"]["cpu"]
    there = [_effect(images[claim]) for claim in list(shown.values())[:3]]
    return (
        "SAM's test accuracy minus SGD's, small networks on digits with wrong labels, over "
        f"{seeds[0]:.0f} to {seeds[-1]:.0f} seeds:\n{told[0]}, {told[1]},\n{told[2]}, {told[3]}.\n"
        f"The first three, a small ResNet on natural images: {', '.join(there)}."
    )


def _first(claims: dict[str, dict[str, dict[str, dict[str, str]]]]) -> list[str]:
    """The README's table: what was asked, where it was tried, and what was found."""
    answers = dict(zip(VERDICTS, ANSWERS, strict=True))
    paper_of = {claim: paper for paper, of in claims.items() for claim in of["decide"]}
    lines = ["| asked | tried on | found | by how much |", "| --- |" + " --- |" * 3]
    for question, id_, *places in FIRST:
        for profile, where in places:
            claim = claims[paper_of[id_]][profile][id_]
            answer = f"**{answers[claim['verdict']]}**{FRAGILE if claim['fragile'] else ''}"
            lines.append(f"| {question} | {where} | {answer} | {_effect(claim)} |")
            question = "〃"
    return lines


def _effect(claim: dict[str, str]) -> str:
    """The effect where the claim is weakest, with its interval, as the page writes it."""
    known = {key: float(claim[key] or "nan") for key in ("effect", "ci_low", "ci_high")}
    return effect({**known, "unit": claim["unit"]})


def _answers(paper: str, claims: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    """What the page says first of a paper, a column a profile; of a question the first claims."""
    about = read_paper(ROOT / "workflow" / "papers" / paper)
    names = (f"{name} (`{profile}`)" for profile, name in PROFILES[paper].items())
    head = [f"| {about.title} | {' | '.join(names)} |", "| --- |" + " --- |" * len(claims)]
    lines = []
    for answer in about.answers:
        lines.append(f"| **{answer.question}** |" + " |" * len(claims))
        lines += [_line(claim, claims, numbered=False) for claim in answer.claims]
    return [*([about.words.strip(), ""] if about.words else []), *head, *lines, ""]


def _results(profile: str, kind: str, paper: str) -> Path:
    return ROOT / "results" / profile / kind / paper


def _molecules() -> list[str]:
    """Every setting of the logs: printed beside measured."""
    path = _results("cpu", "tables", "epfl_cs439") / "RHO_GCN.csv"
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["selection"] == "best_val"]
    shown = ("test_acc_percent", "train_acc_percent", "test_loss")
    lines = [
        "| | test accuracy, % | training accuracy, % | test loss | n |",
        "| --- |" + " --- |" * 4,
    ]
    for method, rho in dict.fromkeys((row["method"], row["rho"]) for row in rows):
        found = {r["metric"]: r for r in rows if (r["method"], r["rho"]) == (method, rho)}
        name = METHODS[method] + (f", rho {float(rho):g}" if rho else "")
        cells = [_beside(found[metric], 2 if "percent" in metric else 4) for metric in shown]
        lines.append(f"| {name} | {' | '.join(cells)} | {found[shown[0]]['seeds'] or 0} |")
    return lines


def _beside(row: dict[str, str], digits: int) -> str:
    printed = f"{float(row['reported']):.{digits}f}" if row["reported"] else "–"
    if not row["measured"]:
        return f"{printed} / not run"
    mean, low = float(row["measured"]), float(row["ci_low"] or "nan")
    half = f" ± {mean - low:.{digits}f}" if low == low else ""
    sign = AGREEMENT.get(row["agreement"], "")
    return f"{printed} / **{mean:.{digits}f}**{half} {sign}".strip()


def _claims(paper: str, profile: str) -> dict[str, dict[str, str]]:
    """The verdicts of a profile by claim."""
    path = ROOT / "results" / profile / "claims" / f"{paper}.csv"
    with path.open(encoding="utf-8") as file:
        return {claim["id"]: claim for claim in csv.DictReader(file)}


def _paper(paper: str, claims: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    """How many claims a paper has, and how each profile finds them."""
    theirs = [claim for claim in claims["decide"].values() if claim["asks"] == "paper"]
    lines = [
        f"Of the {len(theirs)} claims of {PAPERS[paper]}, those counted once that a profile does "
        "not tell apart:",
        "",
    ]
    lines += [_profile(paper, profile, claims[profile]) for profile in PROFILES[paper]]
    others = {"open": "it asks and leaves open", "ours": "are ours"}
    told = [
        f"{len(found)} {words}" for asks, words in others.items()
        if (found := _asked(claims["decide"], asks))
    ]  # fmt: skip
    return [*lines, *([f"- beside them, questions: {', '.join(told)}"] if told else []), ""]


def _asked(claims: dict[str, dict[str, str]], asks: str) -> list[dict[str, str]]:
    """The claims of a kind; one that a profile does not tell from another counts once."""
    return [c for c in claims.values() if c["asks"] == asks and not c["same_as"]]


def _profile(paper: str, profile: str, claims: dict[str, dict[str, str]]) -> str:
    """What was run, and how the verdicts are spread."""
    runs = _runs(paper, profile)
    counts = Counter(claim["verdict"] for claim in _asked(claims, "paper"))
    spread = ", ".join(f"{counts[verdict]} {verdict}" for verdict in SIGNS if counts[verdict])
    minutes = sum(run["seconds"] for run in runs) / 60
    return (
        f"- profile `{profile}`, {PROFILES[paper][profile]}: {spread}\n"
        f"  ({len(runs)} runs, {minutes:.0f} minutes of training on {_machines(runs)})"
    )


def _runs(paper: str, profile: str) -> list[dict]:
    """The provenance of the runs of the cells that a paper's tables show."""
    cells: set[str] = set()
    for path in _results(profile, "tables", paper).glob("*.csv"):
        with path.open(encoding="utf-8") as file:
            cells |= {row["cell"] for row in csv.DictReader(file) if row["cell"]}
    found = []
    for cell in sorted(cells):
        folder = ROOT / "results" / profile / "runs" / cell
        paths = sorted(folder.glob("seed=*/provenance.json"))
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


def _seeds(profile: str) -> str:
    """Over how many the figure of paired differences is: ``4 to 12 seeds``."""
    path = _results(profile, "figures", "geometry_sam") / "paired_differences.csv"
    with path.open(encoding="utf-8") as file:
        counts = {int(row["n"]) for row in csv.DictReader(file)}
    return " to ".join(map(str, sorted({min(counts), max(counts)}))) + " seeds"


def _decided(paper: str, claims: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    """The claims of a paper that a profile decides, as a table."""
    names = (f"{name} (`{profile}`)" for profile, name in PROFILES[paper].items())
    decided = [
        c for c in claims["decide"] if any(of[c]["verdict"] in DECIDED for of in claims.values())
    ]
    lines = [_line(claim, claims) for claim in decided]
    head = [f"| {PAPERS[paper]} | {' | '.join(names)} |", "| --- |" + " --- |" * len(claims)]
    return [*head, *lines, "", _agreement(decided, claims), ""]


def _line(
    claim_id: str, claims: dict[str, dict[str, dict[str, str]]], numbered: bool = True
) -> str:
    shown = " | ".join(_verdict(of[claim_id]) for of in claims.values())
    # What stands between bars would be a column of its own.
    test = claims["decide"][claim_id]["test"].replace("|", "&#124;")
    return f"| {claim_id + ' ' if numbered else ''}{test} | {shown} |"


def _verdict(claim: dict[str, str]) -> str:
    verdict = f"{SIGNS[claim['verdict']]} {claim['verdict']}{'*' if claim['fragile'] else ''}"
    if not claim["effect"]:
        return verdict
    unit = {"ratio": "x ", "": ""}.get(claim["unit"], "")
    ends = {end: float(claim[end] or "nan") for end in ("ci_low", "ci_high")}
    digits = effect_digits({"unit": claim["unit"], **ends})
    points = f" {claim['unit']}" if claim["unit"] not in ("", "ratio") else ""
    shown = f"{verdict}: {unit}{float(claim['effect']):.{digits}f}"
    if claim["ci_low"]:
        low, high = (float(claim[k]) for k in ("ci_low", "ci_high"))
        shown += f" [{low:.{digits}f}, {high:.{digits}f}]"
    return shown + points


def _agreement(decided: list[str], claims: dict[str, dict[str, dict[str, str]]]) -> str:
    """Of the claims that every profile decides, how many alike."""
    verdicts = [{of[claim]["verdict"] for of in claims.values()} for claim in decided]
    both = [found for found in verdicts if found <= set(DECIDED)]
    alike = sum(len(found) == 1 for found in both)
    return f"Both profiles decide {len(both)} of them, {alike} alike." if len(claims) > 1 else ""


main()
