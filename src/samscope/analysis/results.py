"""Reading the records of a plan: numbers of runs, histories, spectra, provenance.

A spec without its file has not been made. A run counts only where the digest in its record is that
of the plan's spec and seed: numbers of other settings are never shown under this plan's names.
"""

import csv
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samscope import stages
from samscope.errors import InputError
from samscope.metrics import METRICS, Metric, of_stage
from samscope.plan.types import Plan
from samscope.spec import Cell
from samscope.store import recorded, records
from samscope.store.recorded import REDO, Along, Measured, Run, Spectrum

SELECTIONS = ("best_val", "last")
REGIONS = ("region1", "region2", "region3", "region4")
PROVENANCE = (
    *("commit", "dirty", "torch", "python", "cpu", "device", "threads", "seconds", "fingerprint"),
)


def metrics(plan: Plan, ids: Iterable[str], names: Collection[str] | None = None) -> pd.DataFrame:
    """Numbers of runs: columns cell, seed, metric, selection (best_val or last), value.

    Args:
        plan: of the profile.
        ids: of specs.
        names: of `samscope.metrics.METRICS`, whatever the stage that measures them; None for all
            of the stage that makes the spec. Those that a record does not have are left out.

    A number that a record has once, such as one of the last weights, is that of both selections. A
    value that was not finite is NaN, and so is every value of a diverged run.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    rows = []
    for id_ in dict.fromkeys(ids):
        own = stages.maker(plan.find(id_).cell).name
        wanted = [
            n for n, m in METRICS.items() if (m.stage == own if names is None else n in names)
        ]
        found = {stage: _runs(plan, id_, stage) for stage in {METRICS[n].stage for n in wanted}}
        rows += [
            (id_, run.seed, name, selection, run.value(METRICS[name], name, selection))
            for name in wanted
            for run in found[METRICS[name].stage]
            if all(read in run.numbers for read in METRICS[name].reads or (name,))
            for selection in SELECTIONS
        ]
    return pd.DataFrame(rows, columns=["cell", "seed", "metric", "selection", "value"])


def _runs(plan: Plan, id_: str, stage: str) -> list[Run]:
    """The runs of a spec, with the numbers that a stage measures."""
    if stage == "curvature":
        return [Run(seed, "", found[-1].numbers) for _, seed, found in spectra(plan, [id_])]
    return runs(plan, id_, stage) if stage in stages.STAGES else []


def runs(plan: Plan, id_: str, stage: str = "") -> list[Run]:
    """The runs in a record of a spec that are the plan's, by seed; none if not made.

    Args:
        plan: of the profile.
        id_: of the spec.
        stage: whose record; that which makes the spec, where it is "".

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    made = stages.maker(plan.find(id_).cell)
    of = stages.STAGES[stage or made.name]
    asked = stages.runs(plan, of.name).get(id_, ())
    path = plan.run_dir(id_) / of.record
    if not asked or not path.exists():
        return []
    digests = {run.seed: run.identity["digest"] for run in asked}
    state, settings = path.stat(), json.dumps(asked[0].settings, sort_keys=True)
    stamp = state.st_ino, state.st_mtime_ns, state.st_size
    spec = plan.find(id_).cell
    scores: tuple[str, ...] | str = of.name
    if of.name == "train" and isinstance(spec, Cell):
        scores = ("loss", *spec.task.kind.scores)
    found = _runs_in(path, stamp, scores, settings)
    return sorted((r for r in found if digests.get(r.seed) == r.digest), key=lambda r: r.seed)


@lru_cache(maxsize=2**15)  # a page reads each record for tables, figures, claims and details
def _runs_in(
    path: Path, stamp: tuple[int, int, int], scores: tuple[str, ...] | str, settings: str
) -> tuple[Run, ...]:
    """The runs in a record whose ``stamp`` is that of its file now.

    Args:
        path: of the record.
        stamp: what changes with the file.
        scores: of the task, where it is a training's; else the name of the stage.
        settings: of the stage, as JSON.
    """
    found = []
    for raw in recorded.runs_of(path, json.loads(settings)):
        where = f"seed={raw.get('seed', '(missing)')}"
        numbers = _numbers(scores, raw, f"{path}: {where}")
        found.append(recorded.typed(Run, raw | {"numbers": numbers}, path, where))
    return tuple(found)


def _numbers(scores: tuple[str, ...] | str, raw: dict[str, Any], where: str) -> dict[str, Any]:
    """The numbers of a run: of a training those of its task, of another stage those it has."""
    if isinstance(scores, str):
        named = (metric.reads or (name,) for name, metric in of_stage(scores).items())
        held = dict.fromkeys(name for names in named for name in names)
        return {name: raw[name] for name in held if name in raw}
    names = _of_splits(scores)
    for name in names:
        if name not in raw:
            raise InputError(where, name, "(missing)", REDO)
    return {name: raw[name] for name in (*names, *METRICS) if name in raw}


