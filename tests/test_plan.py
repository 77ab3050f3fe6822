"""From rows to the grid: keys, stand-ins, choices, papers that share cells or clash."""

import copy

import pytest
import yaml

from samscope.config import profile
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.plan.order import ordered
from small_study import write_study

PAPER = {
    "name": "one", "title": "A study", "authors": "A. Author", "year": 2024,
    "url": "https://example.org", "citation": "A. Author, A study.",
    "spread": "ci95", "runs": 5,
    "protocol": {
        "batch_size": 128, "drop_last": False, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.001,
        "augment": "crop_flip_cutout", "label_noise": 0.0, "train_size": None, "val_size": 5000,
        "split_seed": 42, "threads": 1, "precision": "float32", "compiled": False,
    },
    "keys": {
        "network": {"RN18 (200)": {"model": "resnet18", "epochs": 200},
                    "RN18 (400)": {"model": "resnet18", "epochs": 400}},
        "set": {"CIFAR-100": {"data": "cifar100"}},
        "optimizer_": {"SAM": {"variant": "sam"},
                       "SGD": {"variant": "sgd", "choose": {"epochs": [200, 400]}}},
    },
    "tables": {"T1": {"title": "One", "question": "Is it?"}},
}  # fmt: skip
HEADER = "network,set,optimizer_,rho,column,metric,reported,uncertainty,excluded,note\n"
ROWS = (
    "RN18 (200),CIFAR-100,SAM,0.1,SAM,test_error_percent,20.5,0.3,,\n"
    "RN18 (400),CIFAR-100,SAM,0.1,SAM,test_error_percent,20.1,,,\n"
    "RN18 (200),CIFAR-100,SGD,,SGD,test_error_percent,21.5,0.2,,\n"
)
SCALE = {"seeds": 2}


def write(root, name="one", paper=PAPER, rows=ROWS, header=HEADER, scale=SCALE, profile="tiny"):
    folder = root / "workflow/papers" / name
    for part in ("reported", "scale"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "paper.yaml").write_text(yaml.safe_dump({**paper, "name": name}))
    (folder / "reported/T1.csv").write_text(header + rows)
    (folder / f"scale/{profile}.yaml").write_text(yaml.safe_dump(scale))
    (root / "workflow/scales").mkdir(exist_ok=True)
    about = {"title": "tiny", "description": "For a test."}
    (root / f"workflow/scales/{profile}.yaml").write_text(yaml.safe_dump(about))
    return folder


def plan(root, *papers, **config):
    return load_plan({"profile": "tiny", "papers": list(papers or ["one"]), **config}, root)


def refused(root, *words, papers=("one",), **config):
    with pytest.raises(InputError) as caught:
        plan(root, *papers, **config)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_keys_stand_for_leaves(tmp_path):
    write(tmp_path)
    found = plan(tmp_path)
    first, second, third = found.papers["one"].tables["T1"].rows
    assert first.cell == "resnet18-cifar100/sam/rho=0.1,epochs=200"
    assert second.cell == "resnet18-cifar100/sam/rho=0.1,epochs=400"
    assert first.keys == {
        "network": "RN18 (200)", "set": "CIFAR-100", "optimizer_": "SAM", "rho": "0.1",
    }  # fmt: skip
    assert first.at("rho") == 0.1
    assert third.at("rho") is None
    assert first.seeds == (0, 1)


def test_a_row_may_stand_for_the_better_of_several(tmp_path):
    write(tmp_path)
    row = plan(tmp_path).papers["one"].tables["T1"].rows[2]
    assert row.cells == (
        "resnet18-cifar100/sgd/epochs=200", "resnet18-cifar100/sgd/epochs=400",
    )  # fmt: skip
    assert row.cell == row.cells[0]


