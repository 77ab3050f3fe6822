"""A study of a few cells with records written by hand, for the tests of analysis and report."""

import json
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from samscope.analysis.figures import kinds
from samscope.measure.surface import CONVEXITY, fill
from samscope.optim import bins
from samscope.plan.load import load_plan
from samscope.plan.types import Plan
from samscope.spec import Cell
from samscope.stages.landscape import CONVEXITY as RATIO
from samscope.stages.landscape import KINDS
from samscope.store.records import columns, to_csv

ROOT = Path(__file__).parents[1]
STUDY = "geometry_sam"
HEADER = "model,data,column,variant,rho,condition,metric,reported,uncertainty,excluded,note\n"
ONE = "RN18,CIFAR-100,SGD,sgd,0.1,,test_acc_percent,{},{},,\n"
"""A row of T1, of a printed number and what stands beside it."""
ROWS = {
    "T1": (
        "RN18,CIFAR-100,SGD,sgd,0.1,,test_acc_percent,77.36,,,",
        "RN18,CIFAR-100,SGD,sgd,0.1,,test_loss,0.9116,,,",
        "RN18,CIFAR-100,ori-SAM,sam,0.1,,test_acc_percent,78.84,,,",
        "RN18,CIFAR-100,ori-SAM,sam,0.1,,test_loss,,,,no loss printed",
        "RN18,CIFAR-100,ckpt1,ckpt1,0.1,,test_acc_percent,78.60,,a paste error,a note",
        "RN18,CIFAR-100,ckpt1,ckpt1,0.1,,test_loss,0.8784,,a paste error,a note",
        "RN18,CIFAR-100,SGD,sgd,0.2,,test_acc_percent,77.36,,,",
        "RN18,CIFAR-100,ori-SAM,sam,0.2,,test_acc_percent,79.55,,,",
        "RN18,CIFAR-100,ckpt1,ckpt1,0.2,,test_acc_percent,,,,printed as ??",
        "RN18,CIFAR-100,ori-SAM,sam,0.4,,test_acc_percent,79.21,,,",
        "RN18,CIFAR-100,ckpt1,ckpt1,0.4,,test_acc_percent,79.58,,,",
    ),
    "S1": (
        "RN18,CIFAR-100,ori-SAM,sam,0.1,,test_acc_percent,79.35,,,",
        "RN18,CIFAR-100,condition=0.5,sameckpt1,0.1,0.5,test_acc_percent,78.98,,,",
        "RN18,CIFAR-100,condition=2,sameckpt1,0.1,2,test_acc_percent,78.78,,,",
    ),
}
PROTOCOL = {
    "epochs": 200, "batch_size": 256, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.001,
    "drop_last": False, "augment": "crop_flip_cutout", "label_noise": 0.0, "train_size": None,
    "val_size": 5000, "split_seed": 42, "threads": 1, "precision": "float32",
    "compiled": False,
}  # fmt: skip
KEYS = {"model": {"RN18": "resnet18"}, "data": {"CIFAR-100": "cifar100"}}
RUNS = "cnn3-digits"
REAL = "resnet18-cifar100"
OWN = {"stand_ins": {}, "protocol": {}, "tables": {}, "stages": {}}
"""Of a profile that runs the paper's own model and data, `REAL`, and no stand-in."""
CURVATURE = {
    "where": {"model": "cnn3", "variant": ["sgd", "sam"], "rho": [0.1]}, "seeds": 3, "images": 50,
    "top_n": 2, "products": 30, "trace_products": 10, "rho": 0.1, "epochs": [1],
    "pooled": {"batches": 2, "images": 20, "backend": "lanczos"},
}  # fmt: skip
LANDSCAPE = {
    "where": {"model": "cnn3", "variant": ["sgd", "sam"], "rho": 0.1}, "seed": 0, "images": 50,
    "points": 3, "reach": 1.0,
}  # fmt: skip
FIRST = {"model": "resnet18", "data": "cifar100"}
FRONT = ("paired_differences", "region_shares", "lambda_max")
FIGURES = [{"draw": name, "where": FIRST, "front": name in FRONT} for name in kinds()]
"""One of each kind."""


