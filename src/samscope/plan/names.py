"""What a profile says of a paper, held against the paper: every name in it must be one of its own.

A misspelt name would otherwise thin out a table, or train the full model in place of a stand-in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from typing import Any

from samscope.errors import InputError
from samscope.optim.method import Ascent
from samscope.plan.rows import CHOOSE, Naming, written
from samscope.spec import SPECS
from samscope.spec.leaves import digits, leaves

Printed = Mapping[str, Iterable[tuple[int, Mapping[str, str]]]]
"""Rows of each table, with the number of their line."""


def check(naming: Naming, printed: Printed) -> None:
    """Refuse names of leaves, tables and values that the paper does not have.

    Raises:
        InputError: for the first of them, naming the file.
    """
    about, scale, where = naming.about, naming.scale, naming.where
    stages = {table.stage for table in about.tables.values()}
    known = {leaf for stage in stages for leaf in leaves(SPECS[stage])}
    paper = f"{about.name}/paper.yaml"
    for column, values in about.keys.items():
        for text, entry in values.items():
            named = dict(entry) if isinstance(entry, dict) else {column: entry}
            several = named.pop(CHOOSE, {})
            if not isinstance(several, Mapping):
                field = f"keys.{column}.{text}.{CHOOSE}"
                raise InputError(paper, field, several, "leaves with a list of values each")
            named |= several
            _known(paper, f"keys.{column}.{text}", named, known)
    _known(paper, "protocol", about.protocol, known)
    _known(where, "protocol", scale.protocol, known)
    _known(where, "shows", scale.shows, known)
    for leaf, stand_ins in scale.stand_ins.items():
        _known(where, "stand_ins", [leaf], known)
        _known(where, f"stand_ins.{leaf}", stand_ins, _values(naming, printed, leaf))
    _known(where, "models", scale.models, _values(naming, printed, "model"))
    for model, own in scale.models.items():
        _known(where, f"models.{model}", own, known)
        for leaf, stand_ins in own.items():
            several = isinstance(stand_ins, Mapping)
            # A method is the row's: one value for all of them would make them one cell.
            of_row = leaf in ("variant", "condition", *leaves(Ascent))
            if several != of_row and (of_row or leaf in ("model", "data")):
                allowed = "stand-ins by the paper's value" if of_row else "a value"
                raise InputError(where, f"models.{model}.{leaf}", stand_ins, allowed)
            if several:
                theirs = _values(naming, printed, leaf)
                _known(where, f"models.{model}.{leaf}", stand_ins, theirs)
    _known(where, "tables", scale.tables, about.tables)
    for table, thinned in scale.tables.items():
        for leaf, chosen in thinned.only.items():
            field = f"tables.{table}.only"
            _known(where, field, [leaf], known)
            here = {*_values(naming, {table: printed[table]}, leaf), *_ours(naming, leaf)}
            here |= _default(leaf)
            _known(where, f"{field}.{leaf}", map(written, chosen), here)
    for stage, settings in scale.stages.items():
        field, cells = f"stages.{stage}.where", settings.get("where", {})
        # What else a stage may be told is read by the stage.
        for leaf, chosen in cells.items() if isinstance(cells, dict) else ():
            _known(where, field, [leaf], known)
            listed = chosen if isinstance(chosen, list) else [chosen]
            ours = {*_values(naming, printed, leaf), *_ours(naming, leaf), *_default(leaf)}
            _known(where, f"{field}.{leaf}", map(written, listed), ours)


def _values(naming: Naming, printed: Printed, leaf: str) -> set[str]:
    """What a paper's rows, keys or protocol give a leaf, as text."""
    found = {written(naming.about.protocol[leaf])} if leaf in naming.about.protocol else set()
    for values in naming.about.keys.values():
        for entry in values.values():
            if isinstance(entry, dict):
                found |= {written(entry[leaf])} if leaf in entry else set()
                found |= {written(v) for v in entry.get(CHOOSE, {}).get(leaf, [])}
    if leaf in naming.about.keys:
        found |= {written(v) for v in naming.about.keys[leaf].values() if not isinstance(v, dict)}
    else:
        texts = {raw.get(leaf) for rows in printed.values() for _, raw in rows}
        found |= {_plain(text) for text in texts if text}
    return found


def _ours(naming: Naming, leaf: str) -> set[str]:
    """What a profile puts in the place of a paper's values."""
    scale = naming.scale
    own = [of[leaf] for of in (scale.protocol, *scale.models.values()) if leaf in of]
    own = [v for o in own for v in (o.values() if isinstance(o, Mapping) else [o])]
    return {written(v) for v in (*own, *scale.stand_ins.get(leaf, {}).values())}


def _default(leaf: str) -> set[str]:
    """What a leaf is where nothing gives it a value."""
    found = {leaves(kind)[leaf][2] for kind in SPECS.values() if leaf in leaves(kind)}
    return {written(value) for value in found - {MISSING}}


def _plain(text: str) -> str:
    """A printed number without needless digits, ``0.10`` as ``0.1``."""
    try:
        return digits(float(text))
    except ValueError:
        return text


def _known(where: str, field: str, names: Iterable[Any], known: Iterable[str]) -> None:
    allowed = sorted(set(known))
    for name in names:
        if name not in allowed:
            raise InputError(where, field, name, ", ".join(allowed) or "none")
