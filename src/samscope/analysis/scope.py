"""What was really trained, in words: stand-ins and shortened protocols are said wherever shown."""

from collections.abc import Iterable

from samscope.plan.papers import Plan, Row


def setting(plan: Plan, paper: str, rows: Iterable[Row]) -> str:
    """Sentences: what the profile trained for these rows, and where it is not the paper's."""
    trained, printed, twins = _names(plan, paper, rows)
    changed = _changed(plan, paper)
    if trained == printed and not changed:
        return f"Profile {plan.profile}: the paper's own models, data and protocol ({trained})."
    start = f"Profile {plan.profile} trained "
    if trained == printed:
        start += f"the paper's {trained} by another protocol"
    else:
        start += f"a stand-in, {trained} in place of {printed}"
    fields = "; ".join(f"{name} {ours} (paper: {theirs})" for name, ours, theirs in changed)
    end = "Compare signs and orders, not levels."
    return f"{start}{': ' if fields else ''}{fields}. {end}{twins}"


def brief(plan: Plan, paper: str, rows: Iterable[Row]) -> str:
    """The same in a few words, for captions."""
    trained, printed, twins = _names(plan, paper, rows)
    changed = {name: theirs for name, _, theirs in _changed(plan, paper)}
    length = f"{_protocol(plan, paper)['epochs']} epochs"
    if "epochs" in changed:
        length += f" (paper: {changed['epochs']})"
    if trained != printed:
        trained = f"{trained}, a stand-in for {printed}"
    return f"Profile {plan.profile}: {trained}, {length}.{twins}"


def unlike(plan: Plan, paper: str, row: Row) -> str:
    """Why the level of a row's printed number is not compared; "" where it is the paper's own.

    A level is that of a model, a data set and a protocol; what is ours in the protocol (precision,
    compilation, threads) is measured apart.
    """
    trained, printed, _ = _names(plan, paper, [row])
    if trained != printed:
        return f"{trained} is a stand-in for {printed}"
    changed = [c for c in _changed(plan, paper) if c[0] not in OURS]
    return "; ".join(f"{name} {ours} in place of {theirs}" for name, ours, theirs in changed)


OURS = ("threads", "precision", "compiled")
"""Fields of a protocol that no paper prints."""


def thinned(rows: Iterable[Row]) -> dict[str, str]:
    """For every reason why rows of a table are not run, a sentence that names them."""
    reasons: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.cell is None and (row.settings or row.rho is not None):
            name = row.settings.replace("=", " ") or f"rho {row.rho:g}"
            reasons.setdefault(row.reason, {})[name] = None
    return {
        why: f"Not run at {', '.join(names)}: {why.rstrip('.')}.".replace(", rho", ",")
        for why, names in reasons.items()
    }


def _names(plan: Plan, paper: str, rows: Iterable[Row]) -> tuple[str, str, str]:
    """The models on data that were trained, those printed, and a sentence on shared stand-ins."""
    meta, scale = plan.papers[paper].meta, plan.scale["papers"][paper]
    pairs = list(dict.fromkeys((row.model, row.data) for row in rows))
    ours = {m: scale["models"].get(name, name) for m, name in meta["models"].items()}
    data = {d: scale["data"].get(name, name) for d, name in meta["data"].items()}
    same = all((ours[m], data[d]) == (meta["models"][m], meta["data"][d]) for m, d in pairs)
    printed = _on(pairs)
    if same:
        return printed, printed, ""
    return _on([(ours[m], data[d]) for m, d in pairs]), printed, _twins(ours, {m for m, _ in pairs})


def _twins(ours: dict[str, str], shown: set[str]) -> str:
    """A sentence where these models' stand-in is also that of the paper's first model."""
    first = next(iter(ours))
    if first in shown or ours[first] not in {ours[m] for m in shown}:
        return ""
    others = _list([m for m in ours if ours[m] == ours[first] and m not in shown])
    return f" The same stand-in also serves {others}: cells of equal settings are the same runs."


def _on(pairs: list[tuple[str, str]]) -> str:
    """``RN18 and RN34 on CIFAR-100``."""
    places: dict[str, dict[str, None]] = {}
    for model, data in pairs:
        places.setdefault(data, {})[model] = None
    return _list([f"{_list(list(models))} on {data}" for data, models in places.items()])


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _changed(plan: Plan, paper: str) -> list[tuple[str, str, str]]:
    """Protocol fields that differ from the paper's: name, ours, theirs."""
    theirs = plan.papers[paper].meta["protocol"]
    ours = _protocol(plan, paper)
    return [(k, _show(v), _show(theirs[k])) for k, v in ours.items() if v != theirs[k]]


def _protocol(plan: Plan, paper: str) -> dict:
    return {**plan.papers[paper].meta["protocol"], **plan.scale["papers"][paper]["protocol"]}


def _show(value: object) -> str:
    return "all" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
