"""What of the heartbeats trains and what tests: class counts by counting, no patient in both."""

import numpy as np
import pytest
import torch

from samscope import data, tasks
from samscope.data.split import stratified_split
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.tasks import Task, beats
from tiny_cell import tiny

COUNTS = {"training": (900, 20, 30, 15, 40), "test": (300, 8, 9, 7, 10)}
"""Beats of each class in the tests' set."""
RECORDS = (*beats.TRAINING, *beats.TEST)


def task(split="coded", **changes):
    settings = {"augment": "none", "label_noise": 0.0, "train_size": None, "val_size": 0}
    settings |= {"split_seed": 12345, "name": "beats", "split": split}
    return Task("mitbih", **settings | changes)


def arrays(record=None):
    """Beats whose first samples say class, and which of all beats each is; of records in turn."""
    y = np.concatenate([np.repeat(np.arange(5), counts) for counts in COUNTS.values()])
    x = np.zeros((len(y), 187), np.float32)
    x[:, 0], x[:, 1] = y / 8, np.arange(len(y)) / 2**11
    own = np.resize(RECORDS, len(y)) if record is None else record
    return {
        "x": x,
        "y": y.astype(np.uint8),
        "is_test": np.arange(len(y)) >= sum(COUNTS["training"]),
        "record": own.astype(np.uint8),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("beats")
    np.savez(made / "mitbih.npz", **arrays())
    return made


def _which(part):
    """Which of all beats samples are."""
    return (part.inputs[0][:, 1] * 2**11).long().tolist()


def loaded(folder, split, **changes):
    """Counts of training and test, and which beats they are."""
    splits = tasks.load(task(split, **changes), folder)
    parts = (splits.train, splits.test)
    assert all(torch.equal((p.inputs[0][:, 0] * 8).long(), p.targets) for p in parts)
    beats_of = [set(_which(part)) for part in parts]
    assert [len(found) for found in beats_of] == [len(part) for part in parts]
    assert not beats_of[0] & beats_of[1]
    return [torch.bincount(part.targets, minlength=5).tolist() for part in parts], beats_of


def test_each_split_keeps_the_beats_that_it_says(folder):
    own = [list(counts) for counts in COUNTS.values()]
    coded, _ = loaded(folder, "coded")
    assert coded == [[n, *rest] for n, (_, *rest) in zip((641, 161), own, strict=True)]
    fair, _ = loaded(folder, "downsampled")
    assert fair == [[40, *own[0][1:]], [10, *own[1][1:]]]
    anew, _ = loaded(folder, "stratified")
    assert [sum(part) for part in anew] == [sum(part) for part in coded]
    for kind in range(5):
        both = coded[0][kind] + coded[1][kind]
        assert anew[0][kind] + anew[1][kind] == both
        assert abs(anew[0][kind] - both * sum(coded[0]) / sum(map(sum, coded))) < 1


def test_a_split_at_random_has_the_beats_of_the_coded_one(folder):
    (_, coded), (_, anew) = loaded(folder, "coded"), loaded(folder, "stratified")
    assert set.union(*coded) == set.union(*anew)
    assert coded[1] != anew[1]


@pytest.mark.parametrize("split", ["downsampled", "stratified", "by_record"])
def test_draws_are_of_the_split_seed(folder, split):
    (_, first), (_, same) = loaded(folder, split), loaded(folder, split)
    assert first == same
    assert loaded(folder, split, split_seed=1)[1] != first


def test_no_patient_is_in_both(folder):
    counts, found = loaded(folder, "by_record")
    of = arrays()["record"]
    train, test = ({int(of[beat]) for beat in part} for part in found)
    assert (train, test) == (set(beats.TRAINING), set(beats.TEST))
    assert not train & test
    assert {201, 202} <= train  # one patient
    # all beats of the other classes, and of class N as many as coded, 802, by the others' shares
    y, in_test = arrays()["y"], np.isin(of, beats.TEST)
    rest = [np.bincount(y[p], minlength=5)[1:].tolist() for p in (~in_test, in_test)]
    assert [part[1:] for part in counts] == rest
    others = [sum(part) for part in rest]
    first = round(802 * others[0] / sum(others))
    assert [part[0] for part in counts] == [first, 802 - first]


def test_records_are_de_chazals_with_the_paced_ones_dealt_out():
    assert len(RECORDS) == len(set(RECORDS)) == 48
    paced = {102, 104, 107, 217}
    assert {len(paced & set(part)) for part in (beats.TRAINING, beats.TEST)} == {2}
    # DS1 and DS2 have 22 records each; 202 goes to the other record of its patient
    assert (len(beats.TRAINING), len(beats.TEST)) == (22 + 1 + 2, 22 - 1 + 2)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (np.zeros(1339), "mitbih.npz: record: 0 of all beats is not allowed; allowed: the record"),
        (np.full(1339, 110), "record: 110 is not allowed; allowed: the 48 records of MIT-BIH"),
        (
            np.full(1339, 101),
            "y: no test sample of class 0 among 0 is not allowed; allowed: one of each cla",
        ),
        (
            np.where(arrays()["y"] == 4, 104, np.resize(RECORDS, 1339)),
            "no training sample of class",
        ),
    ],
)
def test_records_that_do_not_divide_the_beats_are_one_line(record, words, tmp_path):
    np.savez(tmp_path / "mitbih.npz", **arrays(record))
    with pytest.raises(InputError) as error:
        tasks.load(task("by_record"), tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    tasks.load(task("coded"), tmp_path)


def test_the_coded_split_is_as_it_was(folder):
    """Draw for draw: what was trained before there were others stays."""
    held, random = arrays(), np.random.RandomState(12345)
    y, parts = held["y"], []
    for chosen, normal in ((~held["is_test"], 641), (held["is_test"], 161)):
        drawn = random.permutation(np.flatnonzero(chosen & (y == 0)))[:normal]
        parts.append(np.sort(np.concatenate([np.flatnonzero(chosen & (y != 0)), drawn])))
    pool, test = parts
    train, _, _ = stratified_split(y[pool], len(pool), 0, 12345)
    splits = tasks.load(task(), folder)
    assert _which(splits.train) == pool[train].tolist()
    assert _which(splits.test) == test.tolist()


def test_a_split_is_a_leaf_like_any(tmp_path):
    changes = {"model": "attention_small", "task": "beats", "data": "digit_signals"}
    cell = tiny(**changes)
    other = cell.but(split="stratified", shown=("split",))
    assert cell.to_dict()["split"] == "coded"
    assert other.id == f"{cell.id.rpartition('/')[0]}/{settings(cell)}split=stratified"
    assert Cell.from_dict(other.to_dict()) == other != cell
    assert cell.digest(0) == cell.but(split="coded").digest(0) != other.digest(0)
    with pytest.raises(InputError, match="task beats: split: none is not allowed; allowed: coded"):
        cell.but(split="none")
    for name in ("images", "molecules"):
        with pytest.raises(InputError, match=rf"task {name}: split: .* allowed: coded$"):
            Task(tasks.TASKS[name].data[0], "none", 0.0, None, 0, 0, name, split="by_record")


def settings(cell):
    """Of an id, what another setting is written behind."""
    last = cell.id.rpartition("/")[2]
    return "" if last == "base" else f"{last},"


def test_signals_without_a_class_in_a_part_are_named(tmp_path):
    held = data.read("digit_signals", tmp_path)
    held = {k: v.copy() for k, v in held.items()}
    held["y"][held["is_test"]] %= 9
    (tmp_path / "digit_signals.json").unlink()
    np.savez(tmp_path / "digit_signals.npz", **held)
    with pytest.raises(InputError, match=r"y: no test sample of class 9 .* by split coded"):
        tasks.load(Task("digit_signals", "none", 0.0, None, 0, 0, "beats"), tmp_path)
