"""The command line: the same commands the workflow runs.

Each takes the configuration from ``config.yaml`` in the current folder or from ``--config``, and in
it another profile from ``--profile``.
"""

import argparse
import difflib
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from samscope import CONFIGURATION, __version__, numerics
from samscope.data import SOURCES
from samscope.errors import InputError
from samscope.stages import STAGES, maker, runs

if TYPE_CHECKING:
    from samscope.plan.types import Plan

    _Parsers = argparse._SubParsersAction[argparse.ArgumentParser]


def main(argv: list[str] | None = None) -> int:
    """Run a command; 0 done, 1 failed, 2 a mistake in the input, told in one line.

    A command that a signal stopped returns 128 and the signal's number, as a shell would say.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # one that has no sign for ± or é
    args = _parser().parse_args(argv)
    try:
        numerics.pin()
        args.run(args)
    except InputError as error:
        told = str(error)  # what is wrong with a command begins with its name
        told = "".join(c if c.isprintable() else repr(c)[1:-1] for c in told)
        told = told if told.startswith(("samscope:", "samscope ")) else f"samscope: {told}"
        print(told, file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        name = signal.Signals(number).name
        print(f"samscope: stopped by {name}; the same command goes on", file=sys.stderr)
        return 128 + number
    except OSError as error:
        print(f"samscope: {error.filename or 'file'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samscope", description="What SAM really does, re-run.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    default = os.environ.get(CONFIGURATION, "config.yaml")

    def command(
        name: str,
        run: Callable[[argparse.Namespace], None],
        text: str,
        among: "_Parsers" = commands,
    ) -> argparse.ArgumentParser:
        sub = among.add_parser(name, help=text, description=text)
        sub.add_argument("--config", default=default, help="YAML file; config.yaml by default")
        sub.add_argument("--profile", metavar="NAME", help="in place of the configuration's")
        sub.set_defaults(run=run)
        return sub

    new = commands.add_parser("new", help="begin a paper of your own")
    kinds = new.add_subparsers(required=True, metavar="WHAT")
    paper = kinds.add_parser("paper", help="a folder of workflow/papers that runs as it is")
    paper.add_argument("name")
    paper.set_defaults(run=_new_paper)
    plan = command("plan", _plan, "list the grid: cells, their seeds, what is trained")
    plan.add_argument("match", nargs="?", default="", help="only cells whose id contains this")
    data = command("data", _data, "fetch or make a data set, write its manifest")
    brought = (f"{name}: {source.brought}." for name, source in SOURCES.items() if source.brought)
    data.epilog = " ".join(["In the folder of the data:", *brought, "See docs/data.md."])
    data.add_argument("name", help=", ".join(SOURCES))
    data.add_argument("--pack", metavar="DIR", help="also write it there in pieces")
    text = "put it together from the pieces in these folders"
    data.add_argument("--from", dest="folders", nargs="+", metavar="DIR", help=text)
    text = "where it is or goes, in place of the configuration's"
    data.add_argument("--data-dir", type=Path, metavar="DIR", help=text)
    train = command("train", _make, "make the missing runs of a cell")
    train.add_argument("cell")
    train.set_defaults(stage="")
    make = command("make", _make, "make what a stage lacks of a cell, as the workflow does")
    make.add_argument("stage", help=", ".join(STAGES))
    make.add_argument("cell")
    queue = command("queue", _queue, "make the missing runs, the most important first")
    text = "such as 90s, 9m or 2h; no limit by default"
    queue.add_argument("--budget", metavar="TIME", help=text)
    queue.add_argument("--match", default="", metavar="TEXT", help="only cells whose id has this")
    queue.add_argument(
        "--pack", type=Path, metavar="FILE", help="put the new records into a .tar.gz or .tar.xz"
    )
    packing = command("pack", _pack, "put the records of all runs that are made into an archive")
    packing.add_argument("archive", type=Path, metavar="FILE", help=".tar.gz or .tar.xz")
    merge = command("import", _import, "merge the records that were packed elsewhere")
    merge.add_argument("archive", type=Path, metavar="FILE")
    measure = commands.add_parser("measure", help="measure trained weights")
    kinds = measure.add_subparsers(required=True, metavar="WHAT")
    text = "spectrum, trace and sharpness: of a cell's runs, or of weights of your own"
    curvature = command("curvature", _curvature, text, kinds)
    curvature.add_argument("cell", nargs="?", help="of the profile; none with --weights")
    own = curvature.add_argument_group("weights of your own")
    text = "safetensors, or a torch state dict"
    own.add_argument("--weights", type=Path, metavar="FILE", help=text)
    own.add_argument("--model", metavar="NAME", help="what they are the weights of")
    own.add_argument("--data", metavar="NAME", help="the data set of the loss")
    text = "training images of the sample, 1000 by default"
    own.add_argument("--images", type=int, default=1000, metavar="N", help=text)
    text = "how many eigenvalues, 5 by default"
    own.add_argument("--top", type=int, default=5, metavar="K", help=text)
    text = "radius of the sharpness, 0.05 by default"
    own.add_argument("--rho", type=float, default=0.05, help=text)
    text = "of random vectors, 0 by default"
    own.add_argument("--seed", type=int, default=0, help=text)
    text = "where the data set is or goes, data by default"
    own.add_argument("--data-dir", type=Path, default=Path("data"), metavar="DIR", help=text)
    text = "JSON file; FILE.curvature.json by default"
    own.add_argument("--out", type=Path, metavar="JSON", help=text)
    for name in (n for n, stage in STAGES.items() if stage.settings and n != "curvature"):
        other = command(name, _make, f"{name} of a cell's runs", kinds)
        other.add_argument("cell")
        other.set_defaults(stage=name)
    table = command("table", _table, "write a table: reported beside measured")
    table.add_argument("paper")
    table.add_argument("table", nargs="?")
    figure = command("figure", _figure, "draw a figure")
    text = "as the report names it; paper/name where two papers have one of that name"
    figure.add_argument("name", help=text)
    for name, module, text in (
        ("spectra", "curvature_table", "write the table of curvature: variants beside SGD"),
        ("claims", "verdicts", "a verdict for every claim of a paper"),
    ):
        command(name, partial(_of_paper, name, module), text).add_argument("paper")
    report = command("report", _report, "build the report page from what there is")
    report.add_argument("--where", action="store_true", help="only print where it is")
    report.add_argument("--open", action="store_true", help="show it in the browser")
    return parser


def _load(args: argparse.Namespace, writes: bool = True) -> "Plan":
    from samscope.run.project import opened

    if not Path("workflow/papers").is_dir():
        raise InputError("samscope", "folder", os.getcwd(), "the folder of the Snakefile")
    return opened(args.config, args.profile, writes)


def _computing(args: argparse.Namespace) -> "Plan":
    """The plan, in a process with its profile's numerics: before what computes is imported."""
    plan = _load(args)
    numerics.pin(plan.about.mkl)
    return plan


