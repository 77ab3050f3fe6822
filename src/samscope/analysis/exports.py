"""A table in the paper's layout as Markdown and as LaTeX, with all it takes to read it."""

from samscope.analysis import scope, selection
from samscope.analysis.layout import Entry, Layout, bracketed
from samscope.metrics import METRICS
from samscope.plan.types import Plan, Table

MARKS = {"agrees": "≈", "unclear": "~", "differs": "≠"}
NEW = "*new*: the paper left the cell open (??)."
COMPARED = (
    "≈: the printed number, one run, lies within the 95 % prediction interval for one further run "
    "of ours; ≠: it lies outside after Holm's correction over the table; ~: outside before it only."
)
SPREAD = (
    "≈: the 95 % interval of printed minus measured, by both spreads (Welch), holds 0; ≠: it does "
    "not after Holm's correction over the table; ~: not before it only."
)
GEOMETRIC = "of what differs by factors the geometric mean [95 % t-interval of its logarithm]"
CHOSEN = (
    "Where the paper printed the best of several settings, ours stands for it that has the best "
    "validation (`cell` and `reason` in the CSV)."
)


def markdown(plan: Plan, paper: str, table: str, laid: Layout) -> str:
    """The page of a table: its question, what was trained, the table, its footnotes."""
    source = plan.papers[paper].tables[table]
    marks = {reason: chr(ord("a") + i) for i, reason in enumerate(laid.notes)}
    head = [f"# {table}: {source.about.title}", f"> {source.about.question}"]
    head.append(scope.setting(plan, paper, source.rows))
    head += scope.thinned(plan, paper, source.rows).values()
    lines = [
        f"| {laid.corner} | {' | '.join(laid.columns)} |",
        f"| --- |{' --- |' * len(laid.columns)}",
    ]
    for label, entries in laid.rows.items():
        lines.append(f"| {label} | {' | '.join(_cell(e, marks) for e in entries)} |")
    notes = [f"<sup>{mark}</sup> Not compared: {reason}." for reason, mark in marks.items()]
    legend = " ".join(_legend(source, laid))
    blocks = [*head, "\n".join(lines), legend, *notes, *orders(laid)]
    return "\n\n".join(blocks) + "\n"


def _cell(entry: Entry | None, marks: dict[str, str]) -> str:
    if entry is None:
        return ""
    note = f"<sup>{marks[entry.reason]}</sup>" if entry.status == "excluded" else ""
    printed = f"{entry.printed}{note} /<br>" if entry.printed else ""
    if not entry.measured:
        return f"{printed}not run"
    new = " *new*" if entry.new else ""
    shown = bracketed([_marked(n.agreement, n.measured("best_val")) for n in entry.numbers])
    return f"{printed}**{shown}**, n={entry.seeds}{new}"


def _marked(agreement: str, text: str) -> str:
    return f"{MARKS[agreement]} {text}" if agreement else text


def _legend(table: Table, laid: Layout) -> list[str]:
    """What a cell holds, and what the marks mean where the table has any."""
    what, when = printed(table), selection.when(table.rows[0].spec)
    mean = "mean ± half the 95 % t-interval over n seeds"
    how = ", ".join(filter(None, (mean, GEOMETRIC if laid.factors else "", when))) + "."
    if laid.printed:
        cells = f"In each cell: the printed {what} / the measured {how} {NEW}"
    else:
        cells = f"The paper prints no number. In each cell: the measured {what}, {how}"
    told = {COMPARED: laid.single, SPREAD: laid.spread, CHOSEN: laid.chosen}
    return [cells, *(text for text, holds in told.items() if holds)]


def printed(table: Table) -> str:
    """``test accuracy in percent (and test loss)``: what a table prints."""
    found = {row.metric for row in table.rows}
    first, *others = [_phrase(name) for name in METRICS if name in found]
    return f"{first} (and {', '.join(others)})" if others else first


def _phrase(name: str) -> str:
    return selection.phrase(name) + (" in percent" if METRICS[name].unit == "points" else "")


def orders(laid: Layout) -> list[str]:
    """A sentence on the order of the table's cells, for all metrics with three to compare."""
    known = {METRICS[m].title: laid.ranks["", m] for m in laid.metrics}
    found = [(title, rank) for title, rank in known.items() if rank.tau == rank.tau]
    if not found:
        return []
    (title, first), *others = found
    start = f"Order of the {first.n} cells by {title}, printed against measured: Kendall's tau"
    more = [
        f"by {title} {rank.tau:.2f}" + (f" of {rank.n}" if rank.n != first.n else "")
        for title, rank in others
    ]
    return [f"{'; '.join([f'{start} {first.tau:.2f}', *more])}."]


def latex(plan: Plan, paper: str, table: str, laid: Layout) -> str:
    """A ``table`` for a paper, no wider than its lines; the packages it needs are named first."""
    source = plan.papers[paper].tables[table]
    marks = {reason: chr(ord("a") + i) for i, reason in enumerate(laid.notes)}
    notes = [f"$^{mark}$ Not compared: {_escape(reason)}." for reason, mark in marks.items()]
    legend = _legend(source, laid)
    words = " ".join([f"{table}: {source.about.title}.", *legend]).replace("*new*", "new")
    caption = _escape(" ".join([words, scope.brief(plan, paper, source.rows), *orders(laid)]))
    lines = [
        r"% \usepackage{booktabs,graphicx,xcolor}",
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{' '.join([caption, *notes])}}}",
        rf"\label{{tab:{paper}-{table}}}".replace("_", "-"),
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'l' * len(laid.columns)}}}",
        r"\toprule",
        " & ".join(map(_escape, (laid.corner, *laid.columns))) + r" \\",
        r"\midrule",
    ]
    for label, entries in laid.rows.items():
        lines.append(" & ".join([_escape(label), *(_stack(e, marks) for e in entries)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]) + "\n"


def _stack(entry: Entry | None, marks: dict[str, str]) -> str:
    """The printed number above the measured ones."""
    if entry is None:
        return ""
    note = f"$^{marks[entry.reason]}$" if entry.status == "excluded" else ""
    printed = rf"\textcolor{{gray}}{{{_escape(entry.printed)}}}{note}"
    shown = [_escape(_marked(n.agreement, n.measured("best_val"))) for n in entry.numbers]
    measured = [*shown[:1], *(f"({s})" for s in shown[1:])] if entry.measured else ["not run"]
    if entry.measured:
        measured[-1] += rf", $n={entry.seeds}$" + (" new" if entry.new else "")
    lines = r" \\ ".join([*([printed] if entry.printed else []), *measured])
    return rf"\shortstack[l]{{{lines}}}"


_TEX = {
    **{c: f"\\{c}" for c in "%&#_{}$"},
    **{"\\": r"\textbackslash{}", "~": r"$\sim$", "^": r"\^{}", "<": "$<$", ">": "$>$"},
    **{"±": r"$\pm$", "≈": r"$\approx$", "≠": r"$\neq$", "−": "$-$", "*": "$*$", "τ": r"$\tau$"},
}


def _escape(text: str) -> str:
    """Plain text for LaTeX."""
    return "".join(_TEX.get(c, c) for c in text)
