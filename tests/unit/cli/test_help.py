"""`--help` of every command has an explanation and an example."""

import pytest
from typer.testing import CliRunner

from framematch.cli.app import app

GROUPS = ["", "deadletter", "catalog", "catalog shadow", "model", "stack", "topics"]
COMMANDS = [
    "edge", "consume", "watch", "cameras", "doctor", "search", "replay", "deadletter list", "deadletter show",
    "deadletter replay",
    "catalog import", "catalog export", "catalog add", "catalog delete",
    "catalog list", "catalog build", "catalog calibrate", "catalog snapshots", "catalog show",
    "catalog diff", "catalog activate", "catalog rollback", "catalog promote", "catalog prune", "catalog shadow set",
    "catalog shadow off",
    "model build", "model check", "stack up", "stack down", "stack status", "topics plan", "topics list",
    "topics create",
]  # fmt: skip


def help_of(command: str) -> str:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_itself_with_an_example(command: str) -> None:
    usage, explanation = help_of(command).split("\n", 2)[1:]
    assert f"framematch {command}" in explanation, f"no example after: {usage}"


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_commands(group: str) -> None:
    own = {command.removeprefix(group).split()[0] for command in COMMANDS if command.startswith(f"{group} ".lstrip())}
    text = help_of(group)
    assert own
    assert {command for command in own if f" {command} " not in text} == set()


def test_without_a_command_the_help_is_shown() -> None:
    assert "Usage:" in CliRunner().invoke(app, []).output


def test_the_batch_size_is_in_regions() -> None:
    assert "number of regions in a batch" in help_of("consume")