def study(root: Path, claims: list | None = None, name: str = STUDY, **scale: object) -> Plan:
    """The plan of a small study below ``root``: 3 seeds, rho 0.4 thinned in T1, 3 epochs.

    ``scale`` takes the place of what its part of the profile says.
    """
    write_study(root, claims, name, **scale)
    return load_plan({"profile": "tiny", "papers": [name]}, root)


def write_study(root: Path, claims: list | None = None, name: str = STUDY, **scale: object) -> Path:
    """Write the files of the study; its folder."""
    paper = root / "workflow/papers" / name
    for folder in ("reported", "scale"):
        (paper / folder).mkdir(parents=True, exist_ok=True)
    for table, rows in ROWS.items():
        (paper / f"reported/{table}.csv").write_text(HEADER + "\n".join(rows) + "\n")
    meta = {
        "name": name, "title": "A study", "authors": "A. Author", "year": 2024,
        "url": "https://example.org", "citation": "A. Author, A study.",
        "keys": KEYS, "protocol": PROTOCOL, "figures": FIGURES,
        "tables": {t: {"title": f"Table {t}", "question": "Does *it* hold?"} for t in ROWS},
        "deviations": ["Several seeds."],
    }  # fmt: skip
    _yaml(paper / "paper.yaml", meta)
    _yaml(paper / "claims.yaml", {"claims": claims or []})
    (paper / "errata.md").write_text("# Errata\n\n## A table\n\n- Printed: `x` <script>\n")
    settings = {
        "stand_ins": {"model": {"resnet18": "cnn3"}, "data": {"cifar100": "digits"}}, "seeds": 3,
        "protocol": {"epochs": 3, "augment": "none", "val_size": 100},
        "tables": {"T1": {"only": {"rho": [0.1, 0.2]}, "reason": "to save time"}},
        "stages": {"curvature": CURVATURE, "landscape": LANDSCAPE},
        **scale,
    }  # fmt: skip
    _yaml(paper / "scale/tiny.yaml", settings)
    (root / "workflow/scales").mkdir(exist_ok=True)
    _yaml(root / "workflow/scales/tiny.yaml", {"title": "t", "description": "For a test."})
    return paper


def line(frame: pd.DataFrame, variant: str, rho: float, **where: str) -> pd.Series:
    """The one row of a table with these values; of the best epoch's test accuracy by default."""
    where = {"metric": "test_acc_percent", "selection": "best_val", **where}
    chosen = frame[(frame.variant == variant) & (frame.rho == rho)]
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


SPLITS = ("test", "val", "train")


def record(
    plan: Plan, cell: str, accuracy: list[float], loss: list[float | None] | None = None, **also
) -> None:
    """Write a cell's metrics.json, history.csv and provenance, one run for each accuracy.

    ``last`` is 1 below the accuracy. ``shares`` gives for each run the share of region 1 in each
    epoch, ``val`` its best validation accuracy, ``top`` its largest eigenvalue; ``spec`` is another
    cell than the plan's.
    """
    folder = plan.run_dir(cell)
    spec: Cell = also.get("spec", plan.cells[cell].cell)
    runs, names, rho = [], columns(spec), spec.method.ascent.rho
    lines = [",".join(names)]
    for seed, value in enumerate(accuracy):
        lost = (loss or [0.5] * len(accuracy))[seed]
        metrics = {f"{s}_loss": {"best_val": lost, "last": lost} for s in SPLITS}
        metrics |= {f"{s}_acc_percent": {"best_val": value, "last": value - 1} for s in SPLITS}
        if "val" in also:
            metrics["val_acc_percent"] |= {"best_val": also["val"][seed]}
        state = {"best_epoch": 2, "epochs": spec.budget.epochs, "diverged": lost is None}
        runs.append({"seed": seed, "digest": spec.digest(seed), **metrics, **state})
        shares = also.get("shares", [[60.0, 61.0, 62.0]] * len(accuracy))[seed]
        for epoch, share in enumerate(shares, 1):
            regions = ["", ""] if rho is None else [share, 100 - share]
            values = [seed, epoch, 0.1, 1.0, 50.0, 1.0, 50.0, 1.0, 1.0, *regions]
            values += [""] * (len(names) - 5 - len(values))
            values += [""] * 5 if rho is None else [share, 0.1, share + 5 + seed, 0.1, 90.0]
            lines.append(",".join(map(str, values)))
        source = {"torch": "2.0", "python": "3.11", "cpu": "a CPU", "device": "cpu", "threads": 1,
                  "commit": "c" * 40, "dirty": False, "seconds": 2.0}  # fmt: skip
        _json(folder / f"seed={seed}/provenance.json", source)
        for name, text in _gathered(seed, () if rho is None else tuple(shares)).items():
            (folder / f"seed={seed}" / name).write_text(text)
    _json(folder / "metrics.json", {"cell": cell, "spec": spec.to_dict(), "runs": runs})
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    if "top" in also:
        spectra = [
            {"seed": i, "digest": spec.digest(i), "sample_digest": "d",
             "spectra": [spectrum(1, t and 3 * t), spectrum(spec.budget.epochs, t)]}
            for i, t in enumerate(also["top"])
        ]  # fmt: skip
        _json(folder / "curvature.json", {"cell": cell, "settings": {}, "runs": spectra})


