"""What a claims.yaml may say, and kinds of claims as files: read before anything trains."""

import doctest
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import samscope
from samscope import InputError
from samscope.analysis import claims
from samscope.config import claims as reading
from samscope.config.claims import Claim
from samscope.metrics import of_stage
from small_claims import BIN, GREATER, PERSISTENCE, SETTINGS, SHARE, TREND, claim
from small_study import study


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "shares_trend"}, "kind: shares_trend"),
        ({"kind": ["greater"]}, "kind: ['greater']"),
        ({k: v for k, v in GREATER.items() if k != "rhos"}, "rhos: (missing)"),
        (GREATER | {"colour": "red"}, "colour: an unknown key"),
        (GREATER | {"reported": 60}, "reported: 60"),
        (GREATER | {"asks": "nobody"}, "asks: nobody"),
        (GREATER | {"margins": {"points": 0}}, "margins.points: 0"),
        (GREATER | {"margins": {"ratio": 0.8}}, "margins.ratio: 0.8"),
        (GREATER | {"margins": {"loss": 5}}, "margins.loss: 5"),
        (GREATER | {"margins": {"seconds": 5}}, "margins.seconds: an unknown key"),
        (GREATER | {"direction": "up"}, "direction: up"),
        (GREATER | {"metric": "speed"}, "metric: speed"),
        (GREATER | {"a": "ckpt21"}, "a: ckpt21"),
        (GREATER | {"a": "sameckpt1"}, "a: sameckpt1"),
        (GREATER | {"a": "ckpt1 condition=2"}, "a: ckpt1 condition=2"),
        (GREATER | {"a": "sam condition"}, "a: sam condition"),
        (GREATER | {"a": "sam lr=fast"}, "a: sam lr=fast"),
        (GREATER | {"a": "sam colour=red"}, "a: sam colour=red"),
        (GREATER | {"a": ""}, "a:"),
        (GREATER | {"rhos": ["0.1"]}, "rhos.0: 0.1"),
        (GREATER | {"rhos": [-0.1]}, "rhos.0: -0.1"),
        (GREATER | {"rhos": 0.1}, "rhos: 0.1"),
        (GREATER | {"rhos": []}, "rhos: []"),
        (SHARE | {"region": 5, "at_least": 1}, "region: 5"),
        (SHARE | {"at_least": "60 %"}, "at_least: 60 %"),
        (SHARE, "at_least: (missing)"),
        (SHARE | {"at_least": 60, "at_most": 50}, "at_most: 50"),
        (TREND | {"direction": "does_not_fall"}, "margin: (missing)"),
        (TREND | {"margin": 1}, "margin: 1"),
        (TREND | {"late": "second_third"}, "late: second_third"),
        (PERSISTENCE | {"lag": 6}, "lag: 6"),
        (BIN | {"bin": "1<r<1.25"}, "bin: 1<r<1.25"),
        (BIN | {"among": ["2<r<4", "1<r<1.25"]}, "among.1: 1<r<1.25"),
        (BIN | {"among": ["2<r<4", "4<r<8"]}, "among: ['2<r<4', '4<r<8']"),
        (SETTINGS | {"a": {"batch": 1024}}, "a: batch"),
        (SETTINGS | {"b": None}, "b: None"),
        (GREATER | {"where": {"colour": "red"}}, "where: colour"),
        (GREATER | {"where": {"model": "resnet34"}}, "where.model: resnet34"),
        # The stand-in's name, not the paper's.
        (GREATER | {"where": {"model": "cnn3"}}, "where.model: cnn3"),
        (GREATER | {"where": {"data": "cifar100", "epochs": 3}}, "where.epochs: 3"),
    ],
)
def test_a_malformed_claim_is_named_before_training(tmp_path, fields, message):
    with pytest.raises(InputError) as error:
        claims.check(study(tmp_path, [claim(**fields)]))
    assert str(error.value).startswith(f"geometry_sam/claims.yaml C1: {message} ")


def test_a_variant_s_words_are_its_leaves():
    assert doctest.testmod(reading).failed == 0
    assert reading.variant_leaves("sam norm=inf adaptive=kwon2021") == {
        "variant": "sam", "condition": None, "norm": math.inf, "adaptive": "kwon2021",
    }  # fmt: skip


def test_each_claim_has_an_id_of_its_own(tmp_path):
    with pytest.raises(InputError, match=r"claims.yaml: id: C1 "):
        claims.check(study(tmp_path, [claim(**GREATER)] * 2))
    with pytest.raises(InputError, match=r"claims.yaml: claims.0: C1 "):
        claims.check(study(tmp_path, ["C1"]))


def test_every_kind_is_read_and_compared():
    folder = Path(claims.__file__).parent
    assert set(claims.kinds()) == {file.stem for file in folder.glob("[a-z]*.py")}
    for name, kind in claims.kinds().items():
        assert issubclass(kind.Fields, Claim), name
        assert callable(kind.compare), name
    assert tuple(of_stage("curvature")) == (
        "lambda_max", "scale_free", "leading_ratio", "trace", "lambda_min", "asymmetry",
        "worst_case", "average_case", "filtered_case", "pooled_max", "pooled_mean",
        "batch_asymmetry",
    )  # fmt: skip


def python(script: str, *paths: Path) -> str:
    """What a script prints that imports from these folders first."""
    found = os.pathsep.join(map(str, (*paths, Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": found}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_claims_are_read_without_what_computes():
    heavy = ("torch", "pandas", "numpy", "scipy")
    script = "import sys; from samscope.analysis import claims; claims.kinds()"
    found = python(f"{script}; print([m for m in {heavy} if m in sys.modules])")
    assert found.strip() == "[]"


ABOVE = '''
"""``above``: a variant's metric is above a number."""
from dataclasses import dataclass

from samscope.config.claims import Claim, MetricName, Percent, Variant


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    metric: MetricName
    variant: Variant
    number: Percent


def compare(claim, records):
    from samscope.analysis.effects import compared
    from samscope.analysis.stats import mean_interval

    found = mean_interval(records.values(claim.variant, 0.1, claim.metric) - claim.number)
    return [compared("rho 0.1", found, "points", [found], "no result yet")]
'''
SCRIPT = """
from pathlib import Path
from samscope import InputError
from samscope.analysis import claims, verdicts
from samscope.digests import digest
from small_study import record_all, study

claim = dict(id="C1", quote="q", location="l", test="t", reported="r", kind="above",
             metric="test_acc_percent", variant="sam")
root = Path("ROOT")
plan = study(root, [claim | {"number": 70}])
claims.check(plan)
record_all(plan)
line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
code = claims.code(plan.papers["geometry_sam"])
print(line.verdict, line.effect, code[-1], len(digest(*code)))
try:
    claims.check(study(root, [claim | {"number": 170}]))
except InputError as error:
    print(error)
"""


def test_a_kind_is_one_file(tmp_path):
    shutil.copytree(Path(samscope.__file__).parent, tmp_path / "src/samscope")
    (tmp_path / "src/samscope/analysis/claims/above.py").write_text(ABOVE)
    script = SCRIPT.replace("ROOT", str(tmp_path))
    told, refused = python(script, tmp_path / "src").splitlines()
    # 80, 82 and 84 less 70.
    assert told == "supported 12.0 samscope.analysis.claims.above 16"
    assert refused.startswith("geometry_sam/claims.yaml C1: number: 170 is not allowed")
