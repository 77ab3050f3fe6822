"""The small records of runs in one file, from the machine that made them to another.

A tar.gz, or tar.xz, of ``profile.json`` and ``runs/<cell id>/seed=<n>/<file>``: every file of a run
but weights, states and hidden ones. The same records give the same bytes.
"""

import gzip
import io
import json
import lzma
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from samscope import stages
from samscope.config.profile import check_folder
from samscope.errors import InputError
from samscope.plan.types import Plan
from samscope.run import packed
from samscope.spec import Spec
from samscope.stages import STAGES, Run, json_record
from samscope.store import records
from samscope.store.recorded import typed

Named = tuple[str, int]
"""A run by its spec's id and its seed."""

_SHOWN = 10
"""Runs that are named where more are refused."""


def pack(plan: Plan, runs: Iterable[Named], path: Path) -> int:
    """Put the records of finished runs into an archive, beside those that it holds already.

    Raises:
        InputError: where the file is there and no archive of the profile.

    Returns:
        How many runs it holds.
    """
    profile = records.to_json({"profile": plan.profile}).encode()
    check_folder("samscope", "pack", path.absolute().parent, os.W_OK)
    path.parent.mkdir(parents=True, exist_ok=True)
    with records.locked(path.parent, lambda line: None, name=f".{path.name}.lock"):
        contents = {packed.PROFILE: profile}
        if path.exists():
            contents = dict(packed.members(path))
            packed.check_profile(path, contents.get(packed.PROFILE, b""), plan.profile)
        for cell, seed in runs:
            for file in _files(_folder(plan, cell, seed)):
                contents[f"runs/{cell}/seed={seed}/{file.name}"] = file.read_bytes()
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            # Files of one name after another: a tenth less, for xz sees what they have alike.
            for name in sorted(contents, key=lambda name: (name.rpartition("/")[2], name)):
                member = tarfile.TarInfo(name)
                member.size = len(contents[name])
                tar.addfile(member, io.BytesIO(contents[name]))
        # Neither format's header may hold a name or a time.
        pressed = lzma.compress if path.suffix == ".xz" else partial(gzip.compress, mtime=0)
        records.write(path, pressed(made.getvalue()))
    return len({name.rpartition("/")[0] for name in contents} - {""})


def made(plan: Plan) -> list[Named]:
    """The runs that the plan asks for and whose records are here."""
    return [(id_, seed) for id_ in plan.specs for seed in held(plan, id_)]


def held(plan: Plan, id_: str) -> list[int]:
    """The planned seeds of a spec that its record lists.

    A record that was put together for a plan of fewer seeds is put together anew, where runs that
    it lacks lie beside it and nobody works on them.
    """
    stage = stages.maker(plan.find(id_).cell)
    asked = stages.runs(plan, stage.name)[id_]
    found = stage.held(asked)
    told = {run.seed for run in found}
    beside = any(run.folder.exists() for run in asked if run.seed not in told)
    if beside and os.access(plan.run_dir(id_), os.W_OK):
        with records.locked(plan.run_dir(id_), lambda line: None, False) as free:
            if free:
                gather(plan, id_)
                found = stage.held(asked)
    return [run.seed for run in found]