def test_what_is_printed_beside_a_number_is_kept(tmp_path):
    write(tmp_path)
    first, second, _ = plan(tmp_path).papers["one"].tables["T1"].rows
    assert (first.reported.value, first.reported.printed, first.reported.spread) == (
        20.5,
        "20.5",
        0.3,
    )
    assert (first.reported.spread_kind, first.reported.runs) == ("ci95", 5)
    # half of a 95 % t-interval of 5 runs is 2.776 standard errors, each sd / sqrt(5)
    assert first.reported.deviation == pytest.approx(0.3 / 2.7764 * 5**0.5, rel=1e-4)
    assert second.reported.deviation != second.reported.deviation  # NaN: none printed


@pytest.mark.parametrize(
    ("kind", "runs", "deviation"), [("sd", 20, 0.3), ("se", 4, 0.6), ("ci95", 1, 0.0)]
)
def test_kinds_of_spread(tmp_path, kind, runs, deviation):
    header = HEADER.replace("excluded", "spread,runs,excluded")
    row = f"RN18 (200),CIFAR-100,SAM,0.1,SAM,test_error_percent,20.5,0.3,{kind},{runs},,\n"
    write(tmp_path, rows=row, header=header)
    assert plan(tmp_path).papers["one"].tables["T1"].rows[0].reported.deviation == pytest.approx(
        deviation
    )


def test_stand_ins_and_only(tmp_path):
    scale = {
        "seeds": 3,
        "protocol": {"val_size": 100, "train_size": 200, "augment": "none"},
        "stand_ins": {"model": {"resnet18": "cnn3"}, "data": {"cifar100": "digits"},
                      "epochs": {"200": 2, "400": 4}},
        "tables": {"T1": {"seeds": 2, "only": {"epochs": [2]}, "reason": "time"}},
    }  # fmt: skip
    write(tmp_path, scale=scale)
    found = plan(tmp_path)
    assert set(found.cells) == {"cnn3-digits/sam/rho=0.1,epochs=2", "cnn3-digits/sgd/epochs=2"}
    rows = found.papers["one"].tables["T1"].rows
    assert [row.reason for row in rows] == ["", "time", ""]
    assert rows[2].cells == ("cnn3-digits/sgd/epochs=2",)


def test_what_stands_in_is_not_replaced_again(tmp_path):
    header = HEADER.replace("network,", "network,epochs,")
    rows = "RN18,200,CIFAR-100,SAM,0.1,SAM,test_error_percent,,,,\n"
    keys = {**PAPER["keys"], "network": {"RN18": {"model": "resnet18"}}}
    scale = {"seeds": 1, "stand_ins": {"epochs": {"200": 100, "400": 200}}}
    write(
        tmp_path,
        paper={**PAPER, "keys": keys},
        rows=rows + rows.replace("200", "400"),
        header=header,
        scale=scale,
    )
    assert [p.cell.budget.epochs for p in plan(tmp_path).cells.values()] == [100, 200]


def test_what_nothing_can_make_names_no_cell_and_says_why(tmp_path):
    """Its keys need mean nothing here, and no thinning has another reason."""
    header = HEADER.replace("\n", ",not_run\n")
    rows = ROWS.replace("\n", ",\n")
    lost = "a private one,CIFAR-100,SAM,0.1,SAM,test_error_percent,19.5,,,,its data are lost\n"
    scale = {"seeds": 1, "tables": {"T1": {"only": {"rho": [0.1]}, "reason": "too long"}}}
    write(tmp_path, rows=rows, header=header, scale=scale)
    without = set(plan(tmp_path).specs)
    write(tmp_path, rows=rows + lost, header=header, scale=scale)
    found = plan(tmp_path)
    *_, row = found.papers["one"].tables["T1"].rows
    assert (row.cells, row.reason, row.spec.to_dict()) == ((), "its data are lost", {})
    assert row.reported.printed == "19.5"
    assert set(found.specs) == without


