"""Replaces itself by a program that the kernel kills when its starter ends: `launcher.py STARTER_PID PROGRAM ARG…`."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Request the parent-death signal, check that the starter was still running then, and run the program.

    The kernel regards the *thread* that started this process as its parent; `process.py` keeps that thread alive.
    """
    starter_pid, *command = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(starter_pid):  # it ended before the request
        sys.exit("the starter has ended")
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command is ours, and no shell is wanted
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
