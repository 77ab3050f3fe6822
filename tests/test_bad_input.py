"""What a user can get wrong costs one line, before any training."""

import pytest

from samscope.errors import InputError
from samscope.papers import load_plan
from samscope.spec import Cell

REPORTED = "workflow/papers/geometry_sam/reported/T1.csv"
LINE = "RN18,CIFAR-100,ckpt12,ckpt12,0.2,,test_acc_percent,79.78"


def refuse(project, *words: str, config: dict | None = None) -> None:
    with pytest.raises(InputError) as caught:
        load_plan({**project.config, **(config or {})}, project.folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    for word in words:
        assert word in message


def test_config(project):
    refuse(project, "config.yaml", "profile", "quik", "quick", config={"profile": "quik"})
    refuse(project, "config.yaml", "sedes", "seeds", config={"sedes": 3})
    refuse(project, "config.yaml", "seeds", "0", "from 1", config={"seeds": 0})
    refuse(
        project, "config.yaml", "papers", "nobody", "geometry_sam", config={"papers": ["nobody"]}
    )
    refuse(project, "config.yaml", "tables", "T9", "T1, T2", config={"tables": ["T9"]})
    refuse(project, "partial", "yes", "true or false", config={"partial": "yes"})


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (LINE.replace("ckpt12,0.2", "ckpt21,0.2"), ("line", "ckpt21")),
        (LINE.replace("ckpt12,0.2", "samm,0.2"), ("samm", "ckpt")),
        (LINE.replace("ckpt12,0.2", "sameckpt2,0.2"), ("condition",)),
        (LINE.replace(",0.2,", ",-0.2,"), ("rho", "-0.2", "0")),
        (LINE.replace(",0.2,", ",two,"), ("rho", "two", "a finite number")),
        (LINE.replace("RN18", "RN19"), ("model", "RN19", "RN18")),
        (LINE.replace("CIFAR-100", "CIFAR"), ("data", "CIFAR-100")),
        (LINE.replace("test_acc_percent", "accuracy"), ("metric", "accuracy", "test_loss")),
        (LINE.replace("79.78", "79.7.8"), ("reported", "79.7.8")),
        (LINE + ",,,\n" + LINE.replace("79.78", "79.87"), ("disagrees with line", "79.87")),
    ],
)
def test_reported_rows(project, new, words):
    project.edit(REPORTED, LINE, new)
    refuse(project, "T1.csv", *words)


def test_reported_columns(project):
    project.edit(REPORTED, "metric,reported", "metric,value")
    refuse(project, "T1.csv", "column", "reported (missing)")
    project.edit(REPORTED, "metric,value", "metric,reported,value")
    refuse(project, "T1.csv", "column", "value")


def test_files_of_the_plan(project):
    (project.folder / REPORTED).unlink()
    refuse(project, "T1.csv", "file")
    (project.folder / REPORTED).write_bytes(b"\xff\xfe")
    refuse(project, "T1.csv", "UTF-8")
    (project.folder / "workflow/scales/tiny.yaml").write_text("title: [unclosed")
    refuse(project, "tiny.yaml", "valid YAML")


def test_folders(project):
    (project.folder / "data").write_text("a file")
    refuse(project, "config.yaml: data_dir", "a readable folder")
    (project.folder / "data").unlink()
    (project.folder / "results").mkdir()
    (project.folder / "results/tiny").write_text("a file")
    refuse(project, "results/tiny", "a writable folder")


def test_scale(project):
    project.scale(protocol={"lrr": 0.1})
    refuse(project, "lrr", "weight_decay")
    project.scale(protocol={"lr": -1.0})
    refuse(project, "lr")


def test_a_thinned_row_is_measured_where_another_table_runs_its_cell(project):
    plan = load_plan({**project.config, "tables": ["T1", "T3", "S1"]}, project.folder)
    rows = {(r.column, r.rho): r for r in plan.papers["geometry_sam"].tables["T1"].rows}
    assert rows["ori-SAM", 0.4].cell == "geometry_sam/cnn3-digits/sam/rho=0.4"
    assert rows["ori-SAM", 0.4].seeds == (0, 1, 2)
    assert rows["ckpt12", 0.4].cell is None
    assert (rows["ckpt12", 0.4].reason, rows["ori-SAM", 0.4].reason) == ("a test", "")
    assert rows["ori-SAM", 0.2].seeds == (0, 1, 2)


def test_protocol_values():
    cell = {
        "paper": "p", "model": "cnn3", "data": "digits", "variant": "ckpt12", "rho": 0.2,
        "epochs": 1, "batch_size": 10, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0,
        "drop_last": False, "augment": "none", "label_noise": 0.0, "train_size": None,
        "val_size": 10, "split_seed": 0, "threads": 1, "precision": "float32",
        "compiled": False,
    }  # fmt: skip
    assert Cell.from_dict(cell).id == "p/cnn3-digits/ckpt12/rho=0.2"
    assert Cell.from_dict({**cell, "lr": 1}).digest(0) == Cell.from_dict(
        {**cell, "lr": 1.0}
    ).digest(0)
    assert Cell.from_dict(cell).digest(0) != Cell.from_dict(cell).digest(1)
    bad = {
        "epochs": 0, "batch_size": 2.5, "lr": float("nan"), "momentum": 2.0, "drop_last": 1,
        "augment": "mixup", "label_noise": 1.5, "threads": 0, "precision": "fp8",
        "rho": None, "variant": "ckpt0", "condition": 0.5, "model": "vgg", "data": "mnist",
    }  # fmt: skip
    for field, value in bad.items():
        with pytest.raises(InputError):
            Cell.from_dict({**cell, field: value})
    with pytest.raises(InputError, match="rhoo"):
        Cell.from_dict({**cell, "rhoo": 1})
    del cell["lr"]
    with pytest.raises(InputError, match="lr"):
        Cell.from_dict(cell)


def test_snakemake_and_the_command_say_it_in_one_line(project):
    project.edit("config.yaml", "tiny", "tyni")
    done = project.snakemake("--dry-run")
    assert done.returncode != 0
    assert [x for x in done.stdout.splitlines() if "samscope" in x] == [
        "samscope: config.yaml: profile: tyni is not allowed; "
        "allowed: cpu, paper, quick, short, tiny"
    ]
    assert "Traceback" not in done.stdout
    project.edit("config.yaml", "tyni", "tiny")
    done = project.run("samscope", "train", "geometry_sam/cnn3-digits/sam/rho=0.3")
    assert done.returncode == 2
    assert done.stdout.count("\n") == 1
    assert "rho=0.2" in done.stdout