@cache
def _of_splits(scores: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{split}_{score}" for split in ("test", "val", "train") for score in scores)


def along(plan: Plan, cells: Iterable[str], stage: str) -> pd.DataFrame:
    """The metrics of a stage of `samscope.stages.of_weights` over training.

    Columns cell, seed, epoch, loss (of the training samples as they are), and the metrics.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    known, lines = of_stage(stage), []
    for cell in dict.fromkeys(cells):
        asked = stages.runs(plan, stage).get(cell, ())
        digests = {run.seed: run.digest for run in runs(plan, cell)}
        path = plan.run_dir(cell) / stages.STAGES[stage].record
        for raw in recorded.runs_of(path, asked[0].settings) if asked else []:
            where = f"seed={raw.get('seed', '(missing)')}"
            found = recorded.typed(Along, raw, path, where)
            if digests.get(found.seed) == found.digest:
                for at in found.along:
                    one = recorded.typed(Run, {**raw, "numbers": at}, path, where)
                    lines.append((cell, one.seed, *_line(one, known)))
    return pd.DataFrame(lines, columns=["cell", "seed", "epoch", "loss", *known])


def _line(run: Run, known: Mapping[str, Metric]) -> list[float]:
    """Epoch, training loss and metrics of numbers at one epoch; NaN for those it has not."""
    told = {"epoch": Metric("epoch"), "train_loss": Metric("training loss"), **known}
    has = [set(m.reads or (name,)) <= run.numbers.keys() for name, m in told.items()]
    values = zip(told.items(), has, strict=True)
    return [run.value(m, name, "last") if there else math.nan for (name, m), there in values]


def histories(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """Curves over training: column cell, then those of the files; no shares without an ascent.

    What is scored depends on the task. ``epoch`` is the step where a cell's budget is in steps, see
    `samscope.spec.Budget.unit`.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    frames, columns = [], {"cell": None, "seed": None, "epoch": None}
    for cell in dict.fromkeys(cells):
        spec = plan.find(cell).cell
        if not isinstance(spec, Cell):
            continue
        known = records.columns(spec)
        columns |= dict.fromkeys("epoch" if name == "step" else name for name in known)
        seeds = [run.seed for run in runs(plan, cell)]
        if seeds:
            frame = pd.DataFrame(_history(plan.run_dir(cell) / "history.csv", known))
            frames.append(frame[frame.seed.isin(seeds)].assign(cell=cell))
    if not frames:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(frames, ignore_index=True).reindex(columns=list(columns))


def curves(plan: Plan, cell: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Some columns of the same by name, ``seed`` and ``epoch`` before them; none without a run.

    Without a frame: a page reads those of every cell.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    spec, seeds = plan.find(cell).cell, [run.seed for run in runs(plan, cell)]
    if not (isinstance(spec, Cell) and seeds):
        return {}
    wanted = {"seed", "epoch", *names}
    found = _history(plan.run_dir(cell) / "history.csv", records.columns(spec), wanted)
    counts = np.isin(found["seed"], seeds)
    return {name: values[counts] for name, values in found.items()}


def _history(
    path: Path, known: Collection[str], wanted: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Columns of a history file, all or those ``wanted`` that it has: seeds and epochs, and floats.

    A cut line would otherwise read as missing values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(text.splitlines())
        if not set(header) <= set(known) or not text.endswith("\n"):
            raise ValueError("the header or the last line is cut")
        if any(len(line) != len(header) for line in lines):
            raise ValueError("a line is cut")
        names = ["epoch" if name == "step" else name for name in header]
        columns = {
            name: np.array([float(line[i]) if line[i] else math.nan for line in lines])
            for i, name in enumerate(names)
            if wanted is None or name in wanted
        }
    except (OSError, ValueError) as error:
        raise InputError(path, "file", str(error), REDO) from None
    return columns | {name: columns[name].astype(int) for name in ("seed", "epoch")}


def spectra(plan: Plan, cells: Iterable[str]) -> list[tuple[str, int, list[Spectrum]]]:
    """Cell, seed and the spectra of every measured run, by epoch, as they are recorded.

    Only spectra of runs that count (see `runs`), measured with the profile's settings.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    rows, asked = [], stages.runs(plan, "curvature")
    for cell in (cell for cell in dict.fromkeys(cells) if cell in asked):
        path = plan.run_dir(cell) / stages.STAGES["curvature"].record
        digests = {run.seed: run.digest for run in runs(plan, cell)}
        for raw in recorded.runs_of(path, asked[cell][0].settings):
            where = f"seed={raw.get('seed', '(missing)')}"
            found = recorded.typed(Measured, raw, path, where)
            if digests.get(found.seed) == found.digest:
                rows.append((cell, found.seed, list(found.spectra)))
    return rows


def provenance(plan: Plan) -> pd.DataFrame:
    """Where each run that counts comes from: cell, seed, digest, and `PROVENANCE`."""
    rows = []
    for id_ in plan.specs:
        for run in runs(plan, id_):
            path = plan.run_dir(id_) / f"seed={run.seed}" / "provenance.json"
            known = recorded.json_of(path) or {}
            rows.append((id_, run.seed, run.digest, *(known.get(k) for k in PROVENANCE)))
    return pd.DataFrame(rows, columns=["cell", "seed", "digest", *PROVENANCE])


def put(path: Path, content: str | bytes) -> None:
    """Write a file at once or not at all, whoever else writes it; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        error.filename = str(path)
        raise
