"""Mutagenicity: 4,337 molecules as graphs, and whether each is mutagenic, in TUDataset's format.

Kazius, McGuire and Bursi 2005 (J. Med. Chem. 48, 312), Riesen and Bunke 2008; as collected by
Morris et al. 2020 (arXiv:2007.08663). Four of its text files count: the bonds (``A``, two nodes a
line, each bond both ways), the graph of each node, its atom, and the class of each graph. The kinds
of the bonds are left out: the networks of the papers do not read them.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from samscope.data.download import bring
from samscope.data.tables import table
from samscope.errors import InputError

URL = "https://www.chrsmrrs.com/graphkerneldatasets/Mutagenicity.zip"

PARTS = ("A", "graph_indicator", "node_labels", "graph_labels")

ATOMS, CLASSES = 14, 2
"""Kinds of atoms, and classes of graphs."""


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The arrays of its text files, in ``<data_dir>/Mutagenicity/`` or ``Mutagenicity.zip`` there.

    Args:
        name: ``mutagenicity``.
        data_dir: the zip is downloaded to it, where neither is there.

    Returns:
        See `graphs`.

    Raises:
        InputError: for a file that is missing or damaged, or a set that cannot be downloaded.
    """
    folder, packed = data_dir / "Mutagenicity", data_dir / "Mutagenicity.zip"
    files = [f"Mutagenicity_{part}.txt" for part in PARTS]
    if not folder.exists():
        if not packed.exists():
            try:
                bring(URL, packed)
            except OSError as error:
                allowed = f"this file, {folder} with {', '.join(files)}, or a network"
                raise InputError(packed, "data set", f"absent, and {error}", allowed) from None
        texts = [_unpacked(packed, file) for file in files]
        return graphs(texts, packed)
    texts = []
    for file in files:
        try:
            texts.append((folder / file).read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(folder / file, "file", str(error), "a file of TUDataset") from None
    return graphs(texts, folder)


def graphs(texts: list[str], where: Path) -> dict[str, np.ndarray]:
    """The arrays that the texts of `PARTS` hold.

    Returns:
        ``atoms`` uint8 [A]: kind of each atom of all graphs; ``graph`` int32 [A]: which graph it is
        in, ascending; ``bonds`` int32 [B, 2]: from and to which atom, ascending, each once, none to
        itself; ``y`` uint8 [G]: class of each graph, the lower label first. All count from 0.

    Raises:
        InputError: for text that is no numbers, or see `check`.
    """
    bonds, graph, atoms, y = (
        _numbers(text, where, part, columns=2 if part == "A" else 1)
        for part, text in zip(PARTS, texts, strict=True)
    )
    strange = (atoms[:, 0] < 0) | (atoms[:, 0] >= ATOMS)
    if strange.any():
        line = int(np.argmax(strange)) + 1
        shown = f"{atoms[line - 1, 0]} in line {line}"
        raise InputError(where, "node labels", shown, f"0 to {ATOMS - 1}")
    classes, of_graph = np.unique(y[:, 0], return_inverse=True)
    if len(classes) != CLASSES:
        raise InputError(where, "graph labels", f"{len(classes)} classes", f"{CLASSES} classes")
    found = {"atoms": atoms[:, 0], "graph": graph[:, 0] - 1, "bonds": bonds - 1, "y": of_graph}
    _check_places(found, where)
    found["bonds"] = np.unique(found["bonds"][bonds[:, 0] != bonds[:, 1]], axis=0)
    check(found, where)
    kinds = {"atoms": np.uint8, "graph": np.int32, "bonds": np.int32, "y": np.uint8}
    return {name: array.astype(kinds[name]) for name, array in found.items()}


def check(arrays: dict[str, np.ndarray], where: Path) -> None:
    """Refuse graphs that are none: see `graphs` for the arrays.

    Raises:
        InputError: naming the first line, atom or bond that does not fit.
    """
    _check_places(arrays, where)
    bonds, size = arrays["bonds"].astype(np.int64), max(len(arrays["graph"]), 1)
    there, back = (bonds[:, a] * size + bonds[:, 1 - a] for a in (0, 1))
    wrong = (np.diff(there, prepend=-1) <= 0) | (there == back)
    allowed = "bonds in ascending order, each once, none of an atom to itself"
    if not wrong.any():
        wrong, allowed = ~np.isin(back, there), "each bond both ways"
    if wrong.any():
        one, other = (int(atom) + 1 for atom in bonds[wrong][0])
        raise InputError(where, "edge", f"{one}, {other}", allowed)


def _check_places(arrays: dict[str, np.ndarray], where: Path) -> None:
    """Refuse what is not one class a graph, one kind a node, and edges within a graph."""
    atoms, graph, bonds, y = (arrays[name] for name in ("atoms", "graph", "bonds", "y"))
    if len(atoms) != len(graph):
        raise InputError(where, "node labels", len(atoms), f"{len(graph)}, one of each node")
    steps = np.diff(graph, prepend=-1)
    if not len(graph):
        raise InputError(where, "graphs", "(none)", "one or more")
    if not ((steps >= 0) & (steps <= 1)).all():
        at = int(np.argmax((steps < 0) | (steps > 1))) + 1
        raise InputError(where, "graph indicator", f"line {at}", "graphs from 1, in order, no gaps")
    if len(y) != graph[-1] + 1:
        raise InputError(where, "graph labels", len(y), f"{graph[-1] + 1}, one of each graph")
    outside = (bonds < 0) | (bonds >= len(graph))
    if outside.any():
        atom = int(bonds[outside][0])
        raise InputError(where, "edge", f"to node {atom + 1}", f"nodes 1 to {len(graph)}")
    apart = graph[bonds[:, 0]] != graph[bonds[:, 1]]
    if apart.any():
        one, other = (int(atom) + 1 for atom in bonds[apart][0])
        raise InputError(where, "edge", f"{one}, {other}", "two nodes of one graph")


def _numbers(text: str, where: Path, part: str, columns: int) -> np.ndarray:
    """Whole numbers, int64 [lines, columns]."""
    allowed = "two whole numbers a line" if columns > 1 else "a whole number a line"
    file = f"{where}: Mutagenicity_{part}.txt"
    return table(text.splitlines, file, columns, np.int64, allowed)


def _unpacked(packed: Path, file: str) -> str:
    """The text of a file of the zip, which has it in a folder."""
    try:
        with zipfile.ZipFile(packed) as held:
            return held.read(f"Mutagenicity/{file}").decode("utf-8-sig")
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        allowed = f"TUDataset's zip, with Mutagenicity/{file}; delete it to download it anew"
        raise InputError(packed, "content", f"damaged ({error})", allowed) from None