def test_two_papers_that_name_one_setting_train_it_once(tmp_path):
    write(tmp_path)
    other = copy.deepcopy(PAPER)
    # The same numbers, said elsewhere: 200 epochs are this one's protocol.
    other["protocol"]["epochs"] = 200
    other["keys"] = {"set": {"CIFAR-100": "cifar100"}}
    other["keys"] = {"data": {"CIFAR-100": "cifar100"}, "model": {"ResNet": "resnet18"}}
    header = "model,data,variant,rho,column,metric,reported,uncertainty,excluded,note\n"
    rows = "ResNet,CIFAR-100,sam,0.1,SAM,test_loss,,,,\n"
    write(tmp_path, "two", other, rows, header, {"seeds": 3})
    found = plan(tmp_path, "one", "two")
    shared = found.papers["two"].tables["T1"].rows[0].cell
    assert (
        shared == found.papers["one"].tables["T1"].rows[0].cell == "resnet18-cifar100/sam/rho=0.1"
    )
    assert found.cells[shared].seeds == (0, 1, 2)
    assert found.cells[shared].tables == ("one/T1", "two/T1")
    assert len(found.cells) == 4
    assert found.papers["one"].cells[shared] == ("epochs",)
    assert found.papers["two"].cells[shared] == ()
    # The larger number of seeds, whichever table comes first.
    write(tmp_path, "two", other, rows, header, {"seeds": 1})
    assert plan(tmp_path, "one", "two").cells[shared].seeds == (0, 1)


def test_two_that_differ_and_show_it_not(tmp_path):
    write(tmp_path)
    other = copy.deepcopy(PAPER)
    other["protocol"] |= {"lr": 0.05}
    write(tmp_path, "two", other)
    refused(
        tmp_path, "resnet18-cifar100/sam/rho=0.1,epochs=200 of one/T1 and of two/T1",
        "lr 0.1 and 0.05", "shows: [lr]", papers=("one", "two"),
    )  # fmt: skip
    write(tmp_path, "two", other, scale={"seeds": 1, "shows": ["lr"]})
    assert len(plan(tmp_path, "one", "two").cells) == 8
    assert "resnet18-cifar100/sgd/epochs=200,lr=0.05" in plan(tmp_path, "one", "two").cells


def test_tables_are_named_with_their_paper(tmp_path):
    write(tmp_path)
    other = {**PAPER, "tables": {"T1": PAPER["tables"]["T1"], "T2": PAPER["tables"]["T1"]}}
    folder = write(tmp_path, "two", other)
    (folder / "reported/T2.csv").write_text(HEADER + ROWS.splitlines()[0] + "\n")
    found = plan(tmp_path, "one", "two", tables=["two/T2"])
    assert {name: list(paper.tables) for name, paper in found.papers.items()} == {
        "one": [], "two": ["T2"],
    }  # fmt: skip
    assert [*plan(tmp_path, "one", "two", tables=["T1"]).papers["one"].tables] == ["T1"]
    refused(tmp_path, "tables: two/T3", "two/T2", papers=("one", "two"), tables=["two/T3"])
    refused(tmp_path, "tables: T3", "one/T1", papers=("one", "two"), tables=["T3"])


