"""What a user can get wrong costs one line, before any training."""

import pytest
import torch

from conftest import Project
from samscope.config.profile import read_config
from samscope.config.reading import read_yaml
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.run import cli
from samscope.run.project import open_project
from samscope.spec import Cell

torch.set_num_threads(1)

REPORTED = "workflow/papers/geometry_sam/reported/T1.csv"
LINE = "RN18,CIFAR-100,ckpt12,ckpt12,0.2,,test_acc_percent,79.78"


def refuse(project, *words: str, config: dict | None = None) -> None:
    with pytest.raises(InputError) as caught:
        open_project({**project.config, **(config or {})}, project.folder)
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
    refuse(project, "config.yaml", "tables", "T9", "geometry_sam/T1", config={"tables": ["T9"]})
    refuse(project, "partial", "yes", "true or false", config={"partial": "yes"})


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (LINE.replace("ckpt12,0.2", "ckpt21,0.2"), ("line", "ckpt21")),
        (LINE.replace("ckpt12,0.2", "samm,0.2"), ("samm", "ckpt")),
        (LINE.replace("ckpt12,0.2", "sameckpt2,0.2"), ("condition",)),
        (LINE.replace(",0.2,", ",-0.2,"), ("rho", "-0.2", "0")),
        (LINE.replace(",0.2,", ",two,"), ("rho", "two", "or empty")),
        (LINE.replace("RN18", "RN19"), ("model", "RN19", "RN18")),
        (LINE.replace("CIFAR-100", "CIFAR"), ("data", "CIFAR-100")),
        (
            LINE.replace("test_acc_percent", "accuracy"),
            ("metric", "accuracy", "test_acc_percent, "),
        ),
        (LINE.replace("79.78", "79.7.8"), ("reported", "79.7.8")),
        (LINE.replace("79.78", "179.78"), ("reported", "179.78", "0 to 100")),
        (LINE.replace("79.78", "-1"), ("reported", "-1", "0 to 100")),
        (LINE.replace("test_acc_percent,79.78", "val_loss,-0.1"), ("-0.1", "0 or more")),
        (
            LINE + ",-0.2,,\n" + LINE.replace("test_acc", "val_acc"),
            ("uncertainty", "-0.2", "0 or more"),
        ),
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
    project.edit(REPORTED, ",", ";")
    refuse(project, "T1.csv", "header: model;data;column", "separated by commas: column,metric,")


def test_a_table_as_a_spreadsheet_saves_it(project):
    path = project.folder / REPORTED
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_plan(dict(project.config), project.folder).cells


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [unclosed", "line 2, column 1: did not find expected ',' or ']'"),
        ("a: 1\nb:\n  lr: 1\n  lr: 2\n", "line 4, column 3: the key lr a second time"),
        ("a: 1\n\tb: 2\n", "line 2, column 1: found a tab character that violates indentation"),
        ("a: \x00", "file: unacceptable character #x0000"),
        ("a: 2024-13-45", "file: month must be in 1..12"),
    ],
)
def test_a_mistake_in_yaml_is_placed(tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(tmp_path / "a.yaml")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/a.yaml: {words}")
    assert message.endswith("is not allowed; allowed: valid YAML, each key once")
    assert message.isprintable()


def test_numbers_in_yaml_are_those_of_yaml_1_2(tmp_path):
    text = "lr: 1e-3\nmore: [1E5, -2.5e+3, .5e1, 1.e2]\ntext: [e3, 1e-3x, 1e, '1e-3']\n"
    (tmp_path / "a.yaml").write_text(text)
    assert read_yaml(tmp_path / "a.yaml") == {
        "lr": 0.001, "more": [1e5, -2500.0, 5.0, 100.0], "text": ["e3", "1e-3x", "1e", "1e-3"],
    }  # fmt: skip
    # What a merged key overrides is no second key.
    (tmp_path / "a.yaml").write_text("a: &a {x: 1, y: 1}\nb: {<<: *a, y: 2}\n")
    assert read_yaml(tmp_path / "a.yaml")["b"] == {"x": 1, "y": 2}


def test_a_configuration_that_is_no_json():
    with pytest.raises(InputError, match=r"--config: JSON: .* is not allowed; allowed: valid"):
        read_config("{profile: quick}")


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


WHERE = {"model": "cnn3", "variant": ["sgd", "sam"], "rho": [0.2]}
SHIFTED = {"where": WHERE, "seeds": 1, "shifts": ["noise"]}
SHARP = {"where": WHERE, "seeds": 1, "images": 50, "rho": 0.1, "m": {4: 5}}
TINY = "workflow/papers/geometry_sam/scale/tiny.yaml"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": {"lrr": 0.1}}, [f"{TINY}: protocol: lrr ", "weight_decay"]),
        ({"protocol": {"lr": -1.0}}, [f"{TINY}: protocol: lr: -1.0 ", "0"]),
        ({"protocol": {"epochs": "nine"}}, [f"{TINY}: protocol: epochs: nine ", "a finite int"]),
        ({"stand_ins": {"model": {"resnet19": "cnn3"}}}, [f"{TINY}: stand_ins.model: resnet19 "]),
        ({"stand_ins": {"data": {"cifar100": "digitz"}}}, [f"{TINY}: stand_ins: data: digitz "]),
        ({"stand_ins": {"colour": {}}}, [f"{TINY}: stand_ins: colour ", "model"]),
        ({"tables": {"T11": {"seeds": 1}}}, [f"{TINY}: tables: T11 ", "T1, T2"]),
        ({"tables": {"T3": {"only": {"rho": [0.3]}, "reason": "why"}}},
         [f"{TINY}: tables.T3.only.rho: 0.3 ", "0.1, 0.2, 0.4, 0.6, 0.8"]),
        ({"seeds": 0}, [f"{TINY}: seeds: 0 ", "a whole number from 1"]),
    ],
)  # fmt: skip
def test_scale(project, change, words):
    project.scale(**change)
    refuse(project, *words)


