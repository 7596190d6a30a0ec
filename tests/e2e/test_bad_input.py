"""What a user gets wrong gives one clear line that says what to do, exit code 1 or 2, and never a traceback."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.services import service_environment
from framematch.core.local_stack import LocalStack
from stack.server import ReservedPort


@dataclass(frozen=True)
class Mistake:
    """A command line, what is set for it, and what it must say; `{tmp}` is a folder, `{dead}` a closed port."""

    arguments: str
    exit_code: int
    says: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


MISTAKES = {
    "a missing camera file": Mistake("edge --camera till-1={tmp}/nowhere.mp4", 2, ("till-1", "nowhere.mp4")),
    "a camera without an id": Mistake("edge --camera rtsp://u:canary@h/1", 2, ("ID=SOURCE", "--camera till-1=")),
    "a camera url of an unknown kind": Mistake("edge --camera till-1=gopher://10.0.0.5/1", 2, ("gopher",)),
    "no camera at all": Mistake("edge", 2, ("--camera",)),
    "a broker that is not there": Mistake(
        "edge --camera till-1={tmp}", 1, ("127.0.0.1:{dead}", "KAFKA_BOOTSTRAP_SERVERS"),
        (("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{dead}"),),
    ),
    "no address of Kafka": Mistake(
        "watch", 2, ("kafka.bootstrap_servers is not set", "framematch stack up"), (("KAFKA_BOOTSTRAP_SERVERS", ""),)
    ),
    "a watcher without a broker": Mistake(
        "watch", 1, ("127.0.0.1:{dead}",), (("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:{dead}"),)
    ),
    "a MongoDB that is not there": Mistake(
        "catalog list", 1, ("mongodb://***@127.0.0.1:{dead}",),
        (("MONGODB_URI", "mongodb://u:canary@127.0.0.1:{dead}"), ("FRAMEMATCH_MONGODB__TIMEOUT_S", "0.5")),
    ),
    "a Triton that is not there": Mistake(
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
    "a catalogue file that is not there": Mistake("catalog import {tmp}/nowhere.csv", 2, ("nowhere.csv",)),
    "a catalogue of which no row can be used": Mistake(
        "catalog import {tmp}/bad.csv", 1, ("line 2", "line 3", "no row of", "bad.csv")
    ),
    "a settings typo in the file": Mistake(
        "consume --config {tmp}/typo.yaml", 2, ("unknown setting consumer.batchsize", "consumer.batch_size")
    ),
    "a settings typo in the environment": Mistake(
        "consume", 2, ("FRAMEMATCH_CONSUMER__BATCHSIZE", "FRAMEMATCH_CONSUMER__BATCH_SIZE"),
        (("FRAMEMATCH_CONSUMER__BATCHSIZE", "4"),),
    ),
    "a taken HTTP port": Mistake(
        "edge --camera till-1={tmp}", 2, ("FRAMEMATCH_HTTP__PORT",), (("FRAMEMATCH_HTTP__PORT", "{kafka_port}"),)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_clear_line(name: str, servers: LocalStack, tmp_path: Path) -> None:
    mistake = MISTAKES[name]
    (tmp_path / "bad.csv").write_text("id,name,image\n,No id,a.jpg\nx,Not an image,bad.csv\n")
    (tmp_path / "typo.yaml").write_text("consumer:\n  batchsize: 4\n")
    (tmp_path / "picture.jpg").write_bytes(b"for the folder of images")
    assert servers.kafka_bootstrap_servers
    dead = ReservedPort()
    known = {
        "tmp": str(tmp_path),
        "dead": str(dead.number),
        "kafka_port": servers.kafka_bootstrap_servers.rsplit(":", 1)[1],
    }
    environment = service_environment(tmp_path / "state", servers)
    for variable, value in mistake.environment:
        environment[variable] = value.format(**known)
        if not value:
            del environment[variable]
    arguments = [argument.format(**known) for argument in mistake.arguments.split()]
    done = subprocess.run(
        [sys.executable, "-m", "framematch", *arguments],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == mistake.exit_code, said
    assert [words for words in mistake.says if words.format(**known) not in said] == [], said
    assert "Traceback" not in said
    assert "canary" not in said
    assert sum(line.startswith("framematch:") for line in done.stderr.splitlines()) == 1, said


def test_doctor_finds_everything_when_all_is_there(servers: LocalStack, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "framematch", "doctor"],
        env=service_environment(tmp_path, servers), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [part for part in ("Kafka", "MongoDB", "Triton", "Model", "Index", "GPU") if part not in done.stdout] == []


def test_doctor_says_what_to_do_when_nothing_is_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "framematch", "doctor"],
        env=service_environment(tmp_path) | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.count("framematch stack up") >= 3
