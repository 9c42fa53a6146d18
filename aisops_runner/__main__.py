"""Entry point of `aisops-runner` and of `python -m aisops_runner`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from aisops_runner.cli.failure import run
    from aisops_runner.cli.main import main as command

    sys.exit(run(command, sys.argv[1:]))


if __name__ == "__main__":
    main()
