"""The entry point: ``flux`` and ``python -m flux``."""

import sys

from flux.cli import cli


def main() -> None:
    """Run the command line; the exit code is the command's."""
    sys.exit(cli())


if __name__ == "__main__":
    main()
