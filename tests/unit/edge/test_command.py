"""`framematch edge`: cameras on the command line, and mistakes reported in one line without secrets."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from framematch.cli.app import app
from framematch.cli.edge import parse_cameras
from framematch.core.errors import FramematchError, UsageError

CANARY = "hunter2"


def test_cameras_are_given_as_id_and_source() -> None:
    given = ["till-1=rtsp://h/1?a=b", "till-2=0"]
    assert parse_cameras(given) == {"till-1": "rtsp://h/1?a=b", "till-2": "0"}


@pytest.mark.parametrize("text", ["till-1", "till-1=", "rtsp://h/x?token=1"])
def test_a_camera_without_id_or_source_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="not of the form ID=SOURCE"):
        parse_cameras([text])


def test_an_invalid_camera_id_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="camera id 'till 1'"):
        parse_cameras(["till 1=0"])


def test_an_id_given_twice_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="till-1 is given twice"):
        parse_cameras(["till-1=0", "till-1=1"])


def test_a_mistake_does_not_show_the_password() -> None:
    with pytest.raises(UsageError) as raised:
        parse_cameras([f"rtsp://user:{CANARY}@10.0.0.5/1?a=b"])
    assert CANARY not in str(raised.value)


def test_no_cameras_is_wrong_usage_that_says_what_to_do() -> None:
    result = CliRunner().invoke(app, ["edge"], env={"FRAMEMATCH_LOG__FORMAT": "console"})
    assert isinstance(result.exception, FramematchError)
    assert result.exception.exit_code == 2
    assert "no cameras are set. Give --camera" in str(result.exception)


def test_the_help_explains_where_passwords_belong_and_has_examples() -> None:
    text = re.sub(r"\s+", " ", CliRunner().invoke(app, ["edge", "--help"]).stdout)
    assert "Put a camera's password into a file" in text
    assert "--camera till-1=@/run/secrets/till-1 --transport udp --motion --regions motion" in text
    assert "framematch edge --config edge.yaml --dry-run --out pictures" in text
    assert "framematch edge --camera shelf=videos/shelf.mp4 --fps 2 --loop" in text


@pytest.mark.parametrize(
    "arguments",
    [[f"rtsp://u:{CANARY} x@h"], ["--camera"], [f"--camera=rtsp://u:{CANARY}@h"], ["--fps", f"u:{CANARY}@h"]],
)
def test_no_mistake_on_the_command_line_shows_a_password(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["edge", *arguments])
    assert result.exit_code != 0
    assert CANARY not in result.output + str(result.exception)


def test_a_folder_for_pictures_that_is_a_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["edge", "--dry-run", "--out", str(tmp_path / "file")])
    assert result.exit_code == 2
