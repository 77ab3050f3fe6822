"""``python -m samscope``: the command line, in a warm process where the workflow keeps one."""

import sys


def _direct(argv: list[str]) -> int:
    from samscope.run.cli import main

    return main(argv)


if __name__ == "__main__":
    from samscope.numerics import pin
    from samscope.run.warm import main as warm

    pin()

    sys.exit(warm(sys.argv[1:], _direct))
