"""A task, a loss, a rule, a schedule, a model: one entry each, and a file where there is code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

ENTRIES = {
    "losses.py": (
        '    "squared": squared,\n',
        '    "halved": lambda outputs, targets, smoothing=0.0, reduction="mean": (\n'
        "        squared(outputs, targets, smoothing, reduction) / 2\n    ),\n",
    ),
    "optim/schedules.py": (
        '    "cosine": cosine,\n',
        '    "falling": lambda lr, t, total, warmup=0: lr * (1 - t / total),\n',
    ),
    "optim/rules/__init__.py": (
        '    "adam": Rule(',
        '    "sign": Rule("samscope.optim.rules.sign:sign", ()),\n',
    ),
    "models/__init__.py": (
        '    "cnn5": Model(',
        '    "flat": Model("flat", "Flat", {"width": 8}, takes="rows"),\n',
    ),
    "tasks/__init__.py": (
        '    "images": Kind(',
        '    "rows": Kind("samscope.tasks.rows", inputs="rows", data=("digits",), scores=()),\n',
    ),
}
FILES = {
    "optim/rules/sign.py": (
        '"""Steps of one length."""\n\n\ndef sign(w, start, u, slots, n):\n'
        "    w.copy_(start - n.lr * u.sign())\n"
    ),
    "models/flat.py": (
        '"""Two layers."""\n\nfrom torch import nn\n\n\nclass Flat(nn.Sequential):\n'
        "    def __init__(self, outputs, inputs, width):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, width), nn.Tanh(),\n"
        "                         nn.Linear(width, outputs))\n"
    ),
    "tasks/rows.py": (
        '"""Digits as rows of numbers."""\n\n'
        "from samscope.tasks.images import draw, load, prepare  # noqa: F401\n"
    ),
}
TRAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from samscope import losses, models, tasks
from samscope.store import records
from samscope.train import engine
from tiny_cell import tiny
cell = tiny().but(
    task="rows", model="flat", loss="halved", optimizer="sign", schedule="falling", lr=0.01
)
data = tasks.load(cell.task, Path(sys.argv[1]))
folder = Path(sys.argv[1]) / "run"
folder.mkdir()
done = engine.train(cell, 0, data, folder, print)
rows = done.history
print(records.columns(cell)[2:5], [round(row["lr"], 6) for row in rows])
print(rows[-1]["train_loss"] < rows[0]["train_loss"])
"""


def test_each_is_added_by_one_entry_and_trains(tmp_path, data_dir):
    package = tmp_path / "src" / "samscope"
    shutil.copytree(ROOT / "src" / "samscope", package)
    for name, (before, entry) in ENTRIES.items():
        text = (package / name).read_text()
        assert text.count(before) == 1
        (package / name).write_text(text.replace(before, entry + before))
    for name, text in FILES.items():
        (package / name).write_text(text)
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    call = [sys.executable, "-c", TRAIN, str(folder), str(Path(__file__).parent)]
    where = {**os.environ, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(call, env=where, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    columns, falls = done.stdout.splitlines()[-2:]
    assert columns == "('lr', 'train_loss', 'val_loss') [0.01, 0.0075, 0.005, 0.0025]"
    assert falls == "True"
