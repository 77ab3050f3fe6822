"""What was really trained, in words: stand-ins and shortened protocols are said wherever shown."""

from collections.abc import Iterable, Mapping, Sequence

from samscope.analysis import printed
from samscope.analysis.keys import Keys
from samscope.models import MODELS
from samscope.optim.method import Ascent
from samscope.plan.rows import written
from samscope.plan.types import Paper, Plan, Row
from samscope.spec import Cell, Unmade
from samscope.spec.leaves import leaves

OURS = ("threads", "precision", "compiled")
"""Leaves that no paper prints."""

LEVELS = ("full", "reduced", "stand-in")
"""Of evidence. Full: all as in the paper, but for `OURS` and the deviations that it lists. Reduced:
its data and its family of models, smaller or shorter. Stand-in: other data, or another family."""


UNMADE = "No profile makes any of it."


def level(plan: Plan, paper: str, rows: Iterable[Row]) -> str:
    """The weakest of `LEVELS` that the rows have which a profile runs; "" where it runs none."""
    return _weakest(plan.papers[paper], [row for row in rows if row.cells])


def setting(plan: Plan, paper: str, rows: Iterable[Row]) -> str:
    """Sentences: what the profile trained for these rows, and where it is not the paper's."""
    rows = _made(rows)
    if not rows:
        return UNMADE
    trained, theirs = _names(plan.papers[paper], rows)
    changed = _changed(plan.papers[paper], rows)
    if trained == theirs and not changed:
        own = f"the paper's own models, data and protocol ({trained})"
        return f"Profile {plan.profile}: {own}."
    start = f"Profile {plan.profile} trained "
    if trained == theirs:
        start += f"the paper's {trained} by another protocol"
    else:
        kind = "a stand-in, " if _weakest(plan.papers[paper], rows) == "stand-in" else ""
        start += f"{kind}{trained} in place of {theirs}"
    fields = "; ".join(f"{leaf} {ours} (paper: {theirs})" for leaf, ours, theirs in changed)
    end = "Compare signs and orders, not levels."
    return f"{start}{': ' if fields else ''}{fields}. {end}{_twins(plan.papers[paper], rows)}"


def brief(plan: Plan, paper: str, rows: Iterable[Row]) -> str:
    """The same in a few words, for captions."""
    rows = _made(rows)
    if not rows:
        return UNMADE
    trained, theirs = _names(plan.papers[paper], rows)
    if trained != theirs:
        kind = (
            "in place of" if _weakest(plan.papers[paper], rows) != "stand-in" else "a stand-in for"
        )
        trained = f"{trained}, {kind} {theirs}"
    told = ", ".join(filter(None, (trained, _length(plan.papers[paper], rows))))
    return f"Profile {plan.profile}: {told}.{_twins(plan.papers[paper], rows)}"


def unlike(plan: Plan, paper: str, row: Row) -> str:
    """Why the level of a row's printed number is not compared; "" where it is the paper's own.

    A level is that of a model, a data set and a protocol; what is ours in the protocol (precision,
    compilation, threads) is measured apart.
    """
    trained, theirs = _names(plan.papers[paper], [row])
    if trained != theirs:
        kind = "stands" if _level(plan.papers[paper], row) != "stand-in" else "is a stand-in"
        return f"{trained} {kind} for {theirs}"
    changed = _differences(plan.papers[paper], row)
    return "; ".join(f"{k} {v} in place of {w}" for k, (v, w) in changed.items() if k not in OURS)


def replaced(plan: Plan, paper: str, rows: Iterable[Row]) -> str:
    """Of the departures that rows are labelled with, those with a stand-in; "" where none has."""
    keys = Keys(plan.papers[paper])
    found: dict[str, None] = {}
    for row in rows:
        changed = _differences(plan.papers[paper], row).items()
        labelled = keys.departures(row)
        found |= {f"{k} {v} stands in for {w}": None for k, (v, w) in changed if k in labelled}
    return "; ".join(found)


