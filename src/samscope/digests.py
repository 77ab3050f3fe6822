"""Digest of what a piece of this package means: its code, and the code it names, at any depth.

A function is followed by name: to the definitions of its module that it uses, and to those it
takes from other modules of the package. So an edit counts where it is used and nowhere else.
Comments, docstrings and layout do not count, and neither do the entries of a registry, which is an
assignment annotated ``Registry``: of hundreds of entries a job uses one, and what that one means
reaches the job's digest through the spec that names it.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Registry = dict
"""Annotates a table of entries by name that are no part of the code that reads it."""

_PACKAGE = Path(__file__).parent


@cache
def digest(*entries: str) -> str:
    """Hex digest (16 characters) of entries of this package and all they use.

    Args:
        entries: ``module:name``; ``module`` for all that it defines; or, ending in ``/``, the files
            of a folder that are no Python, such as ``samscope.report.templates/``.

    Raises:
        LookupError: for an entry that is not there.
    """
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.endswith("/"):
            seen |= _files(_PACKAGE.parent.joinpath(*entry[:-1].split(".")))
            continue
        module, _, name = entry.partition(":")
        read = _module(module)
        if read is None or (name and name not in read.definitions):
            raise LookupError(f"{entry}: no such piece of {_PACKAGE.name}")
        for piece in [name] if name else list(read.definitions):
            _collect(read, piece, seen)
    text = "\n".join(f"{name} {seen[name]}" for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Module:
    """A file, read: its definitions by name, its bare statements, where its names come from."""

    name: str
    definitions: dict[str, list[ast.stmt]]
    bare: list[ast.stmt]
    imports: dict[str, str]


def _collect(module: _Module, name: str, seen: dict[str, str]) -> None:
    """Add a definition of a module and what it uses, at any depth."""
    waiting = [(module.name, name)]
    while waiting:
        at = waiting.pop()
        key = ":".join(at)
        if key not in seen:
            seen[key], used = _piece(*at)
            waiting += [*used, (at[0], "")]


@cache
def _piece(module: str, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Hash of a definition, or of a module's bare statements (""), and the pieces it names."""
    read = _module(module)
    if read is None:
        raise LookupError(f"{module}: no such module of {_PACKAGE.name}")
    nodes = read.definitions[name] if name else read.bare
    named = (_meant(read, chain) for chain in _chains(nodes))
    return _hashed(nodes), tuple(dict.fromkeys(filter(None, named)))


def _meant(module: _Module, chain: list[str]) -> tuple[str, str] | None:
    """The piece of this package that a name in a module means, with its attributes; None else."""
    if chain[0] in module.definitions:
        return module.name, chain[0]
    if chain[0] not in module.imports:
        return None
    parts = [*module.imports[chain[0]].split("."), *chain[1:]]
    for length in range(len(parts), 0, -1):
        longest = _module(".".join(parts[:length]))
        if longest is not None:
            return _meant(longest, parts[length:]) if parts[length:] else None
    return None


def _chains(nodes: list[ast.stmt]) -> Iterator[list[str]]:
    """The names that code uses, with the attributes that follow them: ``[a, b]`` of ``a.b``."""
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        attributes: list[str] = []
        at: Any = node
        while isinstance(at, ast.Attribute):
            attributes.insert(0, at.attr)
            at = at.value
        if isinstance(at, ast.Name):
            yield [at.id, *attributes]


@cache
def _module(name: str) -> _Module | None:
    """A module of this package; None for anything else."""
    package, *parts = name.split(".")
    if package != _PACKAGE.name:
        return None
    base = _PACKAGE.joinpath(*parts)
    files = (base.with_suffix(".py") if parts else None, base / "__init__.py")
    path = next((f for f in files if f and f.is_file()), None)
    if path is None:
        return None
    tree = ast.parse(path.read_bytes())
    _strip(tree)
    definitions: dict[str, list[ast.stmt]] = {}
    bare: list[ast.stmt] = []
    imports: dict[str, str] = {}
    # Functions import too, where a library is heavy: one name stands for one thing in a file.
    for node in _holding(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= _imported(node)
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = _defined(node)
        for target in names:
            definitions.setdefault(target, []).append(node)
        if not names:
            bare.append(node)
    return _Module(name, definitions, bare, imports)


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """The dotted name behind each name that an import binds."""
    if isinstance(node, ast.ImportFrom):
        return {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return {
        a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
        for a in node.names
    }


def _strip(tree: ast.Module) -> None:
    """Take out docstrings, the types of functions, and the entries of registries."""
    tree.body = [n for n in tree.body if not _is_for_types(n)]
    for node in _holding(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [n for n in body if not _is_text(n)] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
        if isinstance(node, ast.AnnAssign) and "Registry" in ast.unparse(node.annotation):
            node.value = None


def _holding(tree: ast.AST) -> Iterator[ast.AST]:
    """A tree, its statements and what holds statements; not the expressions, which are most."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            held = getattr(node, name, ())
            waiting += held if isinstance(held, list) else ()


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_for_types(node: ast.AST) -> bool:
    """Whether a statement is there for annotations alone."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _hashed(nodes: list[ast.stmt]) -> str:
    return hashlib.sha256("\n".join(map(_told, nodes)).encode()).hexdigest()


def _told(value: object) -> str:
    """A piece of a syntax tree as text, the same in every version of Python.

    `ast.dump` is not: fields that are empty come and go with the version.
    """
    if isinstance(value, ast.AST):
        parts = [(name, held) for name, held in ast.iter_fields(value) if name not in _LAYOUT]
        told = [f"{name}={_told(held)}" for name, held in parts if held not in (None, [])]
        return f"{type(value).__name__}({', '.join(told)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_told, value))}]"
    return repr(value)


_LAYOUT = ("ctx", "kind", "type_comment", "type_params")


def _files(folder: Path) -> dict[str, str]:
    """Digests of the files below a folder that are no Python."""
    return {
        path.relative_to(_PACKAGE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
