"""Workers of one service as real processes: they share the partitions, are restarted, and stop together."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from framematch.stack.kafka import KafkaServer
from tests.integration.edge_service import command_line, new_prefix, process_tree
from tests.support import freeze, resume, wait_until

pytestmark = pytest.mark.integration

TWO = {"FRAMEMATCH_CONSUMER__WORKERS": "2", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}  # nothing listens there


class Workers:
    """A parent with its workers, and their output."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    def lines(self) -> list[str]:
        return self._output.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()

    def events(self, event: str, **fields: str) -> list[dict[str, Any]]:
        logged = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [line for line in logged if line["event"] == event and fields.items() <= line.items()]

    def pids(self) -> dict[str, int]:
        """The last process of each worker."""
        return {event["worker"]: event["pid"] for event in self.events("worker_started")}

    def get(self, path: str) -> tuple[int, str]:
        [listening] = [event for event in self.events("http_listening") if "worker" not in event]
        try:
            with urllib.request.urlopen(listening["url"] + path, timeout=10) as answer:  # noqa: S310  # our own program
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def ready(self) -> bool:
        return bool(self.events("http_listening")) and self.get("/readyz")[0] == 200

    def metric(self, name: str) -> dict[str, float]:
        """The values of a metric by worker."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {sample.labels["worker"]: sample.value for sample in samples}

    def exit_code(self) -> int:
        return self.process.wait(60)


@contextmanager
def workers(folder: Path, service: str, **settings: str) -> Iterator[Workers]:
    """Two workers that run this service; all are killed after the block."""
    output = folder / "output"
    with (
        TemporaryDirectory() as sockets,  # a killed parent leaves them behind; `folder` is too long for their paths
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.worker_program", service],
            env={**os.environ, **TWO, **settings, "TMPDIR": sockets},
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        ) as process,
    ):
        try:
            yield Workers(process, output)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def ready_workers(folder: Path, service: str = "serves", **settings: str) -> Iterator[Workers]:
    with workers(folder, service, **settings) as found:
        wait_until(found.ready, message="all workers are ready")
        yield found


def topics(kafka: KafkaServer, partitions: int) -> dict[str, str]:
    """Settings for topics of the test's own."""
    prefix = new_prefix()
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_GROUP_ID": prefix,
        "FRAMEMATCH_KAFKA__TOPIC_PREFIX": prefix,
        "FRAMEMATCH_KAFKA__PARTITIONS": str(partitions),
    }


