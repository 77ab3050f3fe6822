"""A cell is five small values; its flat form, its id and its digest."""

import json

import pytest

from samscope import data, models
from samscope.digests import digest
from samscope.errors import InputError
from samscope.spec import SPECS, Cell
from samscope.spec.cell import DEFAULTS, LEAVES
from samscope.spec.leaves import build, flatten, leaves, parsed
from samscope.spec.pretraining import Pretraining
from tiny_cell import tiny

FLAT = tiny().to_dict()


def test_flat_and_back():
    assert Cell.from_dict(json.loads(json.dumps(FLAT))) == tiny()
    assert build(Cell, flatten(tiny()), "here") == tiny()


def test_every_leaf_has_a_name_of_its_own():
    assert len({path for path, _, _ in LEAVES.values()}) == len(LEAVES)
    assert set(FLAT) == set(LEAVES)


def test_an_infinite_leaf_has_a_flat_form():
    cell = tiny().but(norm=float("inf"))
    assert cell.to_dict()["norm"] == "inf"
    assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell


def test_a_leaf_at_its_default_changes_no_digest():
    short = {name: value for name, value in FLAT.items() if value != DEFAULTS.get(name, object())}
    assert len(short) < len(FLAT)
    assert Cell.from_dict(short).digest(0) == tiny().digest(0)


IN_STEPS = ("steps", "report_every", "report_per_decade")


@pytest.mark.parametrize(
    "leaf", sorted(set(LEAVES) - {"task", "split", "train_percent", "start", "pretrain", *IN_STEPS})
)
def test_every_leaf_makes_another_run(leaf):
    other = {
        "model": "cnn5", "variant": "ckpt13", "loss": "squared", "optimizer": "adam",
        "schedule": "constant", "adaptive": "kwon2021", "ascent_rule": "projected",
        "direction": "random", "randomness": "same", "precision": "bf16", "data": "cifar10",
        "augment": "crop_flip_cutout", "condition": 0.5, "train_size": 101,
        "micro_average": "perturbations", "second_order": "kept", "micro_batch": 5,
        "start": "digits",
    }  # fmt: skip
    base = tiny()
    if leaf in leaves(Pretraining):
        base = tiny(pretrain="digits_0_4", pretrain_epochs=1, pretrain_size=60, pretrain_lr=0.1)
    now = base.to_dict()[leaf]
    value = other.get(leaf)
    if value is None:
        value = (
            not now if isinstance(now, bool) else now / 2 + 1 if isinstance(now, float) else now + 1
        )
    changes = {leaf: value}
    if leaf == "condition":
        changes |= {"variant": "sameckpt1"}
    if leaf == "micro_average":
        changes |= {"micro_batch": 5}
    if leaf in ("ire_share", "ire_every"):
        base = tiny(ire_kappa=1.0)
    if leaf == "norm":
        changes[leaf] = 3.0
    if leaf in ("momentum", "smoothing", "beta2", "label_noise", "ire_share"):
        changes[leaf] = 0.25
    assert base.but(**changes).digest(0) != base.digest(0)


def test_what_an_id_shows_is_no_part_of_what_a_cell_means():
    plain, shown = tiny(), tiny().but(shown=("epochs", "lr"))
    assert plain == shown
    assert plain.digest(3) == shown.digest(3)
    assert plain.id == "cnn3-digits/ckpt12/rho=0.2"
    assert shown.id == "cnn3-digits/ckpt12/rho=0.2,epochs=4,lr=0.1"
    with pytest.raises(InputError, match="epoch: shown in ids"):
        tiny().but(shown=("epoch",))


def test_model_and_data_count_by_what_they_are(monkeypatch):
    before = tiny().digest(0)
    facts = data.SOURCES["digits"].facts
    monkeypatch.setitem(facts, "mean", (0.3,))
    assert tiny().but(lr=0.2).digest(0) != tiny().but(lr=0.2).digest(1)
    from samscope.spec.cell import _digest

    _digest.cache_clear()
    assert tiny().digest(0) != before
    monkeypatch.undo()
    _digest.cache_clear()
    assert tiny().digest(0) == before
    family, name, settings, code = models.definition("cnn3")
    assert (family, name, settings) == ("cnn", "CNN", models.MODELS["cnn3"].settings)
    assert code == digest("samscope.models.cnn:CNN")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, ("epochs: 0", "1 to 1000000, or steps in their place")),
        ({"steps": 10}, ("steps: 10", "0, where there are epochs")),
        ({"epochs": 0, "steps": 10, "report_every": 3}, ("report_every: 3", "a divisor of the 10")),
        ({"epochs": 0, "steps": 10}, ("report_every: 0", "a divisor")),
        ({"report_every": 2}, ("report_every: 2", "0, where there are epochs")),
        ({"task": "imagess"}, ("task: imagess", "images")),
        ({"data": "svhn"}, ("data: svhn", "digits")),
        ({"model": "cnn33"}, ("model: cnn33", "cnn3, cnn5", "which take images")),
        ({"loss": "hinge"}, ("loss: hinge", "cross_entropy")),
        ({"augment": "mixup"}, ("augment: mixup", "none, crop_flip_cutout")),
        ({"optimizer": "lion"}, ("optimizer: lion", "sgd")),
        ({"schedule": "cosin"}, ("schedule: cosin", "cosine")),
        ({"adaptive": "kwon"}, ("adaptive: kwon", "davda54")),
        ({"norm": 0.5}, ("norm: 0.5", "1")),
        ({"ascent_steps": 0}, ("ascent_steps: 0",)),
        ({"beta2": 1.0}, ("beta2: 1.0",)),
        ({"smoothing": 1.5}, ("smoothing: 1.5", "less than 1")),
        ({"precision": "fp8"}, ("precision: fp8", "float32, tf32, bf16")),
        ({"rho": None}, ("rho: None",)),
        ({"lr": float("inf")}, ("lr: inf", "a number >= 0")),
        ({"lr": "much"}, ("lr: much", "a finite float")),
        ({"rhoo": 1}, ("rhoo: 1", "the fields")),
    ],
)
def test_a_mistake_is_told_in_one_line(changes, words):
    with pytest.raises(InputError) as caught:
        tiny().but(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_column_of_text_is_a_leaf():
    for name, text, value in (
        ("lr", "0.1", 0.1), ("batch_size", "240", 240), ("norm", "inf", float("inf")),
        ("compiled", "true", True), ("precision", "bf16", "bf16"), ("train_size", "20", 20),
    ):  # fmt: skip
        assert parsed(Cell, name, text, "here") == value
    with pytest.raises(InputError, match=r"here: batch_size: 2\.5"):
        parsed(Cell, "batch_size", "2.5", "here")


def test_specs_are_known_by_stage():
    assert SPECS["train"] is Cell
    assert leaves(Cell) is LEAVES
