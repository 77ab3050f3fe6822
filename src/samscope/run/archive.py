"""The small records of runs in one file, from the machine that made them to another.

A tar.gz, or tar.xz, of ``profile.json`` and ``runs/<cell id>/seed=<n>/<file>``: every file of a run
but weights, states and hidden ones. The same records give the same bytes.
"""

import gzip
import io
import json
import lzma
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from samscope import stages
from samscope.errors import InputError
from samscope.plan.types import Plan
from samscope.spec import Spec
from samscope.stages import STAGES, Run
from samscope.store import records

Named = tuple[str, int]
"""A run by its spec's id and its seed."""

_PROFILE = "profile.json"
_XZ = b"\xfd7zXZ\0"
_MEMBER = re.compile(r"runs/(.+)/seed=(0|[1-9]\d*)/([^/]+)")
_FOLDER = re.compile(r"\.|runs(/.+)?")


def pack(plan: Plan, runs: Iterable[Named], path: Path) -> None:
    """Write the records of finished runs to an archive."""
    contents = {_PROFILE: _profile(plan).encode()}
    for cell, seed in runs:
        for file in _files(_folder(plan, cell, seed)):
            contents[f"runs/{cell}/seed={seed}/{file.name}"] = file.read_bytes()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(contents):
            member = tarfile.TarInfo(name)
            member.size = len(contents[name])
            tar.addfile(member, io.BytesIO(contents[name]))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither format's header may hold a name or a time. That of xz sees what runs have alike.
    pressed = lzma.compress if path.suffix == ".xz" else partial(gzip.compress, mtime=0)
    records.write(path, pressed(packed.getvalue()))


def made(plan: Plan) -> list[Named]:
    """The runs that the plan asks for and whose records are here."""
    return [
        (id_, run.seed)
        for id_, planned in plan.specs.items()
        for stage in (stages.maker(planned.cell),)
        for run in stage.held(stages.runs(plan, stage.name)[id_])
    ]


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
                report(str(error))
        if refused:
            allowed = "runs of this plan that agree with those here; nothing was imported"
            raise InputError(path, "runs", f"{refused} of {len(found)} refused", allowed)
        changed = {run: names for run, names in news.items() if names}
        for cell in dict.fromkeys(cell for cell, _ in changed):
            with records.locked(plan.run_dir(cell), report):
                for run, names in changed.items():
                    if run[0] == cell:
                        _put(found[run], _folder(plan, *run), names)
                gather(plan, cell)
    return len(changed), len(found) - len(changed)


def take(plan: Plan, report: Callable[[str], None]) -> None:
    """Unpack ``results/<profile>.tar.xz``, where nothing of the profile is here yet.

    What the repository holds of a profile comes as it is, as if its files were committed: what is
    of other settings than the plan's is told by its digest, as of any record.

    Raises:
        InputError: for a damaged or foreign archive.
    """
    path, runs = plan.results.with_suffix(".tar.xz"), plan.results / "runs"
    if not path.exists():
        return
    if not runs.exists():
        plan.results.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=plan.results, prefix=".") as folder:
            found = _unpack(plan, path, Path(folder))
            (Path(folder) / "runs").rename(runs)  # all of it or nothing, whatever happens
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


def _folder(plan: Plan, cell: str, seed: int) -> Path:
    return plan.run_dir(cell) / f"seed={seed}"


def _travels(name: str) -> bool:
    """Whether a file of a run is packed."""
    return not name.startswith(("weights", "state", "."))


def _files(run: Path) -> list[Path]:
    return [path for path in sorted(run.iterdir()) if path.is_file() and _travels(path.name)]


def _unpack(plan: Plan, path: Path, folder: Path) -> dict[Named, Path]:
    """Extract an archive, and say where each of its runs is."""
    packed, found = path.read_bytes(), {}
    try:
        # All of it first: tarfile alone never looks at the checksum at gzip's end.
        opened = lzma.decompress if packed.startswith(_XZ) else gzip.decompress
        with tarfile.open(fileobj=io.BytesIO(opened(packed))) as tar:
            for member in tar:
                # A plain `tar` adds the folders, and a ./ before each name.
                name = member.name.removeprefix("./")
                upwards = ".." in name.split("/")
                if member.isdir() and _FOLDER.fullmatch(name) and not upwards:
                    continue
                fits = _MEMBER.fullmatch(name)
                inside = fits and not upwards and _travels(fits[3])
                if not (member.isfile() and (inside or name == _PROFILE)):
                    allowed = f"{_PROFILE} and runs/<cell>/seed=<n>/<small file>"
                    raise InputError(path, "member", member.name, allowed)
                tar.extract(member, folder, filter="data")
                if fits:
                    found[fits[1], int(fits[2])] = (folder / name).parent
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(path, "content", f"damaged ({error})", "a whole archive") from None
    profile = (folder / _PROFILE).read_text() if (folder / _PROFILE).exists() else ""
    if profile != _profile(plan):
        raise InputError(path, _PROFILE, profile, f"{plan.profile}; choose with --profile")
    return found


def _profile(plan: Plan) -> str:
    """What an archive says of itself."""
    return records.to_json({"profile": plan.profile})


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
        elif name == "provenance.json" or mine.read_bytes() == theirs.read_bytes():
            continue
        elif not (ours.get(kind := re.split(r"[-.]", name)[0], True) and brought.get(kind, True)):
            # One of them is of settings that the plan has no more, or not yet.
            news += [name] * brought[kind]
        else:
            allowed = "the same numbers for the same run; delete one of the two"
            raise InputError(where, name, f"other than {mine}", allowed)
    return news


def _checked(plan: Plan, run: Named, source: Path, where: str) -> Run:
    """The planned run of an archive's, which is whole and of the plan's settings."""
    id_, seed = run
    try:
        spec = plan.find(id_).cell
        run_here = stages.made_run(plan, id_, seed)
        _check_spec(source, spec, seed, where)
        if stages.maker(spec).read(replace(run_here, folder=source)) is None:
            raise records.BadRecord("no record")
    except (OSError, ValueError, KeyError, TypeError, records.BadRecord) as error:
        reason = str(error) if isinstance(error, records.BadRecord | InputError) else repr(error)
        raise InputError(where, "record", reason, "a whole run of this plan") from None
    return run_here


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