@pytest.mark.parametrize(
    ("stage", "settings", "words"),
    [
        ("colour", {"where": {}}, ["stages: colour ", "curvature, landscape"]),
        ("train", {"where": {}}, ["stages: train ", "curvature, landscape"]),
        ("curvature", {"where": {"variant": ["sgd", "samm"]}}, ["where.variant: samm ", "sam"]),
        ("curvature", {"where": {"rho": 0.25}}, ["stages.curvature.where.rho: 0.25 ", "0.2"]),
        ("curvature", {"where": {"hue": 1}}, ["stages.curvature.where: hue ", "variant"]),
        ("curvature", {"where": 3}, ["stages.curvature.where: 3 ", "a mapping"]),
        ("curvature", {"images": "many"}, ["stages.curvature.images: many ", "whole number"]),
        ("curvature", {"trace_products": 5}, ["stages.curvature.trace_products: 5 ", "even"]),
        ("curvature", {"rho": 0.0}, ["stages.curvature.rho: 0.0 ", "above 0"]),
        ("curvature", {"colour": 1}, ["stages.curvature.colour: an unknown key", "top_n"]),
        ("curvature", {"pooled": {"batches": 2, "images": 20, "backend": "magic"}},
         ["stages.curvature.pooled.backend: magic ", "lanczos, pyhessian"]),
        ("curvature", {"epochs": [1, 1]}, ["stages.curvature.epochs", "each once"]),
        (
            "curvature",
            {"epochs": [1, 2]},
            ["stages.curvature.epochs: 2 ", "1 to 1, before the last"],
        ),
        ("landscape", {"points": 2}, ["stages.landscape.points: 2 ", "from 3"]),
        ("shifts", SHIFTED | {"shifts": ["fog"]}, ["shifts.0: fog ", "pixel, noise, contrast"]),
        ("shifts", SHIFTED | {"epochs": [9]}, ["stages.shifts.epochs: 9 ", "1 to 1, before"]),
        ("m_sharpness", SHARP | {"m": {3: 1}}, ["stages.m_sharpness.m", "(1, 4, 16, 64, 256)"]),
        ("m_sharpness", SHARP | {"m": {4: 7}}, ["m_sharpness.m: 7 ", "divisor of the 50 images"]),
        ("landscape", {"where": {"variant": ["ckptX"]}}, ["where.variant: ckptX ", "sgd"]),
    ],
)  # fmt: skip
def test_settings_of_stages(project, stage, settings, words):
    path = project.folder / TINY
    scale = read_yaml(path)
    scale["stages"][stage] = scale["stages"].get(stage, {}) | settings
    project.write(TINY, scale)
    refuse(project, TINY, *words)


def test_a_setting_of_a_stage_that_is_missing(project):
    scale = read_yaml(project.folder / TINY)
    del scale["stages"]["landscape"]["reach"]
    project.write(TINY, scale)
    refuse(project, TINY, "stages.landscape.reach: (missing)")


def test_a_mistake_in_the_protocol_of_a_paper_is_placed_there(project):
    project.edit("workflow/papers/geometry_sam/paper.yaml", "momentum: 0.9", "momentum: much")
    refuse(project, "geometry_sam/paper.yaml: protocol: momentum: much", "a finite float")