def _new_paper(args: argparse.Namespace) -> None:
    from samscope.run.project import new_paper

    folder = new_paper(Path("workflow"), args.name)
    print(f"{folder}: edit it; with `papers: [{args.name}]` in config.yaml, `snakemake` runs it")


def _plan(args: argparse.Namespace) -> None:
    from samscope.run.archive import held

    plan = _load(args, writes=False)
    chosen = _matching(plan, "plan", args.match)
    asked = made = 0
    for id_ in sorted(chosen):
        planned = plan.specs[id_]
        of_spec = len(runs(plan, maker(planned.cell).name)[id_])
        done = len(held(plan, id_))
        asked, made = asked + of_spec, made + done
        print(f"{done}/{of_spec}  {id_}  {' '.join(planned.tables)}")
    print(f"{plan.profile}: {len(chosen)} cells, {asked} runs, {made} made")


def _matching(plan: "Plan", command: str, text: str) -> list[str]:
    """Ids of the cells that contain a text; some must, where there is one."""
    chosen = [cell for cell in plan.specs if text in cell]
    if text and not chosen:
        near = ", ".join(difflib.get_close_matches(text, plan.specs, 3, 0))
        allowed = f"a part of the id of a cell, such as {near}; `samscope plan` lists all"
        raise InputError(f"samscope {command}", "match", text, allowed)
    return chosen


