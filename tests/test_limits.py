"""What cannot be run stops the plan, before a data set is fetched or anything trains."""

import pytest

from samscope.errors import InputError
from samscope.run.project import open_project

TINY = "workflow/papers/geometry_sam/scale/tiny.yaml"
POOLED = {"batches": 100, "images": 100, "backend": "lanczos"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": {"val_size": 10**6}}, "protocol: val_size: 1000000"),
        ({"protocol": {"train_size": 5000}}, "protocol: train_size: 5000"),
        ({"protocol": {"train_size": 1500, "val_size": 1000}}, "train_size: 1500 is not allowed"),
        ({"protocol": {"augment": "basic"}}, "augment: basic is not allowed; allowed: none"),
        (
            {"protocol": {"batch_size": 100_000}},
            "batch_size: 100000 is not allowed",
        ),
        (
            {"protocol": {"batch_size": 101}},
            "batch_size: 101 is not allowed; allowed: at most the 100 training samples, which are",
        ),
        ({"stages": {"curvature": {"images": 10**6}}}, "stages.curvature.images: 1000000"),
        ({"stages": {"landscape": {"images": 10**6}}}, "stages.landscape.images: 1000000"),
        ({"stages": {"curvature": {"pooled": POOLED}}}, "pooled.batches * images: 10000"),
        ({"stages": {"curvature": {"top_n": 50}}}, "stages.curvature.top_n: 50"),
        ({"stages": {"landscape": {"seed": 99}}}, "landscape.seed: 99 is not allowed; allowed: a"),
        ({"stages": {"landscape": {"reach": 1e300}}}, "stages.landscape.reach: 1e+300"),
        ({"stages": {"landscape": {"points": 10**9}}}, "stages.landscape.points: 1000000000"),
        ({"seeds": 10**9}, "seeds: 1000000000 is not allowed; allowed: a whole number from 1 to"),
        ({"tables": {"T1": {"seeds": 10**9}}}, "tables.T1.seeds: 1000000000"),
    ],
)
def test_more_than_there_is(project, change, words):
    project.scale(**change)
    with pytest.raises(InputError) as caught:
        open_project(dict(project.config), project.folder)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert TINY in str(caught.value) or "stages.curvature" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rhos: [0.1, 0.2]", "rhos: [0.1, 0.33]", "rhos: where.rho: 0.33 is not allowed"),
        ("rhos: [0.1, 0.2]", "rhos: [0.1, 0.1]", "rhos: [0.1, 0.1] is not allowed; allowed: a"),
        ("    a: ckpt1\n", "    a: ckpt1 lr=0.3\n", "C0.8a a: where.lr: 0.3 is not allowed"),
        ("    a: ckpt1\n", "    a: samckpt9\n", "C0.8a: a: samckpt9 is not allowed"),
        ("    a: ckpt1\n", "    a: sgd\n", "C0.8a: b: sgd is not allowed; allowed: another than a"),
        ("a: {batch_size: 1024, ", "a: {batch_size: 99, ", "C0.11a a: where.batch_size: 99 is"),
    ],
)
def test_a_claim_of_cells_that_no_table_has(project, old, new, words):
    path = project.folder / "workflow/papers/geometry_sam/claims.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        open_project({**project.config, "tables": []}, project.folder)
    assert words in str(caught.value)
    assert "geometry_sam/claims.yaml C" in str(caught.value)
