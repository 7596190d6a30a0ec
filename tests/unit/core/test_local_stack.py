"""Which process a recorded process id belongs to."""

import os
import subprocess
import sys

from framematch.core.local_stack import process_start


def test_a_process_keeps_its_start() -> None:
    assert process_start(os.getpid()) == process_start(os.getpid())


def test_two_processes_have_different_starts() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        start = process_start(other.pid)
        other.kill()
    assert start is not None
    assert start != process_start(os.getpid())


def test_a_process_that_does_not_exist_has_none() -> None:
    assert process_start(2**22 + 1) is None
