"""What ``paper.yaml`` says: where a paper is from, its protocol, keys, tables and figures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from samscope.config.reading import read_yaml
from samscope.config.typed import Count, Text, read
from samscope.errors import InputError

Spread = Literal["", "sd", "se", "ci95"]
"""What stands behind a printed ±: standard deviation, standard error, half of a 95 % interval."""

SPREADS: tuple[Spread, ...] = get_args(Spread)


@dataclass(frozen=True)
class TableEntry:
    """A table of a paper.

    Attributes:
        title: as shown.
        question: what it is to answer.
        stage: whose specs its rows name.
        spread: kind of its printed uncertainties, where not the paper's.
        runs: behind each printed number, where not the paper's.
    """

    title: Text
    question: Text
    stage: str = "train"
    spread: Spread | None = None
    runs: Count | None = None


@dataclass(frozen=True)
class AnswerEntry:
    """A question that a reader brings, and what is said to it first.

    Attributes:
        question: in plain words.
        claims: ids of those that answer it, in the order they are read in.
    """

    question: Text
    claims: tuple[str, ...]


@dataclass(frozen=True)
class FigureEntry:
    """A figure of a paper: a kind, and what it is drawn of.

    Attributes:
        draw: kind of the figure, a file of `samscope.analysis.figures`.
        title: in place of the kind's.
        name: of its files, where a kind is drawn twice.
        front: whether it stands beside the verdicts.
        claims: whose verdicts are told above it: what it lets a reader see.
        tables: whose rows it shows; the paper's where there are none.
        where: leaves of the cells it shows, as the paper has them.
        arguments: others that its kind knows.
    """

    draw: Text
    title: str = ""
    name: str = ""
    front: bool = False
    claims: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    where: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of its files."""
        return self.name or self.draw


@dataclass(frozen=True)
class PaperFile:
    """``paper.yaml``.

    Attributes:
        name: of its folder.
        title: of the paper; ``authors``, ``year``, ``url``, ``citation`` likewise.
        authors: as cited.
        year: of it.
        url: where it is.
        citation: as a reader would cite it.
        protocol: leaves of its cells that no row says.
        keys: by column of its tables, printed value: the leaves it stands for. A column named as a
            leaf needs none: it holds that leaf. ``choose`` among them lists values of one leaf of
            which the better run is what was printed.
        tables: by id, in order.
        figures: in order.
        words: what a reader must know to read the answers.
        answers: what the page says first.
        spread: kind of the uncertainties it prints.
        runs: behind each number it prints.
        commit: of what was read.
        license: of what was read.
        deviations: where this pipeline differs from it.
    """

    name: Text
    title: Text
    authors: Text
    year: int
    url: Text
    citation: Text
    protocol: dict[str, Any]
    tables: dict[str, TableEntry]
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: tuple[FigureEntry, ...] = ()
    words: str = ""
    answers: tuple[AnswerEntry, ...] = ()
    spread: Spread = ""
    runs: Count = 1
    commit: str = ""
    license: str = ""
    deviations: tuple[str, ...] = ()


def read_paper(folder: Path) -> PaperFile:
    """What a paper's folder says of it.

    Raises:
        InputError: naming file, field and value.
    """
    where = f"{folder.name}/paper.yaml"
    paper = read(PaperFile, read_yaml(folder / "paper.yaml"), where)
    if paper.name != folder.name:
        raise InputError(where, "name", paper.name, f"that of its folder, {folder.name}")
    for figure in paper.figures:
        for table in figure.tables:
            if table not in paper.tables:
                at = f"figures {figure.id} tables"
                raise InputError(where, at, table, ", ".join(paper.tables))
    return paper