def test_a_profile_gives_a_model_leaves_of_its_own(tmp_path):
    own = {"model": "cnn3", "epochs": 2, "train_size": 200, "val_size": 50, "rho": {"0.1": 0.02}}
    rows = ROWS.replace("RN18 (400)", "WRN")
    network = {
        "RN18 (200)": {"model": "resnet18", "epochs": 200},
        "WRN": {"model": "wrn28_10", "epochs": 100},
    }
    method = {"SAM": {"variant": "sam"}, "SGD": {"variant": "sgd"}}
    paper = {**PAPER, "keys": {**PAPER["keys"], "network": network, "optimizer_": method}}
    scale = {
        "seeds": 1,
        "stand_ins": {"data": {"cifar100": "digits"}, "epochs": {"200": 3}},
        "protocol": {"train_size": 300, "augment": "none", "val_size": 60},
        "models": {"resnet18": own},
    }
    write(tmp_path, paper=paper, rows=rows, scale=scale)
    found = {i: p.cell for i, p in plan(tmp_path).cells.items()}
    assert set(found) == {
        "cnn3-digits/sam/rho=0.02",
        "wrn28_10-digits/sam/rho=0.1",
        "cnn3-digits/sgd/base",
    }
    small, large = found["cnn3-digits/sgd/base"], found["wrn28_10-digits/sam/rho=0.1"]
    assert (small.budget.epochs, small.task.train_size, small.task.val_size) == (2, 200, 50)
    assert (large.budget.epochs, large.task.train_size, large.task.val_size) == (100, 300, 60)
    for models, words in [
        ({"resnet19": own}, ("models: resnet19", "resnet18, wrn28_10")),
        ({"resnet18": {"epoch": 2}}, ("models.resnet18: epoch",)),
        ({"resnet18": {"epochs": -2}}, ("one/scale/tiny.yaml: models.resnet18", "epochs: -2")),
        ({"resnet18": {"rho": {"0.3": 1}}}, ("models.resnet18.rho: 0.3", "0.1")),
    ]:
        write(tmp_path, paper=paper, rows=rows, scale={**scale, "models": models})
        refused(tmp_path, *words)


def test_the_first_seed_of_all_comes_before_any_second(tmp_path):
    write(tmp_path, scale={"seeds": 2, "priority": ["sgd/epochs=400"]})
    runs = ordered(plan(tmp_path))
    assert [seed for _, seed in runs] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert runs[0] == ("resnet18-cifar100/sgd/epochs=400", 0)
    write(tmp_path, scale={"seeds": 2, "priority": ["sgd/epochs=300"]})
    refused(tmp_path, "one/scale/tiny.yaml", "priority", "sgd/epochs=300", "T1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keys": {**PAPER["keys"], "network": {"RN18 (200)": {"modell": "resnet18"}}}},
         ("one/paper.yaml", "keys.network.RN18 (200)", "modell")),
        ({"protocol": {"lrr": 0.1}}, ("one/paper.yaml", "protocol: lrr")),
        ({"keys": {**PAPER["keys"], "optimizer_": {"SAM": {"variant": "sam", "choose": ["rho"]}}}},
         ("one/paper.yaml", "keys.optimizer_.SAM.choose", "a list of values each")),
        ({"spread": "range"}, ("one/paper.yaml", "spread: range", "sd, se, ci95")),
        ({"tables": {"T1": {"title": "x", "question": "y", "stage": "trains"}}},
         ("one/paper.yaml", "tables.T1.stage: trains", "train")),
        ({"figures": [{"draw": "lines", "tables": ["T9"]}]}, ("figures lines tables: T9", "T1")),
        ({"year": "2024"}, ("one/paper.yaml", "year: 2024", "a whole number")),
        ({"titel": "x"}, ("one/paper.yaml", "titel: an unknown key", "title")),
    ],
)  # fmt: skip
def test_a_paper_with_a_mistake(tmp_path, change, words):
    write(tmp_path, paper={**PAPER, **change})
    refused(tmp_path, *words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("RN18 (200),CIFAR-100,SAM", "RN19,CIFAR-100,SAM", ("line 2: network: RN19", "RN18 (400)")),
        ("test_error_percent,20.5", "test_error,20.5", ("line 2: metric: test_error", "test_loss")),
        ("20.5,0.3", "120.5,0.3", ("line 2: reported: 120.5", "0 to 100")),
        ("20.5,0.3", "20.5,-0.3", ("line 2: uncertainty: -0.3", "0 or more")),
        ("SAM,0.1,SAM", "SAM,-1,SAM", ("line 2: rho: -1",)),
        ("SAM,0.1,SAM", "SAM,,SAM", ("line 2: rho: None",)),
    ],
)  # fmt: skip
def test_a_row_with_a_mistake(tmp_path, old, new, words):
    assert old in ROWS
    write(tmp_path, rows=ROWS.replace(old, new, 1))
    refused(tmp_path, "one/reported/T1.csv", *words)


