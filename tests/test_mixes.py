import subprocess
import sys

import pytest

from samscope.errors import InputError
from samscope.optim.mixes import Mix, named_mix

h, g, hg, gh = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)
third, double = (0.3, 0, 0, 0), (0, 2.0, 0, 0)


@pytest.mark.parametrize(
    ("name", "condition", "rows", "rest"),
    [
        ("sgd", None, (g, g, g, g), g),
        ("sam", None, (h, h, h, h), h),
        ("direction", None, (hg, hg, hg, hg), hg),
        ("magnitude", None, (gh, gh, gh, gh), gh),
        ("ckpt1", None, (h, g, g, g), g),
        ("ckpt34", None, (g, g, h, h), g),
        ("ckpt1234", None, (h, h, h, h), g),
        ("ckpt13-magnitude", None, (h, hg, h, hg), g),
        ("sgd-norm", None, (g, g, g, g), g),
        ("sgd-norm-regions", None, (g, g, g, g), g),
        ("sameckpt2", 0.3, (h, third, h, h), h),
        ("sgdckpt1", 2.0, (double, g, g, g), g),
        ("sameckpt234", 0.3, (h, third, third, third), h),
    ],
)
def test_a_name_stands_for_its_table(name, condition, rows, rest):
    mix = named_mix(name, condition)
    assert (mix.name, mix.rows, mix.rest) == (name, rows, rest)
    assert mix.needs_ascent == (name != "sgd")


@pytest.mark.parametrize(
    "name",
    ["", "SAM", "adam", "ckpt", "ckpt21", "ckpt11", "ckpt15", "ckpt12 ", "ckpt1\n", "sam12",
     "ckpt-magnitude", "ckpt-magnitude1", "sameckpt", "sameckpt3-magnitude", None, 3],
)  # fmt: skip
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(InputError) as error:
        named_mix(name)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("mix: variant: ")
    for known in ("sgd", "sam", "ckpt<S>-magnitude", "sameckpt<S>", "direction", "1234"):
        assert known in message


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("sameckpt3", None),
        ("sameckpt3", float("nan")),
        ("sameckpt3", float("inf")),
        ("sameckpt3", "0.1"),
        ("sameckpt3", True),
        ("sam", 0.1),
        ("ckpt1", 0.1),
        ("ckpt1-magnitude", 1.0),
    ],
)
def test_a_condition_belongs_to_sameckpt_alone(name, condition):
    with pytest.raises(InputError, match=rf"^mix {name}: condition: .* is not allowed"):
        named_mix(name, condition)


@pytest.mark.parametrize(
    ("rows", "rest", "field"),
    [
        ([h, h, h], g, "rows"),
        ([h, h, h, h, h], g, "rows"),
        ([h, h, h, (1, 0, 0)], g, "rows"),
        ([h, h, h, (1, 0, 0, float("nan"))], g, "rows"),
        ([h, h, h, "1000"], g, "rows"),
        ("hhhh", g, "rows"),
        (None, g, "rows"),
        ([h, h, h, h], (1, 0), "rest"),
        ([h, h, h, h], None, "rest"),
    ],
)
def test_a_custom_table_is_four_by_four_and_a_rest(rows, rest, field):
    with pytest.raises(InputError, match=f"^mix mine: {field}: .* 4 finite numbers$"):
        Mix("mine", rows, rest)


def test_names_are_checked_without_torch():
    code = (
        "import sys; from samscope.optim import named_mix; from samscope.optim.mixes import Mix;"
        "named_mix('ckpt12'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