def thinned(plan: Plan, paper: str, rows: Sequence[Row]) -> dict[str, str]:
    """For every reason why rows of a table are not run, a sentence that names them.

    A column of which none is run is named itself.
    """
    keys = Keys(plan.papers[paper])
    names = keys.apart(rows)
    reasons: dict[str, dict[str, None]] = {}
    run = {row.column for row in rows if row.cell}
    whole = {row.column for row in rows if run} - run
    for row in sorted(rows, key=lambda row: row.column in whole):
        told = row.column if row.column in whole else _named(keys, row, names)
        if row.cell is None and told:
            reasons.setdefault(row.reason, {})[told] = None
    numbers = [name for name in names if name in keys.numbers]
    sentences = {}
    for why, found in reasons.items():
        text = f"Not run at {', '.join(found)}: {why.rstrip('.')}."
        for name in numbers[: len(names) == 1]:
            text = text.replace(f", {name}", ",")
        sentences[why] = text
    return sentences


def _made(rows: Iterable[Row]) -> list[Row]:
    """Those of which a profile can make the number."""
    return [row for row in rows if not isinstance(row.spec, Unmade)]


def _named(keys: Keys, row: Row, names: Sequence[str]) -> str:
    """A row by the columns that tell it apart, numbers with their names."""
    held = {name: keys.label(row, [name]).replace("=", " ") for name in names}
    return " ".join(f"{k} {v}" if k in keys.numbers else v for k, v in held.items() if v)


def _names(paper: Paper, rows: Sequence[Row]) -> tuple[str, str]:
    """The models on data that were trained, and those that the paper has."""
    theirs = dict.fromkeys(_place(paper, row) for row in rows)
    if not any(_stand_ins(paper, row) for row in rows):
        return _on(theirs), _on(theirs)
    return _on(dict.fromkeys((_ours(r, "model"), _ours(r, "data")) for r in rows)), _on(theirs)


def _place(paper: Paper, row: Row) -> tuple[str, str]:
    """What a paper calls a row's model and data; once, where one column gives both."""
    model, data = _printed(paper, row, "model"), _printed(paper, row, "data")
    return model, "" if data == model else data


def _printed(paper: Paper, row: Row, leaf: str) -> str:
    """What a paper calls a row's model or data: the text of the column that gives it."""
    for column, text in row.keys.items():
        entry = paper.about.keys.get(column, {}).get(text)
        if leaf == column or (isinstance(entry, Mapping) and leaf in entry):
            return text
    return str(paper.about.protocol.get(leaf, ""))


def _ours(row: Row, leaf: str) -> str:
    """The model or data of a row as the profile has it."""
    return str(row.spec.to_dict().get(leaf, ""))


def _stand_ins(paper: Paper, row: Row) -> list[str]:
    """Of model and data, those that are not the paper's."""
    theirs = printed.values(paper, row)
    return [leaf for leaf in ("model", "data") if _ours(row, leaf) not in theirs.get(leaf, ("",))]


def _weakest(paper: Paper, rows: Iterable[Row]) -> str:
    found = {_level(paper, row) for row in rows}
    return next((name for name in reversed(LEVELS) if name in found), "")


def _level(paper: Paper, row: Row) -> str:
    other = _stand_ins(paper, row)
    theirs = printed.values(paper, row).get("model", ())
    families = {MODELS[name].family for name in (*theirs, _ours(row, "model")) if name in MODELS}
    if "data" in other or (
        "model" in other and (len(families) > 1 or not set(theirs) <= set(MODELS))
    ):
        return "stand-in"
    changed = [leaf for leaf in _differences(paper, row) if leaf not in OURS]
    return "reduced" if other or changed else "full"


def _twins(paper: Paper, rows: Sequence[Row]) -> str:
    """A sentence where these rows' stand-in is also that of the paper's first model."""
    if not any("model" in _stand_ins(paper, row) for row in rows):
        return ""
    shown = {_printed(paper, row, "model") for row in rows}
    theirs: dict[str, set[str]] = {}
    ours: dict[str, set[str]] = {}
    rows = _made(paper.rows)
    for row in {(_printed(paper, r, "model"), _ours(r, "model")): r for r in rows}.values():
        name = _printed(paper, row, "model")
        theirs.setdefault(name, set()).update(printed.values(paper, row).get("model", ()))
        ours.setdefault(name, set()).add(_ours(row, "model"))
    first = next(iter(ours))
    if first in shown or not any(ours[first] & ours[name] for name in shown):
        return ""
    same = {name for model in shown for name in theirs[model]}
    others = [m for m in ours if ours[m] & ours[first] and not theirs[m] & same]
    if not others:
        return ""
    told = f"The same stand-in also serves {_list(others)}"
    return f" {told}: cells of equal settings are the same runs."


