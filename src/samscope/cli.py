"""The command line: the same commands the workflow runs.

Each takes the configuration from ``config.yaml`` in the current folder, or from ``--config``.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from samscope import CONFIGURATION, __version__
from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.papers import Plan


def main(argv: list[str] | None = None) -> int:
    """Run a command; 0 done, 1 failed, 2 a mistake in the input, told in one line."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except InputError as error:
        print(f"samscope: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"samscope: {error.filename or 'file'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samscope", description="What SAM really does, re-run.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    default = os.environ.get(CONFIGURATION, "config.yaml")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:  # noqa: ANN001
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--config", default=default, help="YAML file; config.yaml by default")
        sub.set_defaults(run=run)
        return sub

    plan = command("plan", _plan, "list the grid: cells, their seeds, what is trained")
    plan.add_argument("match", nargs="?", default="", help="only cells whose id contains this")
    data = command("data", _data, "fetch or make a data set, write its manifest")
    data.add_argument("name")
    data.add_argument("--pack", metavar="DIR", help="also write it there in pieces")
    text = "put it together from the pieces in these folders"
    data.add_argument("--from", dest="folders", nargs="+", metavar="DIR", help=text)
    train = command("train", _train, "train the missing seeds of a cell")
    train.add_argument("cell")
    measure = command("measure", _measure, "top Hessian eigenvalues and trace of a cell's weights")
    measure.add_argument("cell")
    table = command("table", _table, "write a table: reported beside measured")
    table.add_argument("paper")
    table.add_argument("table")
    figure = command("figure", _figure, "draw a figure")
    figure.add_argument("name")
    claims = command("claims", _claims, "a verdict for every claim of a paper")
    claims.add_argument("paper")
    report = command("report", _report, "build the report page from what there is")
    report.add_argument("--where", action="store_true", help="only print where it is")
    return parser


def _load(args: argparse.Namespace) -> "Plan":
    from samscope.config import read_config
    from samscope.papers import load_plan

    root = Path()
    if not (root / "workflow" / "papers").is_dir():
        raise InputError("samscope", "folder", os.getcwd(), "the folder of the Snakefile")
    return load_plan(read_config(args.config), root)


def _plan(args: argparse.Namespace) -> None:
    plan = _load(args)
    chosen = {i: p for i, p in plan.cells.items() if args.match in i}
    runs = trained = 0
    for cell_id, planned in sorted(chosen.items()):
        seeds = planned.seeds
        done = [s for s in seeds if (plan.run_dir(cell_id) / f"seed={s}/metrics.json").is_file()]
        runs, trained = runs + len(seeds), trained + len(done)
        print(f"{len(done)}/{len(seeds)}  {cell_id}  {' '.join(planned.tables)}")
    print(f"{plan.profile}: {len(chosen)} cells, {runs} runs, {trained} trained")


def _data(args: argparse.Namespace) -> None:
    from samscope.data import pieces, prepare

    data_dir = Path(_load(args).config["data_dir"])
    if args.folders:
        pieces.unpack(args.name, args.folders, data_dir)
    print(prepare(args.name, data_dir))
    for path in pieces.pack(args.name, data_dir, args.pack) if args.pack else ():
        print(path)


def _train(args: argparse.Namespace) -> None:
    plan = _load(args)
    planned = plan.find(args.cell)
    from samscope.train import train_cell

    data_dir = Path(plan.config["data_dir"])
    train_cell(planned.cell, planned.seeds, plan.run_dir(args.cell), data_dir)


def _measure(args: argparse.Namespace) -> None:
    plan = _load(args)
    planned = plan.find(args.cell)
    from samscope.measure.curvature import measure_cell

    settings = plan.curvature(args.cell)
    seeds = planned.seeds[: settings["seeds"]]
    data_dir = Path(plan.config["data_dir"])
    measure_cell(planned.cell, seeds, plan.run_dir(args.cell), data_dir, settings)


def _table(args: argparse.Namespace) -> None:
    from samscope.analysis import tables

    plan = _load(args)
    if args.paper not in plan.papers:
        raise InputError("samscope table", "paper", args.paper, ", ".join(plan.papers))
    if args.table not in plan.papers[args.paper].tables:
        allowed = ", ".join(plan.papers[args.paper].tables)
        raise InputError("samscope table", "table", args.table, allowed)
    tables.write(plan, args.paper, args.table, plan.results / "tables" / args.paper)


def _figure(args: argparse.Namespace) -> None:
    from samscope.analysis import figures

    figures.write(_load(args), args.name)


def _claims(args: argparse.Namespace) -> None:
    from samscope.analysis import claims

    claims.write(_load(args), args.paper)


def _report(args: argparse.Namespace) -> None:
    plan = _load(args)
    if not args.where:
        from samscope.report.build import build

        build(plan, plan.results / "report")
    print(plan.results / "report" / "index.html")
