"""How dead letters are shown, and which arguments are refused before connecting to Kafka."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from framematch.cli.app import app
from framematch.cli.deadletter_table import full, json_line, table
from framematch.core.deadletters import DeadLetter, Failure
from framematch.core.errors import UsageError

DEAD_LETTER = DeadLetter(
    position=(0, 17),
    at_ms=1_767_225_600_000,
    key=b"till-1",
    value=b"bytes",
    size_bytes=84_210,
    headers=(("ce_id", b"x"), ("odd", b"\xff\x1b[2J")),
    failure=Failure("decode", "truncated", "it ends early", "framematch.frames", 3, 1007, 1_767_225_599_500),
)
OMITTED = replace(DEAD_LETTER, value=None, headers=(), failure=replace(DEAD_LETTER.failure, omitted_bytes=84_210))


def text_of(shown: RenderableType) -> str:
    text = StringIO()
    Console(file=text, width=200).print(shown)
    return " ".join(text.getvalue().split())


def test_a_row_has_time_position_and_reason() -> None:
    assert "0:17 2026-01-01 00:00:00 till-1 decode truncated it ends early framematch.frames 3:1007 84.2 kB" in text_of(
        table([DEAD_LETTER])
    )
    assert "84.2 kB, not kept" in text_of(table([OMITTED]))


def test_a_json_line_has_everything_but_bytes_and_headers() -> None:
    assert json.loads(json_line(DEAD_LETTER)) == {
        "letter": "0:17",
        "written_at": "2026-01-01T00:00:00.000000Z",
        "camera": "till-1",
        "stage": "decode",
        "reason": "truncated",
        "error": "it ends early",
        "topic": "framematch.frames",
        "partition": 3,
        "offset": 1007,
        "timestamp": "2025-12-31T23:59:59.500000Z",
        "size_bytes": 84_210,
        "whole": True,
    }
    assert json.loads(json_line(OMITTED))["whole"] is False


def test_a_time_beyond_the_year_9999_is_shown_as_it_is() -> None:
    far = replace(DEAD_LETTER, failure=replace(DEAD_LETTER.failure, timestamp_ms=2**62))
    assert json.loads(json_line(far))["timestamp"] == f"{2**62} ms"


@pytest.mark.parametrize("dead_letter", [DEAD_LETTER, replace(DEAD_LETTER, key=b"\x1b[2J")])
def test_a_shown_record_contains_no_control_characters(dead_letter: DeadLetter) -> None:
    assert "\x1b" not in text_of(full(dead_letter)) + text_of(table([dead_letter]))


def test_a_dead_letter_is_shown_with_the_headers_of_its_record() -> None:
    said = text_of(full(DEAD_LETTER))
    assert "error it ends early" in said
    assert "timestamp 2025-12-31T23:59:59.500000Z" in said
    assert "headers of the record ce_id x odd ??[2J" in said.replace("\ufffd", "?")
    assert text_of(full(replace(OMITTED, key=None))).endswith("headers of the record -")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "it is not clear which dead letters to send"),
        (["replay", "0:1", "--all"], "it is not clear which dead letters to send"),
        (["replay", "--all", "--reason", "truncated"], "it is not clear which dead letters to send"),
        (["show", "first"], "'first' is no position of a dead letter"),
        (["show", "0:-1"], "'0:-1' is no position of a dead letter"),
    ],
)
def test_ambiguous_arguments_are_wrong_usage(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, ["deadletter", *arguments]).exception
    assert isinstance(refused, UsageError)
    assert said in refused.message
