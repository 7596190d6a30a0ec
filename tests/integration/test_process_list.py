"""The process list shows no passwords of `framematch`, even before the program is loaded."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

# Prints what the process list shows when the rest of the program would be loaded.
PROGRAM = """
import sys
from pathlib import Path

class Rest:
    def find_spec(self, name, path=None, target=None):
        if name == "framematch.cli":
            print(Path("/proc/self/cmdline").read_text().rstrip("\\0").replace("\\0", " "))
            sys.exit()

sys.meta_path.insert(0, Rest())
from framematch.__main__ import main
main()
"""


def shown(*arguments: str) -> str:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_a_password_is_hidden_first_of_all() -> None:
    found = shown("edge", "--camera", "till-1=rtsp://user:hunter2@10.0.0.5/1", "--fps", "2")
    assert found == "framematch edge --camera till-1=rtsp://***@10.0.0.5/1 --fps 2"


def test_arguments_without_a_password_are_unchanged() -> None:
    assert shown("watch", "--camera", "till-1").startswith(sys.executable)
