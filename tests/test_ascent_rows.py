"""Every ascent as a column of a table or a key of a paper, down to the step that it makes."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from samscope import models
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.seeding import stream
from samscope.train.step import Learner
from small_study import OWN, STUDY, write_study
from tiny_cell import tiny

LEAVES = ("norm", "adaptive", "ascent_steps", "ascent_rule", "direction", "micro_batch",
          "micro_average", "second_order")  # fmt: skip
HEADER = "network,data,method,column,rho,metric,reported,uncertainty,excluded,note,"
OFFICIAL = {
    "variant": "sam", "decay_in_loss": True, "clip": 5.0, "nesterov": True,
    "ascent_epsilon": 0.0, "randomness": "same", "micro_batch": 32,
}  # fmt: skip
METHODS = {"paper text": {"variant": "sam", "micro_batch": 32}, "official code": OFFICIAL,
           "SAM": {"variant": "sam"}}  # fmt: skip
ASCENTS = [
    {},
    {"norm": 1.0},
    {"norm": 1.5},
    {"norm": math.inf},
    {"adaptive": "davda54"},
    {"adaptive": "kwon2021"},
    {"ascent_steps": 2},
    {"ascent_steps": 3, "ascent_rule": "projected"},
    {"direction": "random"},
    {"micro_batch": 1},
    {"micro_batch": 16},
    {"micro_batch": 16, "micro_average": "perturbations"},
    {"second_order": "kept"},
    {"second_order": "observed"},
    {"second_order": "kept", "ascent_steps": 2},
]


def plan(root, rows):
    """The plan of a paper of one table of SAM at rho 0.1, without stand-ins."""
    folder = write_study(root, **OWN)
    about = yaml.safe_load((folder / "paper.yaml").read_text())
    keys = {"network": {"RN18": {"model": "resnet18"}}, "data": {"C10": "cifar10"}}
    about |= {"keys": keys | {"method": METHODS}, "figures": []}
    about["tables"] = {"T1": about["tables"]["T1"]}
    (folder / "paper.yaml").write_text(yaml.safe_dump(about))
    lines = [HEADER + ",".join(LEAVES)]
    for method, ascent in rows:
        values = ",".join(str(ascent.get(leaf, "")) for leaf in LEAVES)
        lines.append(f"RN18,C10,{method},{method},0.1,test_error_percent,3.5,,,,{values}")
    (folder / "reported/T1.csv").write_text("\n".join(lines) + "\n")
    return load_plan({"profile": "tiny", "papers": [STUDY]}, root)


def cells(made):
    """Of the table's rows, in their order."""
    return [row.spec for row in made.papers[STUDY].tables["T1"].rows]


def stepped(cell):
    """The weights after one step of a small network in float64, and what it left."""
    torch.set_num_threads(1)
    small = cell.but(model="cnn3", data="digits", augment="none", train_size=128, batch_size=64)
    taught = Learner(
        models.build("cnn3", 10, 1).double(), 64, "float32", False, torch.device("cpu")
    )
    taught.begin(small, taught.model.state_dict())
    taught.model.train()
    random = torch.Generator().manual_seed(0)
    images = torch.randn(64, 1, 8, 8, generator=random, dtype=torch.float64)
    taught.draw(0, 0)
    row = taught.step((images,), torch.arange(64) % 10)
    assert row.isfinite().all()
    return taught.w


def test_a_column_reaches_the_step(tmp_path):
    found = cells(plan(tmp_path, [("SAM", ascent) for ascent in ASCENTS]))
    assert len({cell.id for cell in found}) == len({cell.digest(0) for cell in found})
    assert len({cell.id for cell in found}) == len(ASCENTS)
    ends = []
    for cell, ascent in zip(found, ASCENTS, strict=True):
        assert {leaf: getattr(cell.method.ascent, leaf) for leaf in ascent} == ascent
        assert all(f"{leaf}=" in cell.id for leaf in ascent)
        ends.append(stepped(cell))
    apart = torch.stack([(a - b).norm() for a in ends for b in ends]).view(len(ends), -1)
    same = {(a, b) for a, b in (apart < 1e-9).nonzero().tolist() if a < b}
    # What is observed alone moves nothing.
    assert same == {(0, ASCENTS.index({"second_order": "observed"}))}


