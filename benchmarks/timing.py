"""Contestants in turn, medians with their spread, and tables that say where they come from."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from samscope.store.provenance import collect

ROUND = 0.1
"""Seconds that short work is repeated for in a round."""

Value = float | int | str | dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """One way of doing a piece of work.

    Attributes:
        run: the work, timed.
        prepare: before every round, not timed.
        count: how often the work is done in a round; 0 for as often as lasts `ROUND`.
    """

    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    count: int = 0


@dataclass(frozen=True)
class Times:
    """Seconds of a contestant's work, one entry a round: on the wall's clock, and of the CPU.

    ``seconds`` are those that are compared: on a GPU the wall's; on a CPU, which other programs
    may share, the process's own.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Table:
    """Rows of one sort of thing: text, numbers, or what `spread` makes."""

    title: str
    rows: list[dict[str, Value]]
    note: str = ""


@dataclass(frozen=True)
class Goal:
    """A number that was set beforehand, and what it came to.

    Attributes:
        text: what is to be how large.
        limit: the number.
        measured: None where it could not be measured.
        at_least: whether larger is better.
        needs: the machine it is meant for.
    """

    text: str
    limit: float
    measured: float | None
    at_least: bool = False
    needs: str = "a GPU"


@dataclass(frozen=True)
class Findings:
    """What a section found."""

    tables: list[Table]
    goals: list[Goal] = field(default_factory=list)


def options(
    about: str, sections: Iterable[str], sizes: Iterable[str], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """What a program of benchmarks is asked to do: ``sections``, ``size``, ``out``, ``commit``."""
    parser = argparse.ArgumentParser(description=about)
    names = list(sections)
    parser.add_argument("--sections", nargs="+", choices=names, default=names)
    parser.add_argument("--size", choices=list(sizes), help="left out, the device decides")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--commit", help="to write down where git cannot tell it")
    return parser.parse_args(arguments)


def interleave(
    contestants: Mapping[str, Contestant], rounds: int, device: torch.device
) -> dict[str, Times]:
    """Time contestants in rounds, all of them in each, so that a busy spell hits all alike.

    Each is warmed up first; every round begins with another.
    """
    counts = {name: _warm_up(contestant, device) for name, contestant in contestants.items()}
    names = list(contestants)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            contestants[name].prepare()
            taken[name].append(clock(contestants[name].run, device, counts[name]))
    times = {}
    for name, pairs in taken.items():
        wall, cpu = zip(*pairs, strict=True)
        times[name] = Times(wall, cpu, wall if device.type == "cuda" else cpu)
    return times


def clock(run: Callable[[], object], device: torch.device, count: int = 1) -> tuple[float, float]:
    """Seconds of a call, of the wall and of this process's CPU; means of ``count`` calls."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        run()
    _wait(device)
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def _warm_up(contestant: Contestant, device: torch.device) -> int:
    """Do the work once; returns how often it is to be done in a round."""
    contestant.prepare()
    contestant.run()
    return contestant.count or max(1, round(ROUND / clock(contestant.run, device)[0]))


def spread(values: Sequence[float], factor: float = 1.0) -> dict[str, Any]:
    """Median, smallest and largest of the rounds' values, each times ``factor``."""
    scaled = [factor * value for value in values]
    return {
        "median": statistics.median(scaled),
        "low": min(scaled),
        "high": max(scaled),
        "rounds": scaled,
    }


def ratio(above: Times, below: Times, factor: float = 1.0) -> dict[str, Any]:
    """`spread` of ``factor * above / below``, round by round."""
    pairs = zip(above.seconds, below.seconds, strict=True)
    return spread([factor * x / y for x, y in pairs])


def machine(device: torch.device) -> dict[str, Value]:
    """What was measured on."""
    about = collect("", torch.get_num_threads())
    found: dict[str, Value] = {"CPU": f"{about['cpu']} with {os.cpu_count()} cores"}
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        found["GPU"] = f"{torch.cuda.get_device_name(device)} with {memory:.0f} GiB"
        found["CUDA"] = str(torch.version.cuda)
        found["cuDNN"] = str(torch.backends.cudnn.version())
    return {**found, "torch": torch.__version__, "Python": about["python"]}


def slug(device: torch.device) -> str:
    """The machine's name as a folder's."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{collect('', 1)['cpu']} {os.cpu_count()} cores"
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "-".join(words)


def keep(
    folder: Path,
    section: str,
    about: dict[str, Value],
    findings: Findings,
    device: torch.device,
) -> None:
    """Put a section into ``engine.json`` and ``engine.md`` of a folder; the others stay.

    Args:
        folder: of the machine.
        section: its name.
        about: what it was measured with: commit, date, seconds, size.
        findings: of the section.
        device: measured on.
    """
    path = folder / "engine.json"
    document = json.loads(path.read_text()) if path.exists() else {"sections": {}}
    document["machine"] = machine(device)
    document["sections"][section] = {**about, **asdict(findings)}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    (folder / "engine.md").write_text(render(document))


def stamp(commit: str | None) -> dict[str, Value]:
    """Commit and time of a measurement.

    Args:
        commit: where git cannot tell it.
    """
    about = collect("", 1)
    told = commit or about["commit"] or "unknown"
    dirty = " with changes" if about["dirty"] else ""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"commit": told[:12] + dirty, "code": about["code_digest"][:12], "date": date}


def render(document: dict[str, Any]) -> str:
    """The document as Markdown: the machine, the goals, then every section's tables."""
    sections = document["sections"]
    lines = ["# The training engine, measured", ""]
    lines += [", ".join(f"{name} {value}" for name, value in document["machine"].items()) + ".", ""]
    lines += [
        "Medians of the rounds, in brackets the smallest and the largest. Contestants of a table "
        "took turns in one process; ratios are taken round by round. Written by `make bench`.",
        "",
    ]
    goals = [goal for section in sections.values() for goal in section["goals"]]
    if goals:
        lines += ["## Goals", "", *_grid([_verdict(goal) for goal in goals]), ""]
    for name, section in sections.items():
        lines += [f"## {name}", ""]
        seconds = f"{section['seconds']:.0f} s"
        lines += [f"Commit {section['commit']}, {section['date']}, took {seconds}.", ""]
        for table in section["tables"]:
            lines += [f"**{table['title']}**", "", *_grid(table["rows"]), ""]
            lines += [table["note"], ""] if table["note"] else []
    return "\n".join(lines).rstrip() + "\n"


def _verdict(goal: dict[str, Any]) -> dict[str, Value]:
    measured, limit = goal["measured"], goal["limit"]
    row = {"goal": goal["text"], "set": f"{'≥' if goal['at_least'] else '≤'} {limit:g}"}
    if measured is None:
        return {**row, "measured": f"not measured (needs {goal['needs']})"}
    met = measured >= limit if goal["at_least"] else measured <= limit
    return {**row, "measured": measured, "": "met" if met else "missed"}


def _grid(rows: list[dict[str, Value]]) -> list[str]:
    """Rows as a Markdown table; a column that a row lacks is empty there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[_shown(row.get(name, "")) for name in columns] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _shown(value: Value) -> str:
    if isinstance(value, dict):
        low, high = _shown(value["low"]), _shown(value["high"])
        return f"{_shown(value['median'])} ({low}–{high})"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