def test_a_column_that_is_neither_key_nor_leaf(tmp_path):
    write(tmp_path, header=HEADER.replace("rho", "rhoo"))
    refused(tmp_path, "T1.csv", "column: rhoo", "a key of paper.yaml, or a field of a run")


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        ({"seeds": 0}, ("one/scale/tiny.yaml", "seeds: 0", "from 1")),
        ({"protocol": {"lrr": 1}}, ("protocol: lrr", "weight_decay")),
        ({"protocol": {"lr": -1.0}}, ("one/scale/tiny.yaml: protocol: lr: -1.0",)),
        ({"stand_ins": {"model": {"resnet19": "cnn3"}}}, ("stand_ins.model: resnet19", "resnet18")),
        ({"stand_ins": {"model": {"resnet18": "cnn33"}}}, ("stand_ins: model: cnn33", "cnn3")),
        ({"stand_ins": {"modell": {}}}, ("stand_ins: modell",)),
        ({"tables": {"T7": {}}}, ("tables: T7", "T1")),
        ({"tables": {"T1": {"only": {"rho": [0.2]}, "reason": "x"}}},
         ("tables.T1.only.rho: 0.2", "0.1")),
        ({"tables": {"T1": {"only": {"rho": [0.1]}}}}, ("tables.T1.reason: (missing)",)),
        ({"shows": ["lrr"]}, ("shows: lrr",)),
        ({"stages": {"curvature": {"where": {"variant": ["samm"]}}}},
         ("stages.curvature.where.variant: samm", "sam, sgd")),
    ],
)  # fmt: skip
def test_a_scale_with_a_mistake(tmp_path, scale, words):
    write(tmp_path, scale={**SCALE, **scale})
    refused(tmp_path, *words)


def test_a_paper_that_lacks_the_profile(tmp_path):
    folder = write(tmp_path)
    (folder / "scale/tiny.yaml").rename(folder / "scale/large.yaml")
    refused(tmp_path, "one/scale/tiny.yaml", "file: (missing)", "large")


def test_a_profile_can_be_like_another(tmp_path):
    folder = write_study(tmp_path)
    more = {"like": "tiny", "seeds": 7, "tables": {"T1": {"seeds": 9}}}
    (folder / "scale/many.yaml").write_text(yaml.safe_dump(more))
    tiny, many = (profile.read_scale(folder, name) for name in ("tiny", "many"))
    assert (many.seeds, many.tables["T1"].seeds) == (7, 9)
    assert many.tables["T1"].only == tiny.tables["T1"].only
    assert (many.stages, many.stand_ins) == (tiny.stages, tiny.stand_ins)


@pytest.mark.parametrize("name", ["many", "none", 3, None])
def test_a_profile_is_like_one_that_says_all(tmp_path, name):
    folder = write_study(tmp_path)
    for file, like in (("many", name), ("third", "tiny")):
        (folder / f"scale/{file}.yaml").write_text(yaml.safe_dump({"like": like, "seeds": 7}))
    with pytest.raises(InputError, match=r"scale/many.yaml: like: .* allowed: third, tiny"):
        profile.read_scale(folder, "many")


def test_a_profile_like_one_that_is_like_another(tmp_path):
    folder = write_study(tmp_path)
    for file, said in (("many", {"like": "third"}), ("third", {"like": "tiny", "seeds": 7})):
        (folder / f"scale/{file}.yaml").write_text(yaml.safe_dump(said))
    tiny, many = (profile.read_scale(folder, name) for name in ("tiny", "many"))
    assert (many.seeds, many.stages) == (7, tiny.stages)
    (folder / "scale/third.yaml").write_text(yaml.safe_dump({"like": "many"}))
    with pytest.raises(InputError, match=r"scale/many.yaml: like: many .* allowed: tiny"):
        profile.read_scale(folder, "many")
