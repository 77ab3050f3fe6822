"""The order of the house: a room imports from rooms named before it, and nothing climbs back."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "samscope"
LOOSE = ("errors", "digests", "seeding", "numerics", "metrics", "losses")
ROOMS = (
    *("data", "models", "optim", "tasks", "spec", "config", "plan", "store", "observe"),
    *("measure", "train", "stages", "analysis", "report", "run"),
)
ORDER = {name: place for place, name in enumerate((*LOOSE, *ROOMS, "__main__"))}


def imports(path: Path, types: bool = False) -> set[str]:
    """The modules of the package that a file imports, wherever in it; not those for types alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            inner = getattr(node, name, None)
            if isinstance(inner, list) and not types:
                kept = [n for n in inner if not _for_types(n)]
                setattr(node, name, kept)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "samscope":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("samscope")}
    return found


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def module(name: str) -> str | None:
    """The module that a dotted name means or lies in; None for the package itself."""
    parts = name.split(".")[1:]
    while parts:
        base = SOURCE.joinpath(*parts)
        if base.with_suffix(".py").exists() or (base / "__init__.py").exists():
            return ".".join(parts)
        parts.pop()
    return None


FILES = {
    ".".join(p.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): p
    for p in sorted(SOURCE.rglob("*.py"))
    if p != SOURCE / "__init__.py"
}


def room(name: str) -> str:
    return name.split(".")[0]


def test_every_file_is_in_a_room():
    assert {room(name) for name in FILES} <= set(ORDER)


@pytest.mark.parametrize("name", FILES)
def test_no_arrow_climbs(name):
    for imported in filter(None, map(module, imports(FILES[name], types=True))):
        assert ORDER[room(imported)] <= ORDER[room(name)], f"{name} imports {imported}"


def test_no_circle_within_a_room():
    arrows = {
        name: {m for m in map(module, imports(path, types=True)) if m and m != name and m in FILES}
        for name, path in FILES.items()
    }
    # A package that hands on what is in it may import it; what is in it names its siblings.
    packages = {name for name in FILES if FILES[name].name == "__init__.py"}
    arrows = {
        a: {b for b in bs if not (a in packages and room(a) == room(b))} for a, bs in arrows.items()
    }
    left = dict(arrows)
    while left:
        free = [name for name, to in left.items() if not to & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]
