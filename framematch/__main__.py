"""The command `framematch`, also as `python -m framematch`: redacts its arguments and tracebacks, then runs.

Each camera's process imports this module again, so it imports little at its top.
"""

import sys

from framematch.core.redact import redact_argument, redact_uncaught


def main() -> None:
    """Run the command line; secrets are hidden first, because loading the rest of the program takes a while."""
    redact_uncaught()
    _hide_credentials(sys.argv[1:])
    from framematch.cli.app import main as run  # noqa: PLC0415  # the rest of the program

    run()


def _hide_credentials(arguments: list[str]) -> None:
    """Hide the credentials in `arguments` from the process list, where `setproctitle` is installed (extra `edge`)."""
    shown = [redact_argument(argument) for argument in arguments]
    if shown == arguments:
        return
    try:
        from setproctitle import setproctitle  # noqa: PLC0415  # of an extra
    except ImportError:
        return
    setproctitle(" ".join(["framematch", *shown]))


if __name__ == "__main__":
    main()