def by_hand(ascent, w, gradient, two, noise):
    """e at rho 0.1 by the formulas as they are printed."""
    scale = {"": torch.ones_like(w), "davda54": w.abs(), "kwon2021": (w.abs() + 0.01).where(two, 1)}
    scale, p, steps = scale[ascent.adaptive], ascent.norm, ascent.ascent_steps
    if ascent.direction == "random":
        return 0.1 * noise / noise.norm()
    e, g = torch.zeros_like(w), gradient(w)
    if p != 2:
        if p == 1:
            return 0.1 * g.sign() * (g.abs() == g.abs().max())
        q = 1 if p == math.inf else p / (p - 1)
        return 0.1 * g.sign() * g.abs() ** (q - 1) / (g.abs() ** q).sum() ** (1 / p)
    for _ in range(steps):
        projected = ascent.ascent_rule == "projected"
        g = gradient(w + e)
        e = e + (0.1 if projected else 0.1 / steps) * scale**2 * g / (scale * g).norm()
        e = e * min(1.0, 0.1 / (e / scale).norm().item()) if projected else e
    return e


@pytest.mark.parametrize("ascent", ASCENTS[:9], ids=str)
def test_the_second_gradient_of_a_cell_is_at_w_and_the_printed_e(ascent):
    """In float64, of a network with batch normalisation, whose statistics are of the first pass."""
    torch.set_num_threads(1)
    cell = tiny(variant="sam", rho=0.1, **ascent)
    model = models.build("cnn3", 10, 1).double()
    taught = Learner(model, 30, "float32", False, torch.device("cpu"))
    taught.begin(cell, model.state_dict())
    plain = copy.deepcopy(model.train())
    images, labels = torch.randn(30, 1, 8, 8, dtype=torch.float64), torch.arange(30) % 10
    parts, w = list(plain.parameters()), taught.w.clone()

    def gradient(w):
        nn.utils.vector_to_parameters(w, parts)
        found = torch.autograd.grad(F.cross_entropy(plain(images), labels), parts)
        return torch.cat([g.flatten() for g in found])

    taught.draw(3, 7)
    taught.step((images,), labels)
    g = gradient(w)
    once = [buffer.clone() for buffer in plain.buffers()]
    noise = torch.randn(len(w), generator=stream(3, "direction", 7)).double()
    two = torch.cat([torch.full((p.numel(),), p.ndim > 1) for p in parts])
    h = gradient(w + by_hand(cell.method.ascent, w, gradient, two, noise))
    torch.testing.assert_close(taught.observer.g, g, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(taught.observer.h, h, rtol=1e-8, atol=1e-11)
    assert (h - g).norm() > 1e-4
    for found, expected in zip(model.buffers(), once, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_official_code_and_the_papers_text_are_two_protocols(tmp_path):
    text, code = cells(plan(tmp_path, [("paper text", {}), ("official code", {})]))
    leaves = code.to_dict()
    assert {k: v for k, v in leaves.items() if v != text.to_dict()[k]} == {
        k: v for k, v in OFFICIAL.items() if k not in METHODS["paper text"]
    }
    assert (stepped(text) - stepped(code)).norm() > 1e-3


@pytest.mark.parametrize(
    ("ascent", "told"),
    [
        ({"norm": 0.5}, "norm: 0.5 is not allowed; allowed: a number >= 1"),
        ({"ascent_steps": 0}, "ascent_steps: 0 is not allowed; allowed: 1 or more"),
        ({"micro_batch": 100}, "micro_batch: 100 is not allowed; allowed: a divisor of the batch"),
        ({"micro_batch": 512}, "micro_batch: 512 is not allowed; allowed: a divisor of the batch"),
        ({"second_order": "full"}, "second_order: full is not allowed; allowed: dropped, kept"),
    ],
)
def test_a_bad_value_is_told_with_its_line(tmp_path, ascent, told):
    with pytest.raises(InputError, match=rf"T1.csv.*{told}"):
        plan(tmp_path, [("SAM", ascent)])
