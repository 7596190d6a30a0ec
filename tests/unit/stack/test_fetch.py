"""`make servers` installs everything that the servers need."""

import pytest

from framematch.core.errors import FramematchError
from framematch.stack import fetch
from framematch.stack.cache import Report
from framematch.stack.kafka import KafkaServer
from framematch.stack.mediamtx import MediaMtxServer
from framematch.stack.mongodb import MongoServer
from framematch.stack.server import Server
from framematch.stack.triton import TritonServer

KINDS: tuple[type[Server], ...] = (KafkaServer, MediaMtxServer, MongoServer, TritonServer)


def test_all_servers_are_installed_with_progress_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(server: Server, report: Report) -> None:
        report(f"fetching {server.name}")

    for kind in KINDS:
        monkeypatch.setattr(kind, "install", install)
    assert fetch.main() == 0
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "fetching kafka", "fetching mediamtx", "fetching mongodb", "fetching triton",
    ]  # fmt: skip


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def install(server: Server, _report: Report) -> None:
        if server.name == "triton":
            raise FramematchError("fetching Triton failed", hint="Check the network")

    for kind in KINDS:
        monkeypatch.setattr(kind, "install", install)
    assert fetch.main() == 1
    assert capsys.readouterr().err == "fetching Triton failed. Check the network\n"
