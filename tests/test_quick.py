"""The quick profile as a new user runs it; ten minutes on two cores."""

import hashlib

import pytest

from conftest import Project


def digests(project: Project) -> dict[str, str]:
    """Of every result but what tells times and hosts, and what Snakemake logs."""
    results = project.folder / "results/quick"
    kept = {}
    for path in sorted(p for p in results.rglob("*") if p.is_file()):
        name = path.relative_to(results).as_posix()
        if not name.startswith(("logs/", "report/")) and path.name != "provenance.json":
            kept[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return kept


@pytest.mark.slow
def test_two_folders_give_the_same_bytes(tmp_path):
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        project = Project(tmp_path / name)
        project.edit("config.yaml", "tiny", "quick")
        project.edit("config.yaml", "- T1", "")
        project.edit("config.yaml", "tables:", "tables: []")
        done = project.snakemake(timeout=1800)
        assert done.returncode == 0, done.stdout
        assert "Nothing to be done" in project.snakemake().stdout
        found.append(digests(project))
    assert len(found[0]) > 2000
    assert found[0] == found[1]