def merge(plan: Plan, path: Path, report: Callable[[str], None]) -> tuple[int, int]:
    """Put the runs of an archive among the records of a plan: all of them, or none.

    A run that is there already gets the files it lacks. One whose record here is not valid, or of
    other settings than the plan's, is replaced.

    Args:
        plan: what the runs are of.
        path: the archive.
        report: called with one line about each run that is refused: of another profile or other
            settings, damaged, or with the digest of a run here but other numbers.

    Returns:
        How many runs brought something, and how many were here already.

    Raises:
        InputError: for a damaged or foreign archive, or when a run is refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = _unpack(plan, path, Path(folder))
        news, refused = {}, 0
        for run, source in found.items():
            try:
                news[run] = _news(plan, run, source)
            except InputError as error:
                refused += 1
                if refused <= _SHOWN:
                    report(str(error))
        if refused > _SHOWN:
            report(f"and {refused - _SHOWN} more")
        if refused:
            allowed = "runs of this plan that agree with those here; nothing was imported"
            raise InputError(path, "runs", f"{refused} of {len(found)} refused", allowed)
        changed = {run: names for run, names in news.items() if names}
        by_cell: dict[str, list[Named]] = {}
        for run in changed:
            by_cell.setdefault(run[0], []).append(run)
        for cell, theirs in by_cell.items():
            with records.locked(plan.run_dir(cell), report):
                for run in theirs:
                    here = _folder(plan, *run)
                    # What another process made since then is not written over.
                    names = _news(plan, run, found[run]) if here.exists() else changed[run]
                    _put(found[run], here, names)
                gather(plan, cell)
    return len(changed), len(found) - len(changed)


def waits(plan: Plan) -> bool:
    """Whether ``results/<profile>.tar.xz`` is there and nothing of the profile is unpacked."""
    return _committed(plan).exists() and not (plan.results / "runs").exists()


def take(plan: Plan, report: Callable[[str], None]) -> None:
    """Unpack ``results/<profile>.tar.xz``, where nothing of the profile is here yet.

    What the repository holds of a profile comes as it is, as if its files were committed: what is
    of other settings than the plan's is told by its digest, as of any record.

    Raises:
        InputError: for a damaged or foreign archive.
    """
    path, runs = _committed(plan), plan.results / "runs"
    if not path.exists():
        return
    if waits(plan):
        with records.locked(plan.results, report):
            if waits(plan):  # another process may have come first
                aside = plan.results / ".runs"
                shutil.rmtree(aside, ignore_errors=True)  # what a killed one left
                (aside / "runs").mkdir(parents=True)
                try:
                    found = _unpack(plan, path, aside)
                    (aside / "runs").rename(runs)  # all of it or nothing, whatever happens
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
                report(f"{plan.profile}: the records of {len(found)} runs, from {path.name}")
    for id_, planned in plan.specs.items():
        cell = plan.run_dir(id_)
        if cell.exists() and not (cell / stages.maker(planned.cell).record).exists():
            with records.locked(cell, report, False) as held:
                if held:
                    gather(plan, id_)


def gather(plan: Plan, id_: str) -> None:
    """Put a spec's records together from the planned runs it has; the caller holds its lock."""
    for name, stage in STAGES.items():
        asked = stages.runs(plan, name).get(id_)
        if asked:
            stage.assemble(asked)


def _committed(plan: Plan) -> Path:
    return plan.results.with_suffix(".tar.xz")


def _folder(plan: Plan, cell: str, seed: int) -> Path:
    return plan.run_dir(cell) / f"seed={seed}"


def _files(run: Path) -> list[Path]:
    return [path for path in sorted(run.iterdir()) if path.is_file() and path.name in packed.FILES]


def _unpack(plan: Plan, path: Path, folder: Path) -> dict[Named, Path]:
    """Extract an archive, and say where each of its runs is."""
    found, profile = {}, b""
    for name, content in packed.members(path):
        if name == packed.PROFILE:
            profile = content
            continue
        run, _, file = (folder / name).as_posix().rpartition("/")
        cell, _, seed = name.rpartition("/")[0].removeprefix("runs/").rpartition("/seed=")
        found[cell, int(seed)] = Path(run)
        Path(run).mkdir(parents=True, exist_ok=True)
        (Path(run) / file).write_bytes(content)
    packed.check_profile(path, profile, plan.profile)
    return dict(sorted(found.items()))


