"""``python -m samscope``: the command line, in a warm process where the workflow keeps one."""

import sys


def main(argv: list[str] | None = None) -> int:
    """The command line, see `samscope.run.cli.main`; 2 as well where a package is lacking."""
    try:
        from samscope.run import cli

        return cli.main(argv)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "samscope":
            raise
        print(f'samscope: needs {error.name}: pip install "samscope[pipeline]"', file=sys.stderr)
        return 2


if __name__ == "__main__":
    from samscope.numerics import pin
    from samscope.run.warm import main as warm

    pin()

    sys.exit(warm(sys.argv[1:], main))
