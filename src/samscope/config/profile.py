"""What a profile says of a paper, held against the paper: every name in it must be one of its own.

A misspelt name would otherwise thin out a table, or train the full model in place of a stand-in.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from samscope.errors import InputError

Rows = Iterable[tuple[int, Mapping[str, str]]]


def check(where: str, scale: dict[str, Any], meta: dict[str, Any], tables: dict[str, Rows]) -> None:
    """Refuse names of models, data sets, tables, variants and rhos that the paper does not have.

    Args:
        where: the profile's file and the paper, for messages.
        scale: the profile's part for the paper.
        meta: the paper's ``paper.yaml``.
        tables: rows of each of its tables, with the number of their line.

    Raises:
        InputError: for the first of them.
    """
    for field in ("models", "data"):
        _known(f"{where}.{field}", scale[field], meta[field].values())
    _known(f"{where}.tables", scale["tables"], meta["tables"])
    for table, plan in scale["tables"].items():
        for field, chosen in plan.get("only", {}).items():
            _known(f"{where}.tables.{table}.only.{field}", chosen, _values(tables[table], field))
    every = [row for rows in tables.values() for row in rows]
    for field in ("curvature", "landscape"):
        settings = scale.get(field, {"variants": ()})
        rhos = settings["rhos"] if "rhos" in settings else [settings.get("rho", 0.0)]
        _known(f"{where}.{field}.variants", settings["variants"], _values(every, "variant"))
        if settings["variants"]:
            _known(f"{where}.{field}.rho", rhos, _values(every, "rho"))


def sources(paper: str, meta: dict[str, Any], where: str, scale: dict[str, Any]) -> dict[str, str]:
    """Where a field of a cell stands that no row of a table says: the profile, or the paper."""
    found = dict.fromkeys(meta["protocol"], f"{paper}: protocol")
    found |= dict.fromkeys(scale["protocol"], f"{where}.protocol")
    mapped = {"model": "models", "data": "data"}
    return found | {field: f"{where}.{key}" for field, key in mapped.items() if scale[key]}


def _values(rows: Rows, field: str) -> set[str | float]:
    """What stands in a column."""
    found = {row.get(field) for _, row in rows} - {"", None}
    return {float(value) for value in found} if field == "rho" else found


def _known(where: str, names: Iterable[Any], known: Iterable[Any]) -> None:
    allowed = sorted(set(known))
    for name in names:
        if name not in allowed:
            path, _, field = where.partition(": ")
            raise InputError(path, field, name, ", ".join(map(str, allowed)) or "none")
