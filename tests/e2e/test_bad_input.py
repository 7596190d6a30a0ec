"""A user's mistake results in one clear line that says what to do, exit code 1 or 2, and no traceback."""

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from demo.services import service_environment
from framematch.__main__ import main
from framematch.core.local_stack import LocalStack
from tests.preloaded.process import run


@dataclass(frozen=True)
class Mistake:
    """A command, its environment and the words in its output; `{tmp}` is a folder, `{dead}` a closed port."""

    arguments: str
    exit_code: int
    mentions: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


# Found before a server is asked, so these can be run in the test's process.
AT_ONCE = {
    "a missing camera file": Mistake("edge --camera till-1={tmp}/nowhere.mp4", 2, ("till-1", "nowhere.mp4")),
    "a camera without an id": Mistake("edge --camera rtsp://u:canary@h/1", 2, ("ID=SOURCE", "--camera till-1=")),
    "a camera url of an unknown kind": Mistake("edge --camera till-1=gopher://10.0.0.5/1", 2, ("gopher",)),
    "no camera at all": Mistake("edge", 2, ("--camera",)),
    "no Kafka address": Mistake(
        "watch", 2, ("kafka.bootstrap_servers is not set", "framematch stack up"), (("KAFKA_BOOTSTRAP_SERVERS", ""),)
    ),
    "a folder without a model": Mistake("model build --from {tmp}", 1, ("config.json",)),
    "a settings typo in the file": Mistake(
        "consume --config {tmp}/typo.yaml", 2, ("unknown setting consumer.batchsize", "consumer.batch_size")
    ),
    "a settings typo in the environment": Mistake(
        "consume", 2, ("FRAMEMATCH_CONSUMER__BATCHSIZE", "FRAMEMATCH_CONSUMER__BATCH_SIZE"),
        (("FRAMEMATCH_CONSUMER__BATCHSIZE", "4"),),
    ),
}  # fmt: skip
# In a process of their own, because the servers' clients leave sockets to the garbage collector.
WITH_SERVERS = {
    "an unreachable broker": Mistake(
        "edge --camera till-1={tmp}", 1, ("127.0.0.1:{dead}", "KAFKA_BOOTSTRAP_SERVERS"),
        (("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{dead}"),),
    ),
    "a watch command without a broker": Mistake(
        "watch", 1, ("127.0.0.1:{dead}",), (("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{dead}"),)
    ),
    "an unreachable MongoDB": Mistake(
        "catalog list", 1, ("mongodb://***@127.0.0.1:{dead}",),
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
    "a missing catalogue file": Mistake("catalog import {tmp}/nowhere.csv", 2, ("nowhere.csv",)),
    "a catalogue file without a valid row": Mistake(
        "catalog import {tmp}/bad.csv", 1, ("line 2", "line 3", "no row of", "bad.csv")
    ),
    "an HTTP port in use": Mistake(
        "edge --camera till-1={tmp}", 2, ("FRAMEMATCH_HTTP__PORT",), (("FRAMEMATCH_HTTP__PORT", "{kafka_port}"),)
    ),
}  # fmt: skip


def prepare(
    mistake: Mistake, folder: Path, servers: LocalStack, dead_address: str
) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
    """Write the files in `folder`; returns the arguments, the environment, and the words in the output."""
    (folder / "bad.csv").write_text("id,name,image\n,No id,a.jpg\nx,Not an image,bad.csv\n")
    (folder / "typo.yaml").write_text("consumer:\n  batchsize: 4\n")
    (folder / "picture.jpg").write_bytes(b"for the folder of images")
    assert servers.kafka_bootstrap_servers
    places = {
        "tmp": str(folder),
        "dead": dead_address.rsplit(":", 1)[1],
        "kafka_port": servers.kafka_bootstrap_servers.rsplit(":", 1)[1],
    }
    environment = service_environment(folder / "state", servers)
    for variable, value in mistake.environment:
        environment[variable] = value.format(**places)
        if not value:
            del environment[variable]
    mentions = tuple(words.format(**places) for words in mistake.mentions)
    return [part.format(**places) for part in mistake.arguments.split()], environment, mentions


def check(mistake: Mistake, mentions: Sequence[str], code: object, stdout: str, stderr: str) -> None:
    output = stdout + stderr
    assert code == mistake.exit_code, output
    assert [words for words in mentions if words not in output] == [], output
    assert "Traceback" not in output
    assert "canary" not in output
    said = [line for line in stderr.splitlines() if line.startswith("framematch:") or "service_failed" in line]
    assert len(said) == 1, output


@pytest.mark.parametrize("name", WITH_SERVERS)
def test_a_mistake_about_servers_is_reported_in_one_clear_line(
    name: str, servers: LocalStack, dead_address: str, tmp_path: Path
) -> None:
    mistake = WITH_SERVERS[name]
    arguments, environment, mentions = prepare(mistake, tmp_path, servers, dead_address)
    done = run(*arguments, environment=environment, folder=tmp_path)
    check(mistake, mentions, done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_mistake_is_reported_in_one_clear_line(
    name: str,
    dead_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    mistake = AT_ONCE[name]
    no_servers = LocalStack(0, dead_address, f"mongodb://{dead_address}", dead_address, None, None, None, "")
    arguments, environment, mentions = prepare(mistake, tmp_path, no_servers, dead_address)
    for owner in (sys, threading):  # the program replaces it for its process
        monkeypatch.setattr(owner, "excepthook", owner.excepthook)
    monkeypatch.setattr(sys, "argv", ["framematch", *arguments])
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ, environment, clear=True), pytest.raises(SystemExit) as ended:
        main()
    printed = capfd.readouterr()
    check(mistake, mentions, ended.value.code, printed.out, printed.err)


def test_doctor_finds_every_part_when_all_are_running(servers: LocalStack, tmp_path: Path) -> None:
    done = run("doctor", environment=service_environment(tmp_path, servers))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [part for part in ("Kafka", "MongoDB", "Triton", "Model", "Index", "GPU") if part not in done.stdout] == []


def test_doctor_says_what_to_do_when_nothing_is_running(tmp_path: Path) -> None:
    done = run("doctor", environment=service_environment(tmp_path) | {"COLUMNS": "200"})
    assert done.returncode == 1
    assert done.stdout.count("framematch stack up") >= 3
