"""The entry point: ``flux`` and ``python -m flux``."""

import sys


def main() -> None:
    """Run the command line; the exit code is the command's."""
    try:
        from flux.cli import cli  # noqa: PLC0415 - takes most of a second, in which Ctrl-C may come
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(cli())


if __name__ == "__main__":
    main()