def test_a_thinned_row_is_measured_where_another_table_runs_its_cell(project):
    plan = load_plan({**project.config, "tables": ["T1", "T3", "S1"]}, project.folder)
    rows = {(r.column, r.at("rho")): r for r in plan.papers["geometry_sam"].tables["T1"].rows}
    assert rows["ori-SAM", 0.4].cell == "cnn3-digits/sam/rho=0.4"
    assert rows["ori-SAM", 0.4].seeds == (0, 1, 2)
    assert rows["ckpt12", 0.4].cell is None
    assert (rows["ckpt12", 0.4].reason, rows["ori-SAM", 0.4].reason) == ("a test", "")
    assert rows["ori-SAM", 0.2].seeds == (0, 1, 2)


def test_protocol_values():
    cell = {
        "model": "cnn3", "data": "digits", "variant": "ckpt12", "rho": 0.2,
        "epochs": 1, "batch_size": 10, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0,
        "drop_last": False, "augment": "none", "label_noise": 0.0, "train_size": None,
        "val_size": 10, "split_seed": 0, "threads": 1, "precision": "float32",
        "compiled": False,
    }  # fmt: skip
    assert Cell.from_dict(cell).id == "cnn3-digits/ckpt12/rho=0.2"
    assert Cell.from_dict({**cell, "lr": 1}).digest(0) == Cell.from_dict(
        {**cell, "lr": 1.0}
    ).digest(0)
    assert Cell.from_dict(cell).digest(0) != Cell.from_dict(cell).digest(1)
    bad = {
        "epochs": 0, "batch_size": 2.5, "lr": float("nan"), "momentum": 2.0, "drop_last": 1,
        "augment": "mixup", "label_noise": 1.5, "threads": 0, "precision": "fp8",
        "rho": None, "variant": "ckpt0", "condition": 0.5, "model": "vgg", "data": "svhn",
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
        "allowed: cpu, decide, nudged, paper, quick, short, tiny"
    ]
    assert "Traceback" not in done.stdout
    project.edit("config.yaml", "tyni", "tiny")
    done = project.run("samscope", "train", "cnn3-digits/sam/rho=0.3")
    assert done.returncode == 2
    assert done.stdout.count("\n") == 1
    assert "rho=0.2" in done.stdout


def test_a_folder_with_braces_is_told_in_one_line(tmp_path):
    (tmp_path / "a{b}c").mkdir()
    done = Project(tmp_path / "a{b}c").dry_run()
    assert done.returncode != 0
    (line,) = (x for x in done.stdout.splitlines() if "samscope" in x)
    assert line.startswith("samscope: snakemake: folder: ")
    assert line.endswith("a{b}c is not allowed; allowed: one without braces, which Snakemake takes "
                         "for wildcards")  # fmt: skip
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("claims foo", "claims: paper: foo is not allowed; allowed: geometry_sam"),
        ("spectra foo", "spectra: paper: foo is not allowed; allowed: geometry_sam"),
        ("table foo T1", "table: paper: foo is not allowed; allowed: geometry_sam"),
        ("table geometry_sam T99", "table: table: T99 is not allowed; allowed: T1"),
        ("table geometry_sam", "table: table: (missing) is not allowed; allowed: T1"),
        ("table T1", "table: paper: (missing) is not allowed; allowed: samscope table geometry"),
        ("table T99", "table: paper: T99 is not allowed; allowed: geometry_sam"),
        ("figure foo", "figure: name: foo is not allowed; allowed: geometry_sam/accuracy_vs_rho"),
        ("make foo bar", "foo is not allowed; allowed: train, fit, curve, curvature, landscape"),
        ("measure curvature foo", "foo is not allowed; allowed: one of 2 cells"),
        ("data foo", "data: data: foo is not allowed; allowed: digits"),
        ("data foo --data-dir elsewhere", "data: data: foo is not allowed; allowed: digits"),
        ("plan zzz", "plan: match: zzz is not allowed; allowed: a part of the id of a"),
        ("queue --match zzz", "queue: match: zzz is not allowed; allowed: a part of the id"),
    ],
)  # fmt: skip
def test_what_a_command_is_given_is_told_in_one_line(project, monkeypatch, capsys, command, line):
    monkeypatch.chdir(project.folder)
    assert cli.main(command.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert line in said.err
    assert said.err.startswith("samscope")
    assert said.err.count("\n") == 1


def test_the_name_of_the_program_is_said_once(project, monkeypatch, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert cli.main(["plan"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("samscope: folder: ")
    assert told.count("samscope") == 1
    monkeypatch.chdir(project.folder)
    assert cli.main(["plan", "--profile", "tyni"]) == 2
    assert capsys.readouterr().err.startswith("samscope: config.yaml: profile: tyni")
