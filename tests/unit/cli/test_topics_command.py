"""`framematch topics`: its options and output."""

import json
import shlex

import pytest
from aiokafka.admin import NewTopic
from typer.testing import CliRunner

from framematch.cli.app import app
from framematch.cli.topic_report import create_commands, settings_lines, state_table
from framematch.core.errors import UsageError
from framematch.core.kafka.cluster_state import ClusterState, TopicState, differences
from framematch.core.kafka.topics import Topics, topic_specs
from framematch.core.settings import KafkaSettings


def plan(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["topics", "plan", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_plan_ends_with_settings_and_a_command_for_each_topic() -> None:
    text = plan("--cameras", "200", "--fps", "5")
    assert "1,000 frames/s" in text
    assert "  partitions: 48\n" in text
    assert text.count("kafka-topics.sh --bootstrap-server KAFKA:9092 --create") == len(Topics("framematch").all)


def test_json_has_the_same_numbers() -> None:
    found = json.loads(plan("--cameras", "200", "--fps", "5", "--json"))
    assert (found["partitions"], found["consumers"]) == (48, 12)
    assert [topic["name"] for topic in found["topics"]] == ["frames", "matches", "sightings", "deadletter", "logs"]


def test_missing_options_are_taken_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_EDGE__FPS", "2")
    monkeypatch.setenv("FRAMEMATCH_KAFKA__FRAMES_RETENTION_MINUTES", "10")
    text = plan("--cameras", "10")
    assert "10 x 2 frames/s" in text
    assert "frames_retention_minutes: 10" in text


@pytest.mark.parametrize("given", [("--fps", "0"), ("--retention-minutes", "0"), ("--events-hours", "-1")])
def test_values_that_are_not_above_0_are_refused(given: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        plan("--cameras", "10", *given)


def test_a_command_can_be_pasted_into_a_shell() -> None:
    kafka = KafkaSettings(bootstrap_servers="one:9092,two:9092", partitions=24, frames_retention_minutes=1)
    words = shlex.split(create_commands(kafka, topic_specs(kafka, brokers=3))[0])
    assert words[:3] == ["kafka-topics.sh", "--bootstrap-server", "one:9092,two:9092"]
    assert words[words.index("--partitions") + 1] == "24"
    assert "retention.ms=60000" in words


def test_the_settings_are_those_of_the_settings_file() -> None:
    kafka = KafkaSettings(partitions=24, replication_factor=2, frames_retention_minutes=7.5)
    assert settings_lines(kafka) == [
        "kafka:",
        "  partitions: 24",
        "  replication_factor: 2",
        "  frames_retention_minutes: 7.5",
        "  matches_retention_hours: 168",
    ]


def test_the_differences_of_a_topic_from_the_settings_are_listed() -> None:
    wanted = NewTopic("framematch.frames", 24, 3, topic_configs={"retention.ms": "60000"})
    same = TopicState("framematch.frames", 24, 3, {"retention.ms": "60000", "segment.bytes": "1"})
    other = TopicState("framematch.frames", 12, 3, {"retention.ms": "3600000"})
    assert differences(wanted, same) == []
    assert differences(wanted, other) == ["partitions 12, not 24", "retention.ms 3600000, not 60000"]


def test_the_list_shows_what_is_missing_and_how_long_records_are_kept() -> None:
    specs = [NewTopic(f"framematch.{name}", 1, 1) for name in ("frames", "status", "matches")]
    frames = TopicState("framematch.frames", 1, 1, {"retention.ms": "5400000", "cleanup.policy": "delete"})
    status = TopicState("framematch.status", 1, 1, {"retention.ms": "1", "cleanup.policy": "compact"})
    table = state_table(specs, ClusterState(1, {topic.name: topic for topic in (frames, status)}))
    assert list(table.columns[3].cells) == ["1.5", "compacted", "-"]
    assert list(table.columns[4].cells) == ["", "", "missing: framematch topics create"]
