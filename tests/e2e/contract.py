"""Validates every record that these tests read against the published schemas."""

import json
from functools import cache

from aiokafka import ConsumerRecord
from jsonschema import Draft202012Validator, FormatChecker

from framematch.core.deadletters import DeadLetter, parse_dead_letter
from framematch.core.events import json_schema
from framematch.core.kafka.topics import Topics

_STAGES = {"decode", "infer"}


def validate(record: ConsumerRecord, topics: Topics) -> None:
    """Check a record of any topic except the frames topic.

    Raises:
        jsonschema.ValidationError: an event does not conform to its JSON Schema.
        AssertionError: its headers do not match the event.
        msgspec.ValidationError: a dead letter lacks a required header.
    """
    schemas = {topics.matches: "match.v1", topics.sightings: "sighting.v1", topics.status: "camera-status.v1"}
    if record.topic in schemas:
        _validate_event(record, schemas[record.topic])
    elif record.topic == topics.deadletter:
        _validate_dead_letter(parse_dead_letter(record), topics)


def _validate_event(record: ConsumerRecord, schema: str) -> None:
    event = json.loads(record.value)
    _validator(schema).validate(event)
    headers = {name: value.decode() for name, value in record.headers}
    camera = event["frame"]["camera"] if "frame" in event else event["camera"]
    assert (headers["ce_specversion"], headers["ce_type"]) == ("1.0", f"framematch.{schema}")
    assert (headers["ce_source"], record.key.decode()) == (f"/framematch/cameras/{camera}", camera)
    assert headers["content-type"] == "application/json"
    assert headers["ce_id"] == event.get("id", headers["ce_id"])


def _validate_dead_letter(dead_letter: DeadLetter, topics: Topics) -> None:
    assert dead_letter.failure.topic == topics.frames
    assert dead_letter.failure.stage in _STAGES
    assert dead_letter.failure.reason
    assert dead_letter.failure.error


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json_schema(schema), format_checker=FormatChecker())
