"""A process that has imported Snakemake and forks a child for each call of it.

Of the five seconds that a dry run takes, two are imports and two are digests of code, the same for
every project without a source of its own. One with such a source imports the package from there.
"""

import json
import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def call(argv: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    """Run ``snakemake`` with these arguments in a folder; stdout and stderr together."""
    server = _server()
    asked = {"argv": argv, "folder": str(folder), "env": env}
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    status, told = json.loads(server.stdout.readline())
    return subprocess.CompletedProcess(argv, status, told)


@cache
def _server() -> subprocess.Popen:
    """It ends with this process, which holds its input."""
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen([sys.executable, __file__], **piped, env=env)


# What a dry run imports when it comes to it: half of its time.
LATE = (
    *("requests", "smart_open", "yte", "snakemake.report.html_reporter"),
    *("samscope.run.project", "snakemake_logger_plugin_samscope"),
)


def _serve() -> None:
    import snakemake.cli

    from samscope.digests import digest

    for name in LATE:
        import_module(name)
    snakemake.cli.get_argument_parser()  # looks for plugins
    for path in sorted(SOURCE.glob("samscope/**/*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        digest(name.removesuffix(".__init__"))
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            _become(snakemake.cli.main, **json.loads(line))
        os.close(writing)
        with open(reading) as told:
            text = told.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, text]), flush=True)


def _become(main, argv, folder, env) -> None:
    """In the child: be the command, and leave."""
    status = 1
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = ["snakemake", *argv]
        sys.path[:0] = env["PYTHONPATH"].split(":")
        if Path(folder, "src").is_dir():
            for name in [name for name in sys.modules if name.partition(".")[0] == "samscope"]:
                del sys.modules[name]
        main(argv)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