@cache
def _gathered(seed: int, shares: tuple[float, ...]) -> dict[str, str]:
    """Tables of ratios: region 1 is 1 < r < 1.2 but for a tenth of 2 < r < 4, h twice as long as g.

    Three quarters of the parameters are a convolution's, whose share of region 1 is 1 lower than
    that of all. At lag 1 the overlap is 3 and at lag 2 it is 2 above chance, 60 and 36.
    """
    rows = []
    for epoch, share in enumerate(shares, 1):
        for kind, size, more in (("convolution", 75, -1), ("linear", 25, 3), ("all", 100, 0)):
            one = share + more
            ratios = {"1<r<1.2": 0.9 * one, "2<r<4": 0.1 * one, "0.5<r<1": 100 - one}
            sums = {
                f"{p}_region{r}": v for r in (1, 2) for p, v in (("gg", 1), ("hh", 4), ("gh", 2))
            }
            zeros = dict.fromkeys(bins.COLUMNS, 0)
            batch = "last" if kind == "all" else "all"
            about = {"seed": seed, "epoch": epoch, "batch": batch, "kind": kind, "parameters": size}
            rows.append({**about, **zeros, **ratios, **sums})
    looks = [
        {"seed": seed, "reference": reference, "lag": lag, "region": region, "windows": 1,
         "members": 60, "overlap": chance + above + seed, "overlap_chance": chance,
         "unbroken": chance + above + seed, "unbroken_chance": chance}
        for reference in (4, 8) for region in (1, 2, 3, 4)
        for lag, chance, above in ((1, 60, 3), (2, 36, 2)) if shares
    ]  # fmt: skip
    return {
        "ratios.csv": to_csv(rows, bins.RATIOS),
        "persistence.csv": to_csv(looks, bins.PERSISTENCE),
    }