@pytest.fixture(scope="module")
def parent(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two workers for one partition, shared by several tests."""
    folder, secret = tmp_path_factory.mktemp("workers"), "mongodb://user:canary@mongodb"
    with ready_workers(folder, **topics(kafka, partitions=1), MONGODB_URI=secret) as found:
        yield found


def test_more_workers_than_partitions_cause_a_warning(parent: Workers) -> None:
    wait_until(lambda: parent.events("workers_idle"), message="the warning")
    [warning] = parent.events("workers_idle")
    assert (warning["level"], warning["workers"], warning["partitions"]) == ("warning", 2, 1)


def test_what_a_worker_writes_to_stderr_is_an_event_of_its_parent_even_when_it_crashes(tmp_path: Path) -> None:
    with workers(tmp_path, "crashes") as parent:
        wait_until(lambda: parent.events("worker_restarted"), message="the worker's next start")
        for text in ("raw words of a library", "Fatal Python error: Segmentation fault"):
            wait_until(partial(has_written, parent, text), message=text)
        assert [line for line in parent.lines() if not line.startswith("{")] == []


def has_written(parent: Workers, text: str) -> bool:
    return any(text in event["text"] for event in parent.events("output_unstructured"))


def test_every_log_line_of_a_worker_has_its_number(parent: Workers) -> None:
    listening = parent.events("http_listening")
    assert sorted(event.get("worker", "parent") for event in listening) == ["1", "2", "parent"]


def test_no_argument_of_a_worker_contains_a_secret(parent: Workers) -> None:
    family = process_tree(parent.process.pid)
    assert len(family) >= 3
    assert [pid for pid in family if "canary" in command_line(pid)] == []


def test_a_stuck_worker_makes_the_service_unhealthy(parent: Workers) -> None:
    assert parent.get("/healthz") == (200, '{"status": "ok"}')
    freeze(parent.pids()["1"])
    assert parent.get("/healthz") == (503, '{"worker-1": "no answer within 2 s"}')
    resume(parent.pids()["1"])
    wait_until(parent.ready)


def test_a_killed_worker_is_restarted_and_the_reason_is_logged(parent: Workers) -> None:
    before = parent.pids()
    os.kill(before["2"], signal.SIGKILL)
    wait_until(lambda: parent.pids()["2"] != before["2"] and parent.ready(), message="another process")
    assert parent.metric("framematch_consumer_worker_restarts_total") == {"1": 0, "2": 1}
    assert parent.pids()["1"] == before["1"]
    [ended] = parent.events("worker_ended")
    assert (ended["worker"], ended["exit_code"], ended["reason"]) == ("2", -9, "signal 9 (Killed)")
    assert [event["worker"] for event in parent.events("worker_restarted")] == ["2"]


def test_workers_share_the_partitions_and_exit_with_0_after_sigterm(kafka: KafkaServer, tmp_path: Path) -> None:
    with ready_workers(tmp_path, "consumes", **topics(kafka, partitions=4)) as parent:
        wait_until(lambda: parent.metric("assigned") == {"1": 2, "2": 2}, message="two partitions each")
        assert parent.metric("framematch_consumer_worker_up") == {"1": 1, "2": 1}
        parent.process.terminate()
        assert parent.exit_code() == 0
    assert not parent.events("workers_idle")


def test_ctrl_c_in_a_terminal_lets_every_worker_finish(tmp_path: Path) -> None:
    with ready_workers(tmp_path) as parent:
        os.killpg(parent.process.pid, signal.SIGINT)
        assert parent.exit_code() == 0
    assert parent.lines().count("finished") == 2
    assert not parent.events("service_cancelled")


def test_a_sigterm_to_every_process_at_once_lets_every_worker_finish(tmp_path: Path) -> None:
    """As systemd sends it: workers get it once more from their parent."""
    with ready_workers(tmp_path, "finishes_late") as parent:
        os.killpg(parent.process.pid, signal.SIGTERM)
        assert parent.exit_code() == 0
    assert parent.lines().count("finished") == 2
    assert not parent.events("service_cancelled")


def test_workers_stopped_while_they_start_exit_with_0(tmp_path: Path) -> None:
    with workers(tmp_path, "serves") as parent:
        wait_until(lambda: len(parent.pids()) == 2, message="both processes")
        parent.process.terminate()
        assert parent.exit_code() == 0


def test_a_worker_that_fails_at_shutdown_makes_the_exit_code_1(tmp_path: Path) -> None:
    with workers(tmp_path, "fails_at_shutdown") as parent:
        wait_until(lambda: parent.lines().count("started") == 2, message="both workers")
        assert parent.get("/healthz")[0] == 200
        assert parent.get("/readyz") == (503, '{"worker-1": "starting", "worker-2": "starting"}')
        parent.process.terminate()
        assert parent.exit_code() == 1
    assert parent.lines()[-1] == "framematch: worker 1 did not end as it should: not done. Do it"


def test_wrong_settings_stop_all_workers_with_exit_code_2_and_one_line(tmp_path: Path) -> None:
    with workers(tmp_path, "refuses") as parent:
        assert parent.exit_code() == 2
    assert [line for line in parent.lines() if "this cannot be" in line] == ["framematch: this cannot be. Set it right"]


def test_workers_whose_parent_is_killed_finish_and_exit(tmp_path: Path) -> None:
    with ready_workers(tmp_path) as parent:
        family = process_tree(parent.process.pid)[1:]
        assert len(family) >= 2
        parent.process.kill()
        wait_until(lambda: not any(map(command_line, family)), message="every process is gone")
        assert parent.lines().count("finished") == 2
