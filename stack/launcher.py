"""Becomes another program that the kernel kills once its starter is gone: `launcher.py STARTER_PID PROGRAM ARG…`."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask for the signal, make sure that the starter still lived then, and become the program.

    The kernel counts the *thread* that started this process as its parent; `stack.process` keeps that thread alive.
    """
    starter_pid, *command = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(starter_pid):  # it died before the kernel knew that we care
        sys.exit("the starter is gone")
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command is ours, and no shell is wanted
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