def _on(pairs: Iterable[tuple[str, str]]) -> str:
    """``RN18 and RN34 on CIFAR-100``."""
    places: dict[str, dict[str, None]] = {}
    for model, data in pairs:
        places.setdefault(data, {})[model] = None
    told = {data: _list(list(filter(None, models))) for data, models in places.items()}
    return _list([" on ".join(filter(None, (models, data))) for data, models in told.items()])


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _changed(paper: Paper, rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Leaves that are not the paper's: name, ours, theirs; those of the protocol first.

    Departures that rows are labelled with are told by `replaced`.
    """
    keys = Keys(paper)
    found: dict[tuple[str, str, str], None] = {}
    given = [keys.given(row) | _of_model(paper, row) for row in rows]
    own, theirs = paper.scale.protocol, _defaults(rows) | paper.about.protocol
    for leaf in (*paper.about.protocol, *own):
        differs = leaf in own and own[leaf] != theirs.get(leaf)
        if differs and not (given and all(leaf in leaves_ for leaves_ in given)):
            found[leaf, _shown(written(own[leaf])), _shown(written(theirs.get(leaf)))] = None
    for row, leaves_ in zip(rows, given, strict=True):
        differences = _differences(paper, row).items()
        found |= {(k, v, w): None for k, (v, w) in differences if k in leaves_}
    return list(found)


def _of_model(paper: Paper, row: Row) -> set[str]:
    """Leaves that the profile gives a row's model, as `samscope.config.profile.Scale.models`."""
    theirs = printed.values(paper, row).get("model", ())
    return {leaf for name in theirs for leaf in paper.scale.models.get(name, {})}


def _defaults(rows: Sequence[Row]) -> dict[str, object]:
    """The values that leaves have where nothing gives one."""
    kinds = {type(row.spec) for row in rows} or {Cell}
    return {k: default for kind in kinds for k, (_, _, default) in leaves(kind).items()}


def _differences(paper: Paper, row: Row) -> dict[str, tuple[str, str]]:
    """Of a row, the leaves that are not the paper's, but for model and data: ours and theirs."""
    ours, theirs = row.spec.to_dict(), printed.values(paper, row)
    left_out = {"model", "data", *(leaves(Ascent) if ours.get("rho") is None else ())}
    told = {leaf: written(value) for leaf, value in ours.items() if leaf not in left_out}
    return {
        leaf: (_shown(value), " or ".join(map(_shown, theirs[leaf])))
        for leaf, value in told.items()
        if leaf in theirs and value not in theirs[leaf]
    }


def _length(paper: Paper, rows: Sequence[Row]) -> str:
    """``40 epochs (paper: 200)``; "" of what is not trained."""
    ours: dict[tuple[str, str], None] = {}
    theirs: dict[tuple[str, str], None] = {}
    for row in rows:
        flat, said = row.spec.to_dict(), printed.values(paper, row)
        for unit in ("epochs", "steps"):
            ours |= {(unit, str(flat[unit])): None} if flat.get(unit) else {}
            theirs |= {(unit, value): None for value in said.get(unit, ()) if value != "0"}
    told = _counted(ours)
    if theirs.keys() == ours.keys() or not theirs:
        return told
    same = {unit for unit, _ in ours} == {unit for unit, _ in theirs}
    return f"{told} (paper: {_list([n for _, n in theirs]) if same else _counted(theirs)})"


def _counted(lengths: Iterable[tuple[str, str]]) -> str:
    """``200 and 400 epochs``."""
    units: dict[str, list[str]] = {}
    for unit, count in lengths:
        units.setdefault(unit, []).append(count)
    return _list([f"{_list(counts)} {unit}" for unit, counts in units.items()])


def _shown(text: str) -> str:
    return "all" if text == "None" else text
