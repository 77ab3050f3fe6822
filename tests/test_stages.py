"""Stages: what a plan asks of them, what papers share, and one more, from a table to its number."""

import json
import shutil

import pytest
import yaml

from conftest import Project
from samscope import stages
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.spec import SPECS
from samscope.stages import STAGES
from samscope.store import records

SAM, CKPT12 = "cnn3-digits/sam/rho=0.2", "cnn3-digits/ckpt12/rho=0.2"
STUDY = "workflow/papers/geometry_sam"


def plan_of(project: Project, **config: object):
    return load_plan({**project.config, **config}, project.folder)


def test_every_spec_has_the_stage_that_makes_it():
    makers = {name: stage.spec for name, stage in STAGES.items() if stage.settings is None}
    assert makers == SPECS
    assert [name for name, stage in STAGES.items() if stage.name != name] == []


# What a plan asks for


def test_the_runs_of_a_plan(project):
    plan = plan_of(project)
    trained, measured = stages.runs(plan, "train"), stages.runs(plan, "curvature")
    assert {id_: [run.seed for run in runs] for id_, runs in trained.items()} == {
        id_: list(p.seeds) for id_, p in plan.specs.items()
    }
    # The first seed is measured, at epoch 1, whose weights training keeps of that seed alone.
    assert [(r.seed, r.epochs) for r in measured[SAM]] == [(0, (1,))]
    assert [run.epochs for run in trained[SAM]] == [(1,), ()]
    assert measured[SAM][0].needs == (trained[SAM][0],)
    assert measured[SAM][0].settings["images"] == 40
    assert "seeds" not in measured[SAM][0].settings
    assert "images" not in trained[SAM][0].settings


def test_lines_begin_from_the_first_cell_that_is_named(project):
    # In the grid SAM comes first; in `where` SGD does.
    plan = plan_of(project, tables=["T1", "T2"])
    asked = stages.runs(plan, "landscape")
    assert list(asked) == [SAM, "cnn3-digits/sgd/base"]
    assert asked[SAM][0].reference.spec.id == "cnn3-digits/sgd/base"
    assert asked["cnn3-digits/sgd/base"][0].reference is None
    project.scale(stages={"landscape": {"where": {"variant": ["sam", "sgd"], "rho": 0.2}}})
    asked = stages.runs(plan_of(project, tables=["T1", "T2"]), "landscape")
    assert asked["cnn3-digits/sgd/base"][0].reference.spec.id == SAM
    # A cell that departs from the protocol in something else is none of them.
    varied = [id_ for id_ in plan_of(project, tables=["E4"]).specs if "batch_size" in id_]
    assert varied
    assert not stages.runs(plan_of(project, tables=["E4"]), "landscape").keys() & set(varied)


def test_a_value_may_be_named_as_the_paper_has_it(project):
    ours = stages.runs(plan_of(project), "curvature")
    where = {"model": "resnet18", "variant": ["sam", "ckpt12"]}
    project.scale(stages={"curvature": {"where": where}})
    assert stages.runs(plan_of(project), "curvature").keys() == ours.keys() == {SAM, CKPT12}


def test_settings_that_choose_no_cell_are_refused(project):
    """Else a typing error leaves a figure empty after all has been trained."""
    project.scale(stages={"curvature": {"where": {"variant": "ckpt34", "rho": 0.01}}})
    with pytest.raises(
        InputError, match=r"tiny.yaml: stages.curvature.where: .* a planned cell has"
    ):
        stages.runs(plan_of(project, tables=[]), "curvature")


# Two papers


BOTH = {"papers": ["geometry_sam", "second"], "tables": ["T1", "A"]}


def test_what_two_papers_ask_for_is_made_once(project):
    project.scale(protocol={"epochs": 4}, stages={"curvature": {"epochs": [1, 2]}})
    project.second_paper(epochs=[3], seeds=2)
    plan = plan_of(project, **BOTH)
    assert plan.papers["second"].cells.keys() == {SAM, CKPT12}
    (first, other) = stages.runs(plan, "curvature")[SAM]
    assert (first.epochs, first.settings["epochs"]) == ((1, 2, 3), [1, 2, 3])
    assert (first.seed, other.seed) == (0, 1)
    assert stages.runs(plan, "train")[SAM][0].epochs == (1, 2, 3)


def test_two_papers_that_measure_a_cell_differently_are_refused(project):
    project.second_paper(images=30)
    with pytest.raises(InputError) as caught:
        stages.check(plan_of(project, **BOTH))
    message = str(caught.value)
    assert message.startswith("workflow/papers/second/scale/tiny.yaml: stages.curvature: ")
    assert "images 30, not 40" in message
    assert "what workflow/papers/geometry_sam/scale/tiny.yaml says" in message
    assert "\n" not in message


# What a run is kept for


def test_weights_stay_until_all_that_needs_them_is_made(project, monkeypatch):
    project.write(
        "workflow/scales/tiny.yaml",
        {"title": "tiny", "description": "For a test.", "keep_weights": False},
    )
    plan = plan_of(project, tables=["T1", "T2"])
    trained, made = stages.runs(plan, "train"), set()
    for name in ("curvature", "landscape"):
        is_made = lambda run, name=name: (name, run.spec.id) in made  # noqa: E731
        monkeypatch.setitem(vars(STAGES[name]), "is_made", is_made)

    def left(id_: str, seed: int) -> bool:
        run = trained[id_][seed]
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / records.WEIGHTS).touch()
        stages.release(plan, run)
        return (run.folder / records.WEIGHTS).exists()

    assert not left(SAM, 1)  # nothing is measured of it
    assert left(CKPT12, 0)
    made.add(("curvature", CKPT12))
    assert not left(CKPT12, 0)
    # Of a run with a landscape they stay, and of the one that its line begins from.
    made |= {(name, id_) for name in ("curvature", "landscape") for id_ in trained}
    assert left(SAM, 0)
    assert left("cnn3-digits/sgd/base", 0)


