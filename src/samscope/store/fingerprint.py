"""Digest of what a module means: its own code and all it imports from this package.

Comments, docstrings and layout do not count, so an edit of those reruns nothing. Cheap rules
(tables, figures, report) carry it as a parameter; training does not, see `samscope.spec.SEMANTICS`.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def fingerprint(module: str) -> str:
    """Hex digest (16 characters) of a module and the modules of samscope it imports, at any depth.

    Of a package, all its modules count, for it may import them by name. Files that are no Python
    but lie in their folders (templates, styles) count as they are.

    Args:
        module: dotted name, such as ``samscope.analysis.tables``.
    """
    seen: dict[str, str] = {}
    path = _path(module)
    siblings = path.parent.glob("*.py") if path and path.stem == "__init__" else ()
    for name in (module, *(f"{module}.{p.stem}" for p in siblings if p.stem != "__init__")):
        _collect(name, seen)
    folders = {path.parent for path in map(_path, seen) if path} - {_PACKAGE}
    for path in {p for folder in folders for p in folder.rglob("*") if p.is_file()}:
        if path.suffix not in (".py", ".pyc"):
            name = path.relative_to(_PACKAGE).as_posix()
            seen[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    text = "\n".join(f"{name} {seen[name]}" for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _collect(module: str, seen: dict[str, str]) -> None:
    path = _path(module)
    if module in seen or path is None:
        return
    seen[module], imports = _reduce(path)
    for name in imports:
        _collect(name, seen)


def _path(module: str) -> Path | None:
    """File of a module of this package; None for anything else."""
    package, *parts = module.split(".")
    if package != _PACKAGE.name:
        return None
    base = _PACKAGE.joinpath(*parts)
    files = (base.with_suffix(".py") if parts else None, base / "__init__.py")
    return next((f for f in files if f and f.is_file()), None)


@cache
def _reduce(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a file's code without its docstrings, and the names it imports."""
    tree = ast.parse(path.read_bytes())
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body.pop(0)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imports)
