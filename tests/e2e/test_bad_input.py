"""A user's mistake results in one clear line that says what to do, exit code 1 or 2, and no traceback."""

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.services import service_environment
from framematch.__main__ import main
from framematch.core.local_stack import LocalStack
from framematch.stack.server import ReservedPort


@dataclass(frozen=True)
class Mistake:
    """A command, its environment and the words in its output; `{tmp}` is a folder, `{dead}` a closed port."""

    arguments: str
    exit_code: int
    mentions: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


MISTAKES = {
    "a missing camera file": Mistake("edge --camera till-1={tmp}/nowhere.mp4", 2, ("till-1", "nowhere.mp4")),
    "a camera without an id": Mistake("edge --camera rtsp://u:canary@h/1", 2, ("ID=SOURCE", "--camera till-1=")),
    "a camera url of an unknown kind": Mistake("edge --camera till-1=gopher://10.0.0.5/1", 2, ("gopher",)),
    "no camera at all": Mistake("edge", 2, ("--camera",)),
    "an unreachable broker": Mistake(
        "edge --camera till-1={tmp}", 1, ("127.0.0.1:{dead}", "KAFKA_BOOTSTRAP_SERVERS"),
        (("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{dead}"),),
    ),
    "no Kafka address": Mistake(
        "watch", 2, ("kafka.bootstrap_servers is not set", "framematch stack up"), (("KAFKA_BOOTSTRAP_SERVERS", ""),)
    ),
    "a watch command without a broker": Mistake(
        "watch", 1, ("127.0.0.1:{dead}",), (("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{dead}"),)
    ),
    "an unreachable MongoDB": Mistake(
        "catalog products", 1, ("mongodb://***@127.0.0.1:{dead}",),
        (("MONGODB_URI", "mongodb://u:canary@127.0.0.1:{dead}"), ("FRAMEMATCH_MONGODB__TIMEOUT_S", "0.5")),
    ),
    "an unreachable Triton": Mistake(
        "consume", 1, ("127.0.0.1:{dead}", "TRITON_URL"),
        (("TRITON_URL", "127.0.0.1:{dead}"), ("FRAMEMATCH_TRITON__TIMEOUT_S", "0.5")),
    ),
    "a catalogue without an index": Mistake(
        "consume", 1, ("framematch catalog build",), (("FRAMEMATCH_MONGODB__DATABASE", "empty"),)
    ),
    "a catalogue without products": Mistake(
        "catalog build", 1, ("framematch catalog import",), (("FRAMEMATCH_MONGODB__DATABASE", "empty"),)
    ),
    "a folder without a model": Mistake("model build --from {tmp}", 1, ("config.json",)),
    "a missing catalogue file": Mistake("catalog import {tmp}/nowhere.csv", 2, ("nowhere.csv",)),
    "a catalogue file without a valid row": Mistake(
        "catalog import {tmp}/bad.csv", 1, ("line 2", "line 3", "no row of", "bad.csv")
    ),
    "a settings typo in the file": Mistake(
        "consume --config {tmp}/typo.yaml", 2, ("unknown setting consumer.batchsize", "consumer.batch_size")
    ),
    "a settings typo in the environment": Mistake(
        "consume", 2, ("FRAMEMATCH_CONSUMER__BATCHSIZE", "FRAMEMATCH_CONSUMER__BATCH_SIZE"),
        (("FRAMEMATCH_CONSUMER__BATCHSIZE", "4"),),
    ),
    "an HTTP port in use": Mistake(
        "edge --camera till-1={tmp}", 2, ("FRAMEMATCH_HTTP__PORT",), (("FRAMEMATCH_HTTP__PORT", "{kafka_port}"),)
    ),
}  # fmt: skip


@pytest.fixture
def _own_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program replaces these for its process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)


# In this process: how a process of its own ends is the subject of tests/unit/cli/test_exits.py.
@pytest.mark.usefixtures("_own_hooks")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_in_one_clear_line(
    name: str, servers: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mistake = MISTAKES[name]
    (tmp_path / "bad.csv").write_text("id,name,image\n,No id,a.jpg\nx,Not an image,bad.csv\n")
    (tmp_path / "typo.yaml").write_text("consumer:\n  batchsize: 4\n")
    (tmp_path / "picture.jpg").write_bytes(b"for the folder of images")
    assert servers.kafka_bootstrap_servers
    dead = ReservedPort()
    places = {
        "tmp": str(tmp_path),
        "dead": str(dead.number),
        "kafka_port": servers.kafka_bootstrap_servers.rsplit(":", 1)[1],
    }
    for variable, value in service_environment(tmp_path / "state", servers).items():
        monkeypatch.setenv(variable, value)
    for variable, value in mistake.environment:
        if value:
            monkeypatch.setenv(variable, value.format(**places))
        else:
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["framematch", *(part.format(**places) for part in mistake.arguments.split())])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capfd.readouterr()
    output = printed.out + printed.err
    assert ended.value.code == mistake.exit_code, output
    assert [words for words in mistake.mentions if words.format(**places) not in output] == [], output
    assert "Traceback" not in output
    assert "canary" not in output
    said = [line for line in printed.err.splitlines() if line.startswith("framematch:") or "service_failed" in line]
    assert len(said) == 1, output


def test_doctor_finds_every_part_when_all_are_running(servers: LocalStack, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "framematch", "doctor"],
        env=service_environment(tmp_path, servers), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [part for part in ("Kafka", "MongoDB", "Triton", "Model", "Index", "GPU") if part not in done.stdout] == []


def test_doctor_says_what_to_do_when_nothing_is_running(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "framematch", "doctor"],
        env=service_environment(tmp_path) | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.count("framematch stack up") >= 3