# One more stage: a file for the spec, a file for the stage, an entry each, and a metric

SPEC = '''"""Words that are counted."""

import hashlib
import json
from dataclasses import dataclass

from samscope.spec.leaves import build, flatten


@dataclass(frozen=True)
class Count:
    """A word, and how often it stands there."""

    word: str
    times: int = 1

    @property
    def id(self):
        return f"count/{self.word}/times={self.times}"

    def digest(self, seed):
        return hashlib.sha256(json.dumps([self.to_dict(), seed]).encode()).hexdigest()

    def needs(self, seed):
        return ()

    def to_dict(self):
        return flatten(self)

    @classmethod
    def from_dict(cls, flat, where="count", shown=()):
        return build(cls, flat, where)
'''
STAGE = '''"""Counting: letters of words."""

from dataclasses import dataclass

from samscope.spec.count import Count
from samscope.stages.numbers import of_numbers


@dataclass(frozen=True)
class Counted:
    letters: int
    code: str


def counted(run, bench):
    return {"letters": len(run.spec.word) * run.spec.times + run.seed}


STAGE = of_numbers("count", Count, "count.json", Counted, counted)
'''
ROWS = """word,times,column,metric,reported,uncertainty,excluded,note
sharp,,letters,letters,6,,,
flat,3,letters,letters,13,,,
"""
WORD = "count/sharp/times=1"


@pytest.fixture
def counting(project):
    """A project with a stage that trains nothing, and a table of it."""
    source = project.own_source()
    (source / "spec/count.py").write_text(SPEC)
    (source / "stages/count.py").write_text(STAGE)
    edit = project.edit
    spec = "from samscope.spec.cell import"
    edit("src/samscope/spec/__init__.py", spec, f"from samscope.spec.count import Count\n{spec}")
    edit("src/samscope/spec/__init__.py", '{"train": Cell', '{"count": Count, "train": Cell')
    registry = "src/samscope/stages/registry.py"
    edit(registry, "    curvature,\n", "    count,\n    curvature,\n")
    edit(registry, "*(train.STAGE,", "*(train.STAGE, count.STAGE,")
    old = '    "test_loss":'
    new = f'    "letters": Metric("letters", stage="count", digits=1),\n{old}'
    edit("src/samscope/metrics.py", old, new)
    (project.folder / STUDY / "reported/C.csv").write_text(ROWS)
    about = yaml.safe_load((project.folder / STUDY / "paper.yaml").read_text())
    about["tables"]["C"] = {"title": "Words", "question": "How long?", "stage": "count"}
    project.write(f"{STUDY}/paper.yaml", about)
    project.config |= {"tables": ["C"]}
    project.write("config.yaml", project.config)
    return project


def test_one_more_stage_from_a_row_to_its_number(counting):
    table = "results/tiny/tables/geometry_sam/C.csv"
    assert counting.planned_jobs(table) == {"count": 2, "table": 1}
    done = counting.snakemake(table)
    assert done.returncode == 0, done.stdout
    assert "runs 6/6" in done.stdout.splitlines()[-1]
    cell = counting.folder / "results/tiny/runs" / WORD
    held = json.loads((cell / "count.json").read_text())
    assert [(run["seed"], run["letters"]) for run in held["runs"]] == [(0, 5), (1, 6), (2, 7)]
    lines = (counting.folder / table).read_text().splitlines()
    measured = [dict(zip(lines[0].split(","), x.split(","), strict=True)) for x in lines[1:]]
    assert {(x["word"], float(x["measured"])) for x in measured} == {("sharp", 6), ("flat", 13)}
    # It is built, until its record, its code or its row is another.
    assert counting.planned_jobs(table) == {}
    (cell / "count.json").unlink()
    record = f"results/tiny/runs/{WORD}/count.json"
    assert counting.planned_jobs(record, table) == {"count": 1, "table": 1}
    assert counting.run("samscope", "make", "count", WORD).stdout.count("count kept") == 3
    counting.edit(f"{STUDY}/reported/C.csv", "flat,3", "flat,4")
    jobs = counting.planned_jobs(table)
    assert (jobs["count"], jobs["table"]) == (1, 1)
    counting.edit("src/samscope/stages/count.py", "+ run.seed", "- run.seed")
    assert counting.planned_jobs(table)["count"] == 2
    # The queue and the command line know it as well.
    made = counting.run("samscope", "queue", "--match", "flat/times=4", "--pack", "some.tar.gz")
    assert "tiny: 3 runs made" in made.stdout
    other = (counting.folder / "results/tiny/runs" / WORD).parents[1] / "flat/times=4"
    before = {p.name: p.read_bytes() for p in other.rglob("count.json")}
    shutil.rmtree(other)
    merged = counting.run("samscope", "import", "some.tar.gz").stdout
    assert merged == "some.tar.gz: 3 runs imported, 0 were here already\n"
    assert {p.name: p.read_bytes() for p in other.rglob("count.json")} == before
    listed = counting.run("samscope", "plan", "count").stdout
    assert "3/3  count/flat/times=4  geometry_sam/C" in listed
