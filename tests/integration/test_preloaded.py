"""A process that is forked is to its starter as one that an interpreter begins."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.preloaded.process import PreloadedProcess, run

HERE = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}


def test_it_has_its_own_exit_code_output_environment_and_folder(tmp_path: Path) -> None:
    done = run("nonesuch", environment=HERE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'nonesuch'" in done.stderr
    refused = run("topics", "list", environment={**HERE, "FRAMEMATCH_KAFKA__NONESUCH": "1"}, folder=tmp_path)
    assert "FRAMEMATCH_KAFKA__NONESUCH" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_of_signals(number: signal.Signals) -> None:
    ours, theirs = os.pipe()
    with PreloadedProcess("code", [], environment=HERE, streams=(ours, theirs, theirs)) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(60) == -number
        process.kill()  # does nothing, as it has ended
    os.close(ours)
    os.close(theirs)
