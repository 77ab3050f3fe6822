"""YAML as the files of the workflow have it: numbers as in YAML 1.2, no key twice."""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from samscope.errors import InputError

LARGEST, DEEPEST, MOST = 2**22, 50, 200_000
"""Bytes of a text file, levels of a YAML, and values in it, those that aliases repeat counted."""


class _Loader(yaml.CSafeLoader):
    """YAML in which 1e-3 is a number, as it is in YAML 1.2, and no key stands twice.

    By libyaml, ten times as fast as a reader in Python: every job reads a plan's files.
    """

    def get_single_node(self) -> yaml.Node | None:
        top = super().get_single_node()
        waiting, met = [top], set()
        while waiting:
            node = waiting.pop()
            if isinstance(node, yaml.MappingNode) and node not in met:
                _check_keys(node)
                waiting += [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode) and node not in met:
                waiting += node.value
            met.add(node)
        return top


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if str(key.value) in seen:
            problem = f"the key {key.value} a second time"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        seen.add(str(key.value))


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _may_grow(text: str) -> bool:
    """Whether it may be deep, for which libyaml has no end, or repeat by aliases what repeats."""
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    nested = re.search(rf"(?:[-?] ){{{DEEPEST}}}|^[ ]{{{2 * DEEPEST}}}", text, re.M)
    return deepest > DEEPEST or nested is not None or bool(re.search(r"\*\w", text))


def _check_size(text: str) -> None:
    """Refuse a YAML that is deeper, or comes to more values, than one who wrote it means.

    Raises:
        yaml.MarkedYAMLError: where it does.
    """
    held: dict[str | None, int] = {}
    open_: list[list] = [["", 0]]
    event: Any  # of libyaml or of the reader in Python, which have no type together
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append([event.anchor, 1])
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, count = open_.pop()
            open_[-1][1] += count
            held[anchor] = count
        elif isinstance(event, yaml.AliasEvent):
            # What holds itself has no end, and is not held yet.
            open_[-1][1] += held.get(event.anchor, MOST)
        elif isinstance(event, yaml.ScalarEvent):
            open_[-1][1] += 1
            held[event.anchor] = 1
        deep = len(open_) > DEEPEST
        if deep or open_[-1][1] > MOST:
            problem = f"deeper than {DEEPEST} levels" if deep else f"more than {MOST} values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def text_of(path: Path) -> str:
    """The text of a file of a user's, UTF-8 with or without its mark.

    Raises:
        InputError: for what is no file, or one that is too large to be meant.
        OSError: where it cannot be read; UnicodeDecodeError where it is no UTF-8.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise InputError(path, "file", "no regular file", "a file")
    if about.st_size > LARGEST:
        raise InputError(path, "file", f"{about.st_size} bytes", f"{LARGEST >> 20} MB at most")
    return path.read_text(encoding="utf-8-sig")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: when the file is missing, unreadable, not YAML or not a mapping, or has a key
            twice.
    """
    try:
        text = text_of(path)
        if _may_grow(text):
            _check_size(text)
        value = yaml.load(text, _Loader)
    except OSError as error:
        raise InputError(path, "file", error.strerror, "a readable file") from None
    except InputError:
        raise
    except (ValueError, yaml.YAMLError) as error:
        field, found = "file", " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            mark = error.problem_mark
            field, found = f"line {mark.line + 1}, column {mark.column + 1}", str(error.problem)
        raise InputError(path, field, found, "valid YAML, each key once") from None
    if not isinstance(value, dict):
        raise InputError(path, "file", type(value).__name__, "a mapping of keys to values")
    return value
