"""YAML as the files of the workflow have it: numbers as in YAML 1.2, no key twice."""

import re
from pathlib import Path
from typing import Any

import yaml

from samscope.errors import InputError


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


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: when the file is missing, unreadable, not YAML or not a mapping, or has a key
            twice.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InputError(path, "file", error.strerror, "a readable file") from None
    except (ValueError, yaml.YAMLError) as error:
        field, found = "file", " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            mark = error.problem_mark
            field, found = f"line {mark.line + 1}, column {mark.column + 1}", str(error.problem)
        raise InputError(path, field, found, "valid YAML, each key once") from None
    if not isinstance(value, dict):
        raise InputError(path, "file", type(value).__name__, "a mapping of keys to values")
    return value
