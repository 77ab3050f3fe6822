"""What the configuration chooses, what a profile is, and a paper's part of it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from samscope.config.reading import read_yaml
from samscope.config.typed import Check, Seeds, Text, between, read
from samscope.errors import InputError
from samscope.numerics import Mode

Distinct = Check(lambda names: len(set(names)) == len(names), "each name once")


@dataclass(frozen=True)
class Config:
    """``config.yaml``: what to build."""

    profile: Annotated[str, Check(bool, "a name of workflow/scales")]
    papers: Annotated[
        tuple[str, ...], Distinct, Check(bool, "a list of names of workflow/papers, each once")
    ]
    tables: Annotated[
        tuple[str, ...], Check(lambda t: True, "a list of tables such as geometry_sam/T1, or none")
    ] = ()
    seeds: Annotated[int, between(1, 10_000, "a number of seeds from 1, or null")] | None = None
    data_dir: Annotated[str, Check(bool, "a folder")] = "data"
    partial: Annotated[bool, Check(lambda p: True, "true or false")] = False
    train: Annotated[bool, Check(lambda t: True, "true, false or null")] | None = None


@dataclass(frozen=True)
class Profile:
    """``workflow/scales/<profile>.yaml``: what a profile is, for all papers.

    Attributes:
        title: as shown.
        description: in sentences.
        keep_weights: false where a run's weights go once all that needs them is measured.
        committed: whether its records are in the repository, so that the workflow makes tables and
            page from those and trains what is missing only when asked to.
        mkl: mode of MKL, see `samscope.numerics`: ``compatible`` where verdicts must be the same on
            every processor and convolutions rule, ``auto`` where matrix products do.
    """

    title: Text
    description: Text
    keep_weights: bool = True
    committed: bool = False
    mkl: Mode = "auto"


@dataclass(frozen=True)
class Thinned:
    """Of a table, what a profile runs: its seeds, and only some of its rows, for a reason."""

    seeds: Seeds | None = None
    only: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Scale:
    """``workflow/papers/<paper>/scale/<profile>.yaml``: a paper's part of a profile.

    Attributes:
        seeds: of a cell, where no table says otherwise.
        protocol: leaves in which it differs from the paper's.
        stand_ins: by leaf, the paper's value: the one used here.
        models: by the paper's model, the leaves of its cells that are others here than for the
            rest, or stand-ins as above for its rows alone; ``model`` among them is its own.
        tables: what is thinned.
        shows: leaves that the ids of its cells show, since another paper of the profile has cells
            that differ in them and in nothing that an id shows.
        priority: what the queue runs first: tables, or ends of the ids of cells.
        stages: settings of what is measured, by stage; null where it is not, as another profile
            that it is like says.
    """

    seeds: Seeds
    protocol: dict[str, Any] = field(default_factory=dict)
    stand_ins: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, Thinned] = field(default_factory=dict)
    shows: tuple[str, ...] = ()
    priority: Annotated[tuple[str, ...], Distinct] = ()
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    def instead(self, leaf: str) -> dict[str, Any]:
        """What stands in the place of the paper's values of a leaf, by these as text."""
        named = {m: own[leaf] for m, own in self.models.items() if leaf in own}
        return self.stand_ins.get(leaf, {}) | (named if leaf == "model" else {})


def read_config(source: str) -> dict[str, Any]:
    """The configuration: a path of a YAML file, or the configuration itself as JSON."""
    if source.lstrip().startswith("{"):
        try:
            return json.loads(source)
        except (ValueError, RecursionError) as error:
            raise InputError("--config", "JSON", str(error), "valid JSON, or a path") from None
    return read_yaml(Path(source))


def read_profile(workflow: Path, name: str) -> Profile:
    """A profile.

    Raises:
        InputError: for a name without a file, or a file with a mistake.
    """
    known = sorted(path.stem for path in (workflow / "scales").glob("*.yaml"))
    if name not in known:
        raise InputError("config.yaml", "profile", name, ", ".join(known))
    where = f"workflow/scales/{name}.yaml"
    return read(Profile, read_yaml(workflow / "scales" / f"{name}.yaml"), where)


LIKE = "like"
"""Of a paper's part of a profile: another, of which all holds but what this says; and that may be
like another in turn."""


def read_scale(folder: Path, profile: str) -> Scale:
    """A paper's part of a profile.

    Raises:
        InputError: where it has none, or a file with a mistake.
    """
    path = folder / "scale" / f"{profile}.yaml"
    where = scale_file(folder.name, profile)
    if not path.exists():
        have = sorted(p.stem for p in path.parent.glob("*.yaml"))
        allowed = f"this file, or one of its profiles: {', '.join(have) or 'none'}"
        raise InputError(where, "file", "(missing)", allowed)
    raw = _whole(path, where, ())
    if isinstance(raw, Mapping) and isinstance(raw.get("stages"), Mapping):
        stages = {name: said for name, said in raw["stages"].items() if said is not None}
        raw = {**raw, "stages": stages}
    scale = read(Scale, raw, where)
    for table, thinned in scale.tables.items():
        if thinned.only and not thinned.reason:
            field = f"tables.{table}.reason"
            raise InputError(where, field, "(missing)", "a reason why the other rows are not run")
    return scale


def _whole(path: Path, where: str, told: tuple[str, ...]) -> object:
    """What a file says, over what those say that it is like; ``told``: the files that led to it."""
    raw = read_yaml(path)
    if not (isinstance(raw, Mapping) and LIKE in raw):
        return raw
    told = (*told, path.stem)
    others = sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem not in told)
    if raw[LIKE] not in others:
        raise InputError(where, LIKE, raw[LIKE], ", ".join(others) or "no other profile is there")
    under = _whole(path.parent / f"{raw[LIKE]}.yaml", where, told)
    if not isinstance(under, Mapping):
        raise InputError(where, LIKE, raw[LIKE], "a profile with fields")
    return _over(under, {key: value for key, value in raw.items() if key != LIKE})


def _over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The old with the new in its place, mapping by mapping."""
    merged = {**old, **new}
    for key in old.keys() & new.keys():
        if isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            merged[key] = _over(old[key], new[key])
    return merged


def scale_file(paper: str, profile: str) -> str:
    """How messages name a paper's part of a profile."""
    return f"workflow/papers/{paper}/scale/{profile}.yaml"


def check_folder(where: str, field: str, folder: Path, mode: int) -> None:
    """Refuse a folder that cannot be used, or be made where its nearest parent stands."""
    there = next(p for p in (folder, *folder.parents, Path()) if p.exists())
    mode = mode if there == folder else os.W_OK
    if not there.is_dir() or not os.access(there, mode | os.X_OK):
        what = "readable" if mode == os.R_OK else "writable"
        raise InputError(where, field, str(folder), f"a {what} folder; {there} is not")
