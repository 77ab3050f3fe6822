"""Reading and checking YAML: unknown keys, wrong types and missing fields stop at the start."""

import json
import os
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from samscope.errors import InputError


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as it is in YAML 1.2, and no key stands twice."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                problem = f"the key {key.value} a second time"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node


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
        mark = getattr(error, "problem_mark", None)
        field = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        found = error.problem if mark else " ".join(str(error).split())
        raise InputError(path, field, found, "valid YAML, each key once") from None
    if not isinstance(value, dict):
        raise InputError(path, "file", type(value).__name__, "a mapping of keys to values")
    return value


def read_config(source: str) -> dict[str, Any]:
    """The configuration: a path of a YAML file, or the configuration itself as JSON."""
    if source.lstrip().startswith("{"):
        try:
            return json.loads(source)
        except ValueError as error:
            raise InputError("--config", "JSON", str(error), "valid JSON, or a path") from None
    return read_yaml(Path(source))


def check_folder(where: str, field: str, folder: Path, mode: int) -> None:
    """Refuse a folder that cannot be used, or be made where its nearest parent stands."""
    there = next(p for p in (folder, *folder.parents, Path()) if p.exists())
    mode = mode if there == folder else os.W_OK
    if not there.is_dir() or not os.access(there, mode | os.X_OK):
        what = "readable" if mode == os.R_OK else "writable"
        raise InputError(where, field, str(folder), f"a {what} folder; {there} is not")


def check(value: dict[str, Any], schema: str, where: str, workflow: Path) -> None:
    """Check a mapping against ``workflow/schemas/<schema>.yaml``; fill in its defaults.

    On a bare machine, without jsonschema, only the defaults.

    Raises:
        InputError: naming the file, the field, the value and what is allowed.
    """
    rules = read_yaml(workflow / "schemas" / f"{schema}.yaml")
    for key, rule in rules["properties"].items():
        if "default" in rule:
            value.setdefault(key, rule["default"])
    jsonschema = _jsonschema()
    if jsonschema is None:
        return
    errors = jsonschema.Draft202012Validator(rules).iter_errors(value)
    error = jsonschema.exceptions.best_match(errors)
    if error is None:
        return
    field = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(k for k in error.instance if k not in known)
        field = ".".join(filter(None, (field, str(unknown))))
        raise InputError(where, field, "an unknown key", ", ".join(known))
    if error.validator == "required":
        missing = next(k for k in error.validator_value if k not in error.instance)
        raise InputError(
            where, missing, "(missing)", f"the keys {', '.join(error.validator_value)}"
        )
    allowed = error.schema.get("description") or f"{error.validator} {error.validator_value}"
    raise InputError(where, field or schema, error.instance, str(allowed))


@cache
def _jsonschema() -> ModuleType | None:
    """The module; where it is not installed, say so once."""
    try:
        import jsonschema
    except ImportError:
        print("samscope: jsonschema is not installed: YAML files are not checked", file=sys.stderr)
        return None
    return jsonschema