def _news(plan: Plan, run: Named, source: Path) -> list[str]:
    """The files of an archive's run that are not here yet.

    Raises:
        InputError: when the run must not come here.
    """
    (id_, seed), here = run, _folder(plan, *run)
    where = f"runs/{id_}/seed={seed}"
    made = _checked(plan, run, source, where)
    names = [file.name for file in _files(source)]
    if not stages.is_made(stages.maker(made.spec), made):
        return names
    ours, brought = (_current(plan, run, folder) for folder in (here, source))
    news = []
    for name in names:
        mine, theirs = here / name, source / name
        if not mine.exists():
            news.append(name)
        elif name in _MAY_DIFFER or mine.read_bytes() == theirs.read_bytes():
            continue
        elif not (ours.get(kind := re.split(r"[-.]", name)[0], True) and brought.get(kind, True)):
            # One of them is of settings that the plan has no more, or not yet.
            news += [name] * brought[kind]
        else:
            allowed = "the same numbers for the same run; delete one of the two"
            raise InputError(where, name, f"other than {mine}", allowed)
    return news


_MAY_DIFFER = ("provenance.json", "spec.json")
"""Files of one run made twice: the older lacks the leaves that came since, at their defaults."""


def _checked(plan: Plan, run: Named, source: Path, where: str) -> Run:
    """The planned run of an archive's, which is whole and of the plan's settings."""
    id_, seed = run
    try:
        planned = plan.find(id_)
        spec = planned.cell
        if seed not in planned.seeds:
            raise InputError(where, "seed", seed, f"one that is planned: {_told(planned.seeds)}")
        run_here = stages.made_run(plan, id_, seed)
        _check_spec(source, spec, seed, where)
        if stages.maker(spec).read(replace(run_here, folder=source)) is None:
            raise records.BadRecord("no record, or no whole one")
        _check_measured(source)
    except (OSError, ValueError, LookupError, TypeError, RecursionError, AttributeError) as error:
        reason = str(error) if isinstance(error, records.BadRecord | InputError) else repr(error)
        raise InputError(where, "record", reason, "a whole run of this plan") from None
    return run_here


def _check_measured(source: Path) -> None:
    """Refuse what was measured of a run, and is not what its stage writes."""
    for stage in STAGES.values():
        path = source / stage.record
        if stage.settings and stage.shape and path.exists():
            typed(stage.shape, json_record.load(path), Path(stage.record), "")
        stage.check(source)


def _told(seeds: tuple[int, ...]) -> str:
    """Seeds in a message."""
    whole = seeds == tuple(range(len(seeds)))
    return f"0 to {len(seeds) - 1}" if whole else ", ".join(map(str, seeds))


def _check_spec(source: Path, spec: Spec, seed: int, where: str) -> None:
    """Refuse a run by other settings, naming them, where it says by which it was made."""
    path = source / "spec.json"
    if not path.exists():
        return  # its record says by its digest
    held = json.loads(path.read_text())
    theirs = type(spec).from_dict(held["cell"], where)
    if theirs.digest(seed) != held["digest"]:
        raise records.BadRecord("spec.json does not give the digest it states")
    pairs = zip(theirs.to_dict().items(), spec.to_dict().values(), strict=True)
    other = [f"{name} {a}, here {b}" for (name, a), b in pairs if a != b]
    if other:
        raise records.BadRecord(f"trained with {'; '.join(other)}")


def _current(plan: Plan, run: Named, folder: Path) -> dict[str, bool]:
    """Whether what was measured of a run is of the plan's settings, by the start of file names."""
    id_, seed = run
    return {
        Path(stage.record).stem: stage.read(replace(asked, folder=folder)) is not None
        for name, stage in STAGES.items()
        if stage.settings
        for asked in stages.runs(plan, name).get(id_, ())
        if asked.seed == seed
    }


def _put(source: Path, run: Path, names: list[str]) -> None:
    """Copy the files of a run, the one that completes it last."""
    whole = {file.name for file in _files(source)}
    if set(names) == whole:  # not here, or not valid
        shutil.rmtree(run, ignore_errors=True)
    run.mkdir(exist_ok=True)
    for name in sorted(names, key=lambda name: name == "provenance.json"):
        records.write(run / name, (source / name).read_bytes())