def spectrum(epoch: int, top: float | None) -> dict:
    """A record of a Hessian with the eigenvalues ``top``, a quarter of it, and minus its tenth.

    Of the density, 0.9 is at zero and 0.04 at minus a twentieth of ``top``.
    """
    scaled = lambda factor: None if top is None else factor * top  # noqa: E731
    bounded = lambda value: {"value": value, "error": scaled(1e-3)}  # noqa: E731
    return {
        "epoch": epoch, "loss": None if top is None else 0.25, "converged": True, "products": 3,
        "largest": [top, scaled(0.25)], "largest_residuals": [scaled(1e-4)] * 2,
        "dominant": [top, scaled(0.25)], "dominant_residuals": [scaled(1e-4)] * 2,
        "lambda_min": bounded(scaled(-0.1)), "asymmetry": bounded(top and 10.0),
        "leading_ratio": {"k": 2, **bounded(top and 4.0)},
        "trace": {"value": scaled(3), "stderr": scaled(0.1), "low": scaled(2), "high": scaled(4)},
        "worst_case": {"rho": 0.1, "value": scaled(0.01), "one_step": scaled(0.005)},
        "average_case": {"rho": 0.1, "value": scaled(1e-4), "stderr": scaled(1e-6)},
        "density": {"nodes": [[scaled(-0.05), top and 0.0, top]], "weights": [[0.04, 0.9, 0.06]]},
        "pooled": {"values": [[scaled(1.2), scaled(0.4)]] * 2, "mean_of_largest": scaled(1.2),
                   "mean_of_positive": scaled(0.8), "largest": scaled(1.2),
                   "smallest": scaled(0.4), "negative_percent": 0.0},
        "noise": {
            "rho": 0.1, "batches": 4, "shares": [60.0, 30.0, 5.0, 5.0], "noise_shares": None,
            "another_batch": top and [50.0 + top, 45.0], "float64": [100.0, 45.0],
            "prediction": [{"rho": r, "same": 90 - 100 * r, "chance": 46.0, "error": r}
                           for r in (0.1, 0.2)],
            "diagonal": {"above": 61.0, "chance": 60.0, "rank_correlation": 0.25,
                         "reliability": 0.5},
        },
    }  # fmt: skip


def record_surfaces(plan: Plan, cell: str, steep: float) -> None:
    """Surfaces of a cell's first run: 0.5 and ``steep`` times the squared distance.

    The Hessian's smallest eigenvalue is that distance over ``steep`` of its largest.
    """
    folder, grid = plan.run_dir(cell) / "seed=0", [-1.0, 0.0, 1.0]
    about = {
        "digest": plan.cells[cell].cell.digest(0), "epochs": [0, 1, 3],
        "coordinates": [[1.0, 0.5], [0.5, 1.0], [0.0, 0.0]], "distances": [0.0, 0.0, 0.0],
        "explained": [0.75, 0.25],
    }  # fmt: skip
    for kind in KINDS:
        settings = {"a": grid, "b": [0.0] if kind in ("line", "between") else grid, "about": about}
        fill(folder / f"landscape-{kind}.csv", settings,
             lambda a, b: (0.5 + steep * (a * a + b * b), 50.0), lambda line: None)  # fmt: skip
    ratio = lambda a, b: ((a * a + b * b) / steep, 0.01, 10.0, -1.0)  # noqa: E731
    settings = {"a": grid, "b": grid, "columns": list(CONVEXITY), "about": about}
    fill(folder / f"landscape-{RATIO}.csv", settings, ratio, lambda line: None)


def record_all(plan: Plan) -> None:
    """Every cell of the study, with numbers a reader can follow."""
    record(plan, f"{RUNS}/sgd/base", [70.0, 71.0, 72.0], [1.0, 1.1, 1.2], top=[10.0, 20.0, 40.0])
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0, 82.0, 84.0], [0.5, 0.6, 0.7], top=[1.0, 2.0, 4.0])
    record_surfaces(plan, f"{RUNS}/sgd/base", 4.0)
    record_surfaces(plan, f"{RUNS}/sam/rho=0.1", 1.0)
    record(plan, f"{RUNS}/sam/rho=0.2", [81.0, 82.0, 83.0])
    record(plan, f"{RUNS}/ckpt1/rho=0.1", [75.0, 76.0, 80.0], [0.9, 0.8, 0.7])
    record(plan, f"{RUNS}/ckpt1/rho=0.2", [76.0, 77.0, 78.0])
    record(plan, f"{RUNS}/sameckpt1/rho=0.1,condition=0.5", [79.0, 80.0, 81.0])
    record(plan, f"{RUNS}/sameckpt1/rho=0.1,condition=2", [78.0, 79.0, 80.0])


def edited(path: Path, **changes: object) -> None:
    """Change fields of a YAML file."""
    _yaml(path, yaml.safe_load(path.read_text()) | changes)


def _yaml(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False))


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
