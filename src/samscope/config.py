"""Reading and checking YAML: unknown keys, wrong types and missing fields stop at the start."""

import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from samscope.errors import InputError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: when the file is missing, unreadable, not YAML or not a mapping.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, "file", error.strerror, "a readable file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(path, "file", str(error), "valid YAML") from None
    if not isinstance(value, dict):
        raise InputError(path, "file", type(value).__name__, "a mapping of keys to values")
    return value


def read_config(source: str) -> dict[str, Any]:
    """The configuration: a path of a YAML file, or the configuration itself as JSON."""
    if source.lstrip().startswith("{"):
        return json.loads(source)
    return read_yaml(Path(source))


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