def _data(args: argparse.Namespace) -> None:
    from samscope.data import pieces, prepare

    data_dir = args.data_dir or Path(_load(args).config.data_dir)
    if args.folders:
        pieces.unpack(args.name, args.folders, data_dir)
    print(prepare(args.name, data_dir))
    for path in pieces.pack(args.name, data_dir, args.pack) if args.pack else ():
        print(path)


def _make(args: argparse.Namespace) -> None:
    plan = _computing(args)
    from samscope.stages.job import make

    make(plan, args.stage or maker(plan.find(args.cell).cell).name, args.cell)


def _queue(args: argparse.Namespace) -> None:
    plan = _computing(args)
    from samscope.run.queue import run_queue, seconds

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    signal.signal(signal.SIGTERM, interrupt)
    budget = {"budget": seconds(args.budget)} if args.budget else {}
    report = partial(print, flush=True)
    _matching(plan, "queue", args.match)
    run_queue(plan, report, match=args.match, pack=args.pack, **budget)


def _pack(args: argparse.Namespace) -> None:
    from samscope.run.archive import made, pack

    plan = _load(args)
    runs = made(plan)
    held = pack(plan, runs, args.archive)
    beside = f", beside {held - len(runs)} that it held" if held > len(runs) else ""
    print(f"{args.archive}: {len(runs)} runs packed{beside}")


def _import(args: argparse.Namespace) -> None:
    from samscope.run.archive import merge

    new, old = merge(_load(args), args.archive, partial(print, file=sys.stderr))
    print(f"{args.archive}: {new} runs imported, {old} were here already")


def _curvature(args: argparse.Namespace) -> None:
    own = (args.weights, args.model, args.data)
    if args.cell is None and all(own):
        from samscope.stages.own_weights import measure_file

        measure_file(args)
        return
    if args.cell is None or any(own):
        found = " ".join(f"--{k}" for k in ("weights", "model", "data") if getattr(args, k))
        found = " ".join(filter(None, (args.cell, found))) or "nothing"
        allowed = "a cell, or --weights FILE --model NAME --data NAME"
        raise InputError("samscope measure curvature", "arguments", found, allowed)
    args.stage = "curvature"
    _make(args)


def _table(args: argparse.Namespace) -> None:
    from samscope.analysis import tables

    plan = _load(args)
    if args.table is None:
        holding = [name for name, paper in plan.papers.items() if args.paper in paper.tables]
        if holding:
            allowed = f"samscope table {holding[0]} {args.paper}"
            raise InputError("samscope table", "paper", "(missing)", allowed)
    _check_paper(plan, "table", args.paper)
    if args.table not in plan.papers[args.paper].tables:
        allowed = ", ".join(plan.papers[args.paper].tables)
        raise InputError("samscope table", "table", args.table or "(missing)", allowed)
    tables.write(plan, args.paper, args.table, plan.results / "tables" / args.paper)


def _check_paper(plan: "Plan", command: str, name: str) -> None:
    if name not in plan.papers:
        raise InputError(f"samscope {command}", "paper", name, ", ".join(plan.papers))


def _figure(args: argparse.Namespace) -> None:
    from samscope.analysis import figures

    plan = _load(args)
    known = [f"{paper}/{name}" for paper, name in figures.planned(plan)]
    found = [one for one in known if args.name in (one, one.partition("/")[2])]
    if len(found) != 1:
        allowed = ", ".join(found or known)
        raise InputError("samscope figure", "name", args.name, allowed)
    figures.write(plan, *found[0].split("/"))


def _of_paper(command: str, module: str, args: argparse.Namespace) -> None:
    plan = _load(args)
    _check_paper(plan, command, args.paper)
    importlib.import_module(f"samscope.analysis.{module}").write(plan, args.paper)


def _report(args: argparse.Namespace) -> None:
    plan = _load(args, writes=not args.where)
    if not args.where:
        from samscope.report.build import build

        build(plan, plan.results / "report")
    page = plan.results / "report" / "index.html"
    print(page)
    if args.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
