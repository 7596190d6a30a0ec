"""The command `framematch`, also as `python -m framematch`: hides what the process list must not show, then runs.

What this module imports at its top is imported again by each camera's process, and before the arguments are hidden.
"""

import sys

from framematch.core.redact import redact_argument


def main() -> None:
    """Run the command line, with its arguments hidden before the rest of the program is loaded: that takes a while."""
    _hide_credentials(sys.argv[1:])
    from framematch.cli.app import main as run  # noqa: PLC0415  # the rest of the program

    run()


def _hide_credentials(arguments: list[str]) -> None:
    """Take credentials in `arguments` out of what everyone on the machine can see of this process."""
    shown = [redact_argument(argument) for argument in arguments]
    if shown == arguments:
        return
    try:
        from setproctitle import setproctitle  # noqa: PLC0415  # of the extra `edge`, the one command that takes URLs
    except ImportError:
        return
    setproctitle(" ".join(["framematch", *shown]))


if __name__ == "__main__":
    main()
