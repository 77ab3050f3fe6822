"""What docstrings show of a call is what it returns."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src"
SHOWN = [path for path in sorted(ROOT.rglob("*.py")) if ">>> " in path.read_text()]
"""Files with an example."""


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.stem)
def test_the_examples_of(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed
