"""A run killed at any moment and run again ends bit for bit where an uninterrupted one does."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from samscope import tasks
from samscope.stages.train import train_cell
from samscope.store import records, state
from samscope.train import engine
from samscope.train.step import Learner
from tiny_cell import tiny

CELL = tiny(epochs=6)
RESULTS = records.FILES


class Killed(BaseException):
    """A death that no handler sees, as far as files are concerned."""


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """An uninterrupted run of seed 0, with the cell's own records."""
    folder = tmp_path_factory.mktemp("whole")
    train_cell(CELL, [0], folder, data_dir)
    return folder


@pytest.fixture(autouse=True)
def _keep_every_state(monkeypatch):
    monkeypatch.setattr(engine, "STATE_SHARE", float("inf"))


def assert_same(folder: Path, whole: Path) -> None:
    for name in ("metrics.json", "history.csv", *(f"seed=0/{name}" for name in RESULTS)):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    names = {path.name for path in (folder / "seed=0").iterdir()}
    assert names == {*RESULTS, "provenance.json"}


def die_at(monkeypatch, module, name: str, call: int) -> None:
    """Make the call-th call of a function the last thing that happens."""
    original, calls = getattr(module, name), []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, dying)


def killed_run(monkeypatch, folder: Path, data_dir: Path, module, name: str, call: int) -> None:
    with monkeypatch.context() as patch:
        die_at(patch, module, name, call)
        with pytest.raises(Killed):
            train_cell(CELL, [0], folder, data_dir)
    assert not (folder / "metrics.json").exists()


# Processes


def in_a_process(code: str, folder: Path, data_dir: Path) -> int:
    """Run code that trains CELL in a process of its own; its exit status."""
    preamble = f"""
        import os, signal
        from pathlib import Path
        from samscope.spec import Cell
        from samscope.train import engine
        from samscope.stages.train import train_cell
        cell = Cell.from_dict({CELL.to_dict()!r})
        folder, data_dir = {str(folder)!r}, {str(data_dir)!r}
    """
    program = textwrap.dedent(preamble) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], timeout=120).returncode


def test_kill_minus_nine_in_the_middle_of_an_epoch(whole, data_dir, tmp_path):
    # The process kills itself, so that the moment is the same however slow the machine is: in the
    # second of the four steps of the fourth epoch.
    killing = """
        from samscope.train.step import Learner
        step, steps = Learner.step, []
        def killing(*args):
            steps.append(1)
            if len(steps) == 3 * 4 + 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args)
        Learner.step = killing
        engine.STATE_SHARE = float("inf")
        train_cell(cell, [0], folder, data_dir)
    """
    assert in_a_process(killing, tmp_path, data_dir) == -signal.SIGKILL
    assert (tmp_path / "seed=0" / state.NEWEST).exists()
    assert not (tmp_path / "metrics.json").exists()
    lines = []
    train_cell(CELL, [0], tmp_path, data_dir, lines.append)
    assert "goes on after epoch 3 of 6" in lines[0]
    assert_same(tmp_path, whole)


def test_two_processes_give_the_same_bytes(whole, data_dir, tmp_path):
    assert in_a_process("train_cell(cell, [0], folder, data_dir)", tmp_path, data_dir) == 0
    assert_same(tmp_path, whole)


# Moments of death, without the process


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (Learner, "step", 3),  # before there is a state
        (Learner, "step", 24),  # in the last epoch
        (engine, "evaluate", 2),  # between training and validation
        (state, "save", 2),
        (state, "write", 3),  # the newest state is renamed, the next not written
        (os, "replace", 4),  # the next state is written and not renamed
        (engine, "_metrics", 1),  # trained, not tested
        (records, "write", 2),  # between the records
        (records, "write", 7),  # all but the one that completes them
        (state, "remove", 1),  # recorded, the state still there
        (records, "assemble", 1),
        (records, "write", 9),  # between the cell's own two
    ],
)
def test_death_at_any_moment(monkeypatch, whole, data_dir, tmp_path, module, name, call):
    killed_run(monkeypatch, tmp_path, data_dir, module, name, call)
    train_cell(CELL, [0], tmp_path, data_dir)
    assert_same(tmp_path, whole)


def test_a_run_may_die_again_and_again(monkeypatch, whole, data_dir, tmp_path):
    for _ in range(5):
        killed_run(monkeypatch, tmp_path, data_dir, Learner, "step", 6)
    train_cell(CELL, [0], tmp_path, data_dir)
    assert_same(tmp_path, whole)


# States that cannot be used


def half_run(monkeypatch, folder: Path, data_dir: Path) -> tuple[Path, Path]:
    """A run that died in its fifth epoch; its newest and previous state, after epochs 4 and 3."""
    killed_run(monkeypatch, folder, data_dir, Learner, "step", 18)
    return folder / "seed=0" / state.NEWEST, folder / "seed=0" / state.PREVIOUS


@pytest.fixture(scope="module")
def half(data_dir, tmp_path_factory):
    """The folder of a run that died in its third epoch."""
    folder = tmp_path_factory.mktemp("half")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "STATE_SHARE", float("inf"))
        killed_run(patch, folder, data_dir, Learner, "step", 10)
    return folder / "seed=0"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_damaged_state_is_named_and_costs_one_epoch(
    monkeypatch, whole, data_dir, tmp_path, damage
):
    newest, _ = half_run(monkeypatch, tmp_path, data_dir)
    damage(newest)
    lines = []
    train_cell(CELL, [0], tmp_path, data_dir, lines.append)
    assert lines[0] == f"{newest}: damaged, passed over"
    assert "goes on after epoch 3 of 6" in lines[1]
    assert_same(tmp_path, whole)


def test_without_a_whole_state_the_run_starts_again(monkeypatch, whole, data_dir, tmp_path):
    states = half_run(monkeypatch, tmp_path, data_dir)
    for path in states:
        truncate(path)
    lines = []
    train_cell(CELL, [0], tmp_path, data_dir, lines.append)
    assert lines[:2] == [f"{path}: damaged, passed over" for path in states]
    assert len(lines) == 3
    assert_same(tmp_path, whole)


def test_the_state_of_another_run_is_passed_over(monkeypatch, whole, data_dir, tmp_path):
    half_run(monkeypatch, tmp_path / "other", data_dir)
    other = tmp_path / "other" / "seed=0" / state.NEWEST
    cell = tiny(epochs=6, rho=0.3)
    folder = tmp_path / "new"
    (folder / "seed=0").mkdir(parents=True)
    (folder / "seed=0" / state.NEWEST).write_bytes(other.read_bytes())
    lines = []
    train_cell(cell, [0], folder, data_dir, lines.append)
    assert "of another run, passed over" in lines[0]
    assert len(lines) == 2


def other_weights(kept):
    kept.tensors["last.weights"] = kept.tensors["last.weights"][:-1].clone()


def no_momentum(kept):
    del kept.tensors["momentum"]


def other_type(kept):
    kept.tensors["best.buffers"] = kept.tensors["best.buffers"].half()


def other_flags(kept):
    kept.tensors["observed.frozen"] = kept.tensors["observed.frozen"][:, :1].clone()


def no_history(kept):
    kept.history.clear()


def other_seed(kept):
    kept.history[0]["seed"] = 7


def no_loss(kept):
    del kept.history[1]["val_loss"]


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (other_weights, "its last.weights is of something else"),
        (no_momentum, "its momentum is of something else"),
        (other_type, "its best.buffers is of something else"),
        (other_flags, "its observed.frozen is of something else"),
        (no_history, "its history is cut"),
        (other_seed, "history.csv: epoch 1 is of seed 7, epoch 1"),
        (no_loss, "its history is cut"),
    ],
)
def test_a_sealed_state_of_something_else_is_passed_over(
    half, whole, data_dir, tmp_path, edit, why
):
    """Its checksum is right, its content is not."""
    folder = tmp_path / "seed=0"
    shutil.copytree(half, folder)
    kept = state.load(folder, CELL.digest(0), print)
    edit(kept)
    state.remove(folder)
    state.save(folder, CELL.digest(0), kept)
    lines = []
    splits = tasks.load(CELL.task, data_dir)
    engine.train(CELL, 0, splits, folder, lines.append, deadline=0.0)
    assert lines == [f"{folder / state.NEWEST}: no state ({why}), passed over"]


def test_how_often_states_are_kept_changes_nothing(monkeypatch, whole, data_dir, tmp_path):
    saved = []
    monkeypatch.setattr(engine, "STATE_SHARE", 0.0)
    with monkeypatch.context() as patch:
        save = state.save
        patch.setattr(state, "save", lambda *args: [saved.append(1), save(*args)])
        train_cell(CELL, [0], tmp_path, data_dir)
    assert len(saved) == 1  # the first, whose cost is not known yet
    assert_same(tmp_path, whole)


# A deadline


def test_a_run_out_of_time_keeps_its_state_and_ends_with_the_same_bytes(
    whole, data_dir, tmp_path, monkeypatch
):
    """An hour passes at the end of the third epoch, and the deadline with it."""
    late = []
    monkeypatch.setattr(engine.time, "perf_counter", lambda: 3600.0 * len(late))
    evaluate = engine.evaluate
    monkeypatch.setattr(engine, "evaluate", lambda *args: (late.append(1), evaluate(*args))[1])
    splits = tasks.load(CELL.task, data_dir)
    (tmp_path / "seed=0").mkdir()
    # The fourth epoch would end after four to five hours by the measure of those before it.
    assert engine.train(CELL, 0, splits, tmp_path / "seed=0", print, 4 * 3600.0) is None
    monkeypatch.undo()
    lines = []
    train_cell(CELL, [0], tmp_path, data_dir, lines.append)
    assert "goes on after epoch 3 of 6" in lines[0]
    assert_same(tmp_path, whole)
