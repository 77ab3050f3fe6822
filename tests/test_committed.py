"""The records in the repository: of which trees they are, and what they weigh."""

import json
import tarfile
from collections import Counter

from conftest import ROOT

ARCHIVES = sorted((ROOT / "results").glob("*.tar.xz"))
FROM_CHANGED_TREES = {
    "runs/resnet8_w8-cifar10/": 75,
    "runs/gcn-mutagenicity/sam/rho=0.005,optimizer=adam/": 5,
}
"""Runs of the profile `cpu` that are still to be trained from a clean commit; no other may come."""


def test_records_are_of_commits():
    assert [path.name for path in ARCHIVES] == ["cpu.tar.xz", "decide.tar.xz"]
    dirty = Counter()
    for path in ARCHIVES:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith("/provenance.json"):
                    made = json.load(archive.extractfile(member))
                    assert len(made["commit"]) == 40, member.name
                    if made["dirty"]:
                        known = (f for f in FROM_CHANGED_TREES if member.name.startswith(f))
                        dirty[path.name, next(known, member.name)] += 1
    allowed = {("cpu.tar.xz", folder): count for folder, count in FROM_CHANGED_TREES.items()}
    assert not dirty - Counter(allowed)


def test_they_are_small():
    assert sum(path.stat().st_size for path in ARCHIVES) < 25e6
