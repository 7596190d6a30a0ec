"""What the process list shows of the command `framematch` while the rest of the program is not even loaded yet."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

# In place of loading the rest of the program it prints what the process list shows by then.
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


def test_a_password_is_taken_out_first_of_all() -> None:
    found = shown("edge", "--camera", "till-1=rtsp://user:hunter2@10.0.0.5/1", "--fps", "2")
    assert found == "framematch edge --camera till-1=rtsp://***@10.0.0.5/1 --fps 2"


def test_arguments_without_one_stay_as_they_are() -> None:
    assert shown("watch", "--camera", "till-1").startswith(sys.executable)
