"""Text files that grow beyond what was written, or never end, are refused at once, in one line."""

import os
import time

import pytest

from samscope.config.profile import read_config
from samscope.config.reading import LARGEST, read_yaml
from samscope.errors import InputError


def nest(times: int, line: str) -> str:
    """Each line nine times the one before it."""
    grown = (line.format(n, ",".join([f"*a{n - 1}"] * 9)) for n in range(1, times))
    return "a0: &a0 {k: 1}\n" + "\n".join(grown)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (nest(9, "a{0}: &a{0} [{1}]"), "more than 200000 values"),
        (nest(9, "a{0}: &a{0} {{{{<<: [{1}]}}}}".replace("{{{{", "{{").replace("}}}}", "}}")),
         "more than 200000 values"),
        ("a: &a [*a]\n", "more than 200000 values"),
        ("a: " + "[" * 100_000, "deeper than 50 levels"),
        ("a: " + "{a: " * 20_000, "deeper than 50 levels"),
        ("- " * 20_000 + "a", "deeper than 50 levels"),
        ("\n".join("  " * n + "a:" for n in range(200)), "deeper than 50 levels"),
        ("? [1, 2]\n: 3\n", "unhashable key"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a: " + "9" * 10_000, "10000 digits"),
        ("a: 1\n# " + "x" * LARGEST, "4 MB at most"),
    ],
)  # fmt: skip
def test_what_grows_is_refused_at_once(tmp_path, text, words):
    path, begin = tmp_path / "a.yaml", time.process_time()
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert words in str(caught.value)
    assert time.process_time() - begin < 2


def test_half_open_intervals_are_not_deep(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: ['" + "[0, 1) " * 60 + "']\nb: &b [1]\nc: *b\n")
    assert read_yaml(path)["c"] == [1]


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="no regular file"):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="--config: JSON"):
        read_config('{"a": ' + "[" * 100_000)


def test_the_workflow_reads_its_configuration_as_commands_do(project):
    for text, words in (
        ("profile: tiny\nprofile: quick\n", "line 2, column 1: the key profile a second time"),
        ("- a list\n", "file: list is not allowed; allowed: a mapping"),
        ("profile: \xe9", "codec can't decode"),
    ):
        (project.folder / "config.yaml").write_bytes(text.encode("latin-1"))
        done = project.dry_run()
        assert done.returncode
        told = [line for line in done.stdout.splitlines() if "workflow specific" not in line]
        assert len(told) == 1
        assert words in done.stdout
        assert "Traceback" not in done.stdout


def test_a_workflow_from_another_folder_is_told_where_to_start(project, tmp_path_factory):
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    done = project.dry_run("--directory", elsewhere)
    assert f"folder: {elsewhere} is not allowed; allowed: that of the Snakefile" in done.stdout
    assert "Traceback" not in done.stdout
