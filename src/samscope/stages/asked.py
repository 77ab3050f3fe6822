"""What a plan asks of each stage: which runs, with which settings, at which epochs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from samscope.config.profile import scale_file
from samscope.config.typed import read
from samscope.errors import InputError
from samscope.plan import limits
from samscope.plan.rows import applying, written
from samscope.plan.types import Paper, Plan
from samscope.spec import Cell, Spec
from samscope.stages.registry import STAGES, maker
from samscope.stages.run import Run
from samscope.stages.stage import Settings, Stage


@dataclass(frozen=True)
class Choice:
    """A cell that a paper has measured: by which seeds, settings, and beside which other cell."""

    paper: str
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    reference: str | None


def runs(plan: Plan, name: str) -> dict[str, tuple[Run, ...]]:
    """The runs that a plan asks of a stage, by id, in the grid's order; the seeds ascend.

    Raises:
        InputError: for settings that are no settings of the stage, or clash: see `check`.
    """
    return _runs(plan, STAGES[name])


@cache
def _runs(plan: Plan, stage: Stage) -> dict[str, tuple[Run, ...]]:
    if stage.settings is None:
        made = {i: p for i, p in plan.specs.items() if maker(p.cell) is stage}
        return {i: tuple(made_run(plan, i, seed) for seed in p.seeds) for i, p in made.items()}
    asked = choices(plan, stage)
    return {
        cell: tuple(_measured(plan, cell, seed, asked[cell]) for seed in asked[cell].seeds)
        for cell in plan.specs
        if cell in asked
    }


@cache
def made_run(plan: Plan, id_: str, seed: int) -> Run:
    """The run of a spec that a row of a table names, or that another needs."""
    spec = plan.specs[id_].cell
    needs = tuple(made_run(plan, plan.ids[need], at) for need, at in spec.needs(seed))
    measured = (choices(plan, s).get(id_) for s in STAGES.values() if s.settings)
    epochs = {e for c in measured if c and seed in c.seeds for e in c.settings.get("epochs", ())}
    folder = plan.run_dir(id_) / f"seed={seed}"
    return Run(folder, spec, seed, epochs=tuple(sorted(epochs)), needs=needs)


def _measured(plan: Plan, id_: str, seed: int, choice: Choice) -> Run:
    own = made_run(plan, id_, seed)
    other = made_run(plan, choice.reference, seed) if choice.reference else None
    needs = (own, other) if other else (own,)
    epochs = tuple(choice.settings.get("epochs", ()))
    return Run(own.folder, own.spec, seed, choice.settings, epochs, needs, other)


@cache
def choices(plan: Plan, stage: Stage) -> dict[str, Choice]:
    """The cells of which a stage with settings is made. What several papers ask for is made once.

    Raises:
        InputError: where they ask for it with other settings.
    """
    found: dict[str, Choice] = {}
    for paper in plan.papers.values():
        settings = settings_of(plan, paper, stage)
        if settings is None:
            continue
        for cell, choice in _chosen(plan, paper, stage, settings):
            found[cell] = _both(plan, stage, cell, found[cell], choice) if cell in found else choice
    return found


def settings_of(plan: Plan, paper: Paper, stage: Stage) -> Settings | None:
    """What a profile says of a stage for a paper; None where it leaves it out."""
    raw = paper.scale.stages.get(stage.name)
    if raw is None or stage.settings is None:
        return None
    where, path = scale_file(paper.name, plan.profile), f"stages.{stage.name}"
    try:
        return read(stage.settings, raw, where, path)
    except InputError as error:
        if str(error).startswith(where):
            raise
        # What only several settings show is found by them, which know no file.
        raise InputError(where, f"{path}.{error.field}", error.value, error.allowed) from None


def _chosen(
    plan: Plan, paper: Paper, stage: Stage, settings: Settings
) -> Iterator[tuple[str, Choice]]:
    """The cells of a paper that its settings choose.

    A cell counts that departs from the paper's protocol in nothing but leaves that ``where`` names,
    and whose leaves are those, or none: SGD has no rho. Of a leaf of the protocol it names the
    departures that count beside what does not depart. What the profile puts in the place of a value
    is meant too.
    """
    if plan.specs and not any(settings.seeds_of(p.seeds) for p in plan.specs.values()):
        file, seed = scale_file(paper.name, plan.profile), getattr(settings, "seed", 0)
        allowed = f"a planned seed, 0 to {max(p.seeds[-1] for p in plan.specs.values())}"
        raise InputError(file, f"stages.{stage.name}.seed", seed, allowed)
    where = {}
    for leaf, values in settings.where.items():
        ours = paper.scale.instead(leaf)
        listed = values if isinstance(values, list | tuple) else [values]
        values = (ours.get(written(value), value) for value in listed)
        where[leaf] = [written(None), *map(written, values)]
    places, seeds = {}, {}
    for cell, varied in paper.cells.items():
        spec = plan.specs[cell].cell
        seeds[cell] = settings.seeds_of(plan.specs[cell].seeds)
        if set(varied) - set(where) or not isinstance(spec, stage.spec) or not seeds[cell]:
            continue
        flat = {leaf: written(value) for leaf, value in applying(spec).items()}
        stays = {leaf for leaf in paper.about.protocol if leaf in flat and leaf not in varied}
        if all(leaf in stays or flat.get(leaf) in values for leaf, values in where.items()):
            places[cell] = [
                -1 if leaf in stays else values.index(flat[leaf]) for leaf, values in where.items()
            ]
    if not (places or plan.config.tables):
        file = scale_file(paper.name, plan.profile)
        allowed = "leaves that a planned cell has, departures from the protocol among them"
        raise InputError(file, f"stages.{stage.name}.where", settings.where, allowed)
    chosen = [plan.specs[cell].cell for cell in sorted(places, key=places.__getitem__)]
    for cell in places:
        reference = stage.reference(chosen, plan.specs[cell].cell)
        beside = reference.id if reference else None
        yield cell, Choice(paper.name, seeds[cell], settings.used(), beside)


def _both(plan: Plan, stage: Stage, cell: str, one: Choice, other: Choice) -> Choice:
    """What two papers ask for of one cell: the epochs of both, by the same settings."""
    ours, theirs = ({**c.settings, "reference": c.reference} for c in (one, other))
    epochs = sorted({*ours.pop("epochs", ()), *theirs.pop("epochs", ())})
    differ = [name for name in ours if ours[name] != theirs[name]]
    if differ:
        told = ", ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in differ)
        where = scale_file(other.paper, plan.profile)
        allowed = f"what {scale_file(one.paper, plan.profile)} says of the same cell"
        raise InputError(where, f"stages.{stage.name}", f"{cell} with {told}", allowed)
    settings = one.settings | ({"epochs": epochs} if "epochs" in one.settings else {})
    seeds = tuple(sorted({*one.seeds, *other.seeds}))
    return Choice(one.paper, seeds, settings, one.reference)


def check(plan: Plan) -> None:
    """Refuse what a profile says of stages and cannot mean.

    Raises:
        InputError: for an unknown stage, a setting that it does not have or allow, a cell that it
            cannot measure, two papers that measure one cell with other settings, epochs that a run
            does not have; naming the file.
    """
    known = [name for name, stage in STAGES.items() if stage.settings]
    for paper in plan.papers.values():
        for name in paper.scale.stages:
            if name not in known:
                where = scale_file(paper.name, plan.profile)
                raise InputError(where, "stages", name, ", ".join(known))
    for name in known:
        for cell, choice in choices(plan, STAGES[name]).items():
            spec = plan.specs[cell].cell
            if words := STAGES[name].unfit(spec):
                where = scale_file(choice.paper, plan.profile)
                raise InputError(where, f"stages.{name}.where", cell, words)
            _check_samples(plan, name, choice, spec)
            if not isinstance(spec, Cell):
                continue
            budget = spec.budget
            for epoch in choice.settings.get("epochs", ()):
                if epoch not in budget.ends[:-1]:
                    where = scale_file(choice.paper, plan.profile)
                    allowed = f"{budget.ends_told}, before the last {budget.unit} of {cell}"
                    raise InputError(where, f"stages.{name}.epochs", epoch, allowed)


def _check_samples(plan: Plan, name: str, choice: Choice, spec: Spec) -> None:
    """Refuse to measure on more samples than a cell trains on.

    Raises:
        InputError: naming the setting.
    """
    most, where = limits.training(spec), scale_file(choice.paper, plan.profile)
    pooled = choice.settings.get("pooled") or {"batches": 0, "images": 0}
    asked = {
        "images": choice.settings.get("images", 0),
        "pooled.batches * images": pooled["batches"] * pooled["images"],
    }
    for setting, count in asked.items():
        if most is not None and count > most:
            allowed = f"at most the {most} samples that {spec.id} trains on"
            raise InputError(where, f"stages.{name}.{setting}", count, allowed)
