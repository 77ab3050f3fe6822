"""A study of a few cells with records written by hand, for the tests of analysis and report."""

import json
import shutil
from pathlib import Path

import yaml

from samscope.papers import Plan, load_plan
from samscope.spec import Cell
from samscope.train.records import COLUMNS

ROOT = Path(__file__).parents[1]
HEADER = "model,data,column,variant,rho,condition,metric,reported,uncertainty,excluded,note\n"
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
RUNS = "geometry_sam/cnn3-digits"


def study(root: Path, claims: list[dict] | None = None, **scale: object) -> Plan:
    """The plan of a small study below ``root``: 3 seeds, rho 0.4 thinned in T1, 3 epochs."""
    paper = root / "workflow/papers/geometry_sam"
    (paper / "reported").mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "workflow/schemas", root / "workflow/schemas", dirs_exist_ok=True)
    for table, rows in ROWS.items():
        (paper / f"reported/{table}.csv").write_text(HEADER + "\n".join(rows) + "\n")
    meta = {
        "name": "geometry_sam", "title": "A study", "authors": "A. Author", "year": 2024,
        "url": "https://example.org", "citation": "A. Author, A study.",
        "models": {"RN18": "resnet18"}, "data": {"CIFAR-100": "cifar100"}, "protocol": PROTOCOL,
        "tables": {t: {"title": f"Table {t}", "question": "Does *it* hold?"} for t in ROWS},
        "deviations": ["Several seeds."],
    }  # fmt: skip
    _yaml(paper / "paper.yaml", meta)
    _yaml(paper / "claims.yaml", {"claims": claims or []})
    (paper / "errata.md").write_text("# Errata\n\n## A table\n\n- Printed: `x` <script>\n")
    settings = {
        "models": {"resnet18": "cnn3"}, "data": {"cifar100": "digits"}, "seeds": 3,
        "protocol": {"epochs": 3, "augment": "none", "val_size": 100},
        "tables": {"T1": {"only": {"rho": [0.1, 0.2]}, "reason": "to save time"}},
        "curvature": {"model": "cnn3", "variants": ["sgd", "sam"], "rhos": [0.1], "seeds": 3,
                      "images": 50, "top_n": 2},
        **scale,
    }  # fmt: skip
    (root / "workflow/scales").mkdir(exist_ok=True)
    scale_file = {"title": "t", "description": "For a test.", "papers": {"geometry_sam": settings}}
    _yaml(root / "workflow/scales/tiny.yaml", scale_file)
    return load_plan({"profile": "tiny", "papers": ["geometry_sam"]}, root)


def record(
    plan: Plan, cell: str, accuracy: list[float], loss: list[float | None] | None = None, **also
) -> None:
    """Write a cell's metrics.json, history.csv and provenance, one run for each accuracy.

    ``last`` is 1 below the accuracy. ``shares`` gives for each run the share of region 1 in each
    epoch, ``top`` the largest eigenvalue of each run, ``spec`` another cell than the plan's.
    """
    folder = plan.run_dir(cell)
    spec: Cell = also.get("spec", plan.cells[cell].cell)
    runs, lines = [], [",".join(COLUMNS)]
    for seed, value in enumerate(accuracy):
        lost = (loss or [0.5] * len(accuracy))[seed]
        pairs = {"acc_percent": {"best_val": value, "last": value - 1},
                 "loss": {"best_val": lost, "last": lost}}  # fmt: skip
        metrics = {f"{s}_{name}": p for s in ("test", "val", "train") for name, p in pairs.items()}
        state = {"best_epoch": 2, "epochs": spec.epochs, "diverged": lost is None}
        runs.append({"seed": seed, "digest": spec.digest(seed), **metrics, **state})
        shares = also.get("shares", [[60.0, 61.0, 62.0]] * len(accuracy))[seed]
        for epoch, share in enumerate(shares, 1):
            regions = ["", ""] if spec.rho is None else [share, 100 - share]
            values = [seed, epoch, 0.1, 1.0, 50.0, 1.0, 50.0, 1.0, 1.0, *regions]
            lines.append(",".join(map(str, values)) + "," * (len(COLUMNS) - len(values)))
        source = {"torch": "2.0", "python": "3.11", "cpu": "a CPU", "device": "cpu", "threads": 1,
                  "commit": "c" * 40, "dirty": False, "seconds": 2.0}  # fmt: skip
        _json(folder / f"seed={seed}/provenance.json", source)
    _json(folder / "metrics.json", {"cell": cell, "spec": spec.to_dict(), "runs": runs})
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    if "top" in also:
        spectra = [
            {"seed": i, "top_eigenvalues": [t, None if t is None else -2 * t], "trace": 3.0,
             "sample_loss": 0.25} for i, t in enumerate(also["top"])
        ]  # fmt: skip
        _json(folder / "curvature.json", {"cell": cell, "settings": {}, "runs": spectra})


def record_all(plan: Plan) -> None:
    """Every cell of the study, with numbers a reader can follow."""
    record(plan, f"{RUNS}/sgd/base", [70.0, 71.0, 72.0], [1.0, 1.1, 1.2], top=[10.0, 20.0, 40.0])
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0, 82.0, 84.0], [0.5, 0.6, 0.7], top=[1.0, 2.0, 4.0])
    record(plan, f"{RUNS}/sam/rho=0.2", [81.0, 82.0, 83.0])
    record(plan, f"{RUNS}/ckpt1/rho=0.1", [75.0, 76.0, 80.0], [0.9, 0.8, 0.7])
    record(plan, f"{RUNS}/ckpt1/rho=0.2", [76.0, 77.0, 78.0])
    record(plan, f"{RUNS}/sameckpt1/rho=0.1,condition=0.5", [79.0, 80.0, 81.0])
    record(plan, f"{RUNS}/sameckpt1/rho=0.1,condition=2", [78.0, 79.0, 80.0])


def _yaml(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False))


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
