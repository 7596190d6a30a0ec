"""Settings: their sources and priorities, and the errors for mistakes."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from docs.settings_reference import settings_reference
from framematch.core.errors import AddressNotSetError, SettingsError
from framematch.core.local_stack import LocalStack, process_start, state_file, write_local_stack
from framematch.core.redact import redact
from framematch.core.settings import CONVENTIONAL_NAMES, RENAMED
from framematch.core.settings_sources import load_settings, require


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "framematch.yaml"
    path.write_text(text)
    return path


def test_without_any_source_no_address_is_assumed() -> None:
    settings = load_settings()
    assert (settings.kafka.bootstrap_servers, settings.mongodb.uri, settings.triton.url) == (None, None, None)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_EDGE__FPS", "3")
    assert load_settings(yaml_file(tmp_path, "edge: {fps: 2, max_side: 320}")).edge.fps == 3
    assert load_settings(yaml_file(tmp_path, "edge: {fps: 2, max_side: 320}")).edge.max_side == 320


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_EDGE__FPS", "3")
    assert load_settings(overrides={"edge": {"fps": 1}}).edge.fps == 1


@pytest.mark.parametrize("name", sorted(CONVENTIONAL_NAMES))
def test_a_conventional_variable_sets_its_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    section, key = CONVENTIONAL_NAMES[name]
    values = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092,[::1]:9093", "TRITON_URL": "triton:8001"}
    values |= {"LOG_LEVEL": "error", "RTSP_TRANSPORT": "udp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    value = values.get(name, "mongodb://somewhere")
    monkeypatch.setenv(name, value)
    found = getattr(getattr(load_settings(), section), key)
    assert (found.get_secret_value() if hasattr(found, "get_secret_value") else found) == value


def test_our_own_variable_wins_over_the_conventional_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "conventional:9092")
    monkeypatch.setenv("FRAMEMATCH_KAFKA__BOOTSTRAP_SERVERS", "own:9092")
    assert load_settings().kafka.bootstrap_servers == "own:9092"


STACK_KEY = "canary-of-the-local-stack"


def local_stack(pid: int, start: str | None) -> LocalStack:
    return LocalStack(pid, "127.0.0.1:1", "mongodb://127.0.0.1:2", "127.0.0.1:3", "", "", "", "", start, STACK_KEY)


def test_a_running_local_stack_gives_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    write_local_stack(local_stack(os.getpid(), process_start(os.getpid())))
    assert load_settings().triton.url == "127.0.0.1:3"
    monkeypatch.setenv("TRITON_URL", "triton:8001")
    assert load_settings().triton.url == "triton:8001"


def test_the_key_of_the_local_triton_is_used_for_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    write_local_stack(local_stack(os.getpid(), process_start(os.getpid())))
    assert load_settings().triton.key == STACK_KEY
    monkeypatch.setenv("TRITON_URL", "127.0.0.1:3")
    assert load_settings().triton.key == STACK_KEY
    monkeypatch.setenv("TRITON_URL", "triton:8001")
    assert load_settings().triton.key is None


def test_a_key_of_ones_own_wins_over_that_of_the_local_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    write_local_stack(local_stack(os.getpid(), process_start(os.getpid())))
    monkeypatch.setenv("TRITON_REPOSITORY_KEY", "a-key-of-ones-own")
    assert load_settings().triton.key == "a-key-of-ones-own"


def test_only_its_owner_can_read_the_state_file() -> None:
    for _ in range(2):
        write_local_stack(local_stack(os.getpid(), None))
        assert stat.S_IMODE(state_file().stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "key", ["short", "a key with some spaces", "ein-schlüssel-mit-umlaut", "key-with-line\nbreak-x"]
)
def test_a_key_that_cannot_be_a_header_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_REPOSITORY_KEY", key)
    with pytest.raises(SettingsError, match=r"triton\.repository_key: it must have 16 or more") as raised:
        load_settings()
    assert key not in str(raised.value)


def test_the_key_is_shown_neither_with_the_settings_nor_with_the_stack() -> None:
    write_local_stack(local_stack(os.getpid(), process_start(os.getpid())))
    shown = f"{load_settings()!r} {load_settings().triton} {local_stack(1, None)!r}"
    assert STACK_KEY not in shown
    assert redact({"triton": {"repository_key": STACK_KEY}}) == {"triton": {"repository_key": "***"}}


def test_the_state_file_of_a_dead_stack_is_ignored() -> None:
    above_any_pid = 2**22 + 1
    write_local_stack(local_stack(above_any_pid, process_start(os.getpid())))
    assert load_settings().triton.url is None


@pytest.mark.parametrize("start", [None, "another boot 4711"])
def test_the_state_file_is_ignored_when_another_process_has_the_supervisors_id(start: str | None) -> None:
    write_local_stack(local_stack(os.getpid(), start))
    assert load_settings().triton.url is None


def test_a_camera_has_a_short_form(tmp_path: Path) -> None:
    settings = load_settings(yaml_file(tmp_path, "edge: {cameras: {till-1: 'rtsp://u:p@host/1', till-2: {source: 0}}}"))
    assert settings.edge.cameras["till-1"].source.get_secret_value() == "rtsp://u:p@host/1"


def test_the_file_may_use_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "canary")
    text = "edge: {cameras: {a: 'rtsp://u:${CAMERA_PASSWORD}@host/1', b: '${OTHER:-video.mp4}'}}"
    cameras = load_settings(yaml_file(tmp_path, text)).edge.cameras
    assert cameras["a"].source.get_secret_value() == "rtsp://u:canary@host/1"
    assert cameras["b"].source.get_secret_value() == "video.mp4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edge: {fsp: 2}", "unknown setting edge.fsp (framematch.yaml, line 1). Did you mean edge.fps?"),
        ("egde: {fps: 2}", "unknown setting egde (framematch.yaml, line 1). Did you mean edge?"),
        ("edge: {fps: 0}", "edge.fps: input should be greater than 0 (framematch.yaml, line 1)"),
        ("edge: {cameras: {'a b': x}}", "camera id 'a b'"),
        ("edge: {cameras: {a: {source: x, fsp: 1}}}", "unknown setting edge.cameras.a.fsp"),
        ("edge: [1", "is not valid YAML at line 1"),
        ("just text", "has no sections"),
        ("1: {fps: 2}", "line 1: the key 1 is read as a number. Put it into quotes"),
        ("kafka: {bootstrap_servers: '${NOT_SET}'}", "line 1: ${NOT_SET} is not set"),
    ],
)
def test_a_mistake_in_the_file_gives_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(yaml_file(tmp_path, text))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


def test_an_unknown_environment_variable_is_refused_with_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_KAFKA__BOOTSTRAP_SERVRES", "x")
    with pytest.raises(SettingsError, match="Did you mean FRAMEMATCH_KAFKA__BOOTSTRAP_SERVERS"):
        load_settings()


RENAMED_SETTINGS = {
    "edge.frames_per_second": "edge.fps",
    "edge.cameras.<id>.quality": "edge.cameras.<id>.jpeg_quality",
    "edge.cameras.<id>.masks.paint": "edge.cameras.<id>.masks.hide",
}


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for old, new in RENAMED_SETTINGS.items():
        monkeypatch.setitem(RENAMED, old, new)


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("edge: {frames_per_second: 2}", "edge.frames_per_second", "edge.fps"),
        ("edge: {cameras: {a: {source: x, quality: 9}}}", "edge.cameras.a.quality", "edge.cameras.<id>.jpeg_quality"),
        (
            "edge: {cameras: {a: {source: x, masks: [{polygon: [[0, 0], [1, 0], [1, 1]], paint: true}]}}}",
            "edge.cameras.a.masks.0.paint",
            "edge.cameras.<id>.masks.hide",
        ),
    ],
)
def test_a_renamed_setting_in_the_file_is_refused_with_its_new_name(
    tmp_path: Path, text: str, old: str, new: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(yaml_file(tmp_path, text))
    assert str(raised.value) == f"the setting {old} was renamed (framematch.yaml, line 1). Its name is {new}"


@pytest.mark.usefixtures("renamed")
def test_a_renamed_environment_variable_is_refused_with_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_EDGE__FRAMES_PER_SECOND", "2")
    with pytest.raises(
        SettingsError, match=r"FRAMEMATCH_EDGE__FRAMES_PER_SECOND was renamed\. Set FRAMEMATCH_EDGE__FPS$"
    ):
        load_settings()


@pytest.mark.usefixtures("renamed")
def test_a_renamed_setting_in_json_in_the_environment_is_refused_with_its_new_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRAMEMATCH_EDGE__CAMERAS", '{"a": {"source": "x", "quality": 90}}')
    with pytest.raises(SettingsError, match=r"edge\.cameras\.a\.quality was renamed.*jpeg_quality"):
        load_settings()


@pytest.mark.usefixtures("renamed")
def test_a_renamed_setting_from_the_command_line_is_refused_with_its_new_name() -> None:
    with pytest.raises(SettingsError, match=r"edge\.frames_per_second was renamed\. Its name is edge\.fps"):
        load_settings(overrides={"edge": {"frames_per_second": 1}})


def test_renamed_settings_name_existing_ones() -> None:
    reference = settings_reference()
    assert [new for new in RENAMED.values() if f"`{new.rpartition('.')[2]}`" not in reference] == []


def test_a_wrong_secret_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_EDGE__CAMERAS", '{"a": {"source": "rtsp://u:canary@h", "fps": "canary"}}')
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "edge: {cameras: {'rtsp://u:canary@h/1': 0}}",
        "edge: {'rtsp://u:canary white@h/1': 0}",
        "edge: {cameras: {a: {source: x, 'rtsp://u:canary@h/1': 1}}}",
        "edge: {cameras: {a: rtsp://u:canary@h, b: [}}",
        "edge: {cameras: ['rtsp://u:canary@h']}",
        "kafka: {sasl_password: [canary]}",
        "canary",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(yaml_file(tmp_path, text))
    assert "canary" not in str(raised.value)


def test_printing_settings_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://u:canary@h")
    monkeypatch.setenv("FRAMEMATCH_KAFKA__SASL_PASSWORD", "canary")
    monkeypatch.setenv("FRAMEMATCH_EDGE__CAMERAS", '{"a": "rtsp://u:canary@h"}')
    assert "canary" not in repr(load_settings())


def test_a_missing_setting_is_named_with_its_variable() -> None:
    with pytest.raises(AddressNotSetError, match=r"kafka\.bootstrap_servers is not set\. Set KAFKA_BOOTSTRAP_SERVERS$"):
        require(None, "kafka.bootstrap_servers")
    with pytest.raises(SettingsError, match=r"Set FRAMEMATCH_KAFKA__SASL_USERNAME$"):
        require(None, "kafka.sasl_username")


def test_the_settings_reference_is_up_to_date() -> None:
    reference = Path(__file__).parents[3] / "docs" / "settings.md"
    assert reference.read_text() == settings_reference(), "run: python -m docs.settings_reference"


@pytest.mark.parametrize(
    ("text", "variables", "overrides"),
    [
        ("edge: {cameras: {a: {source: x, fps: 2}}}", {}, {"edge": {"cameras": {"a": "y"}}}),
        ("edge: {cameras: {a: x}}", {"CAMERAS": '{"a": {"source": "y", "fps": 2}}'}, {}),
        ("edge: {cameras: {a: {source: x, fps: 2}}}", {"CAMERAS": '{"a": "z"}'}, {"edge": {"cameras": {"a": "y"}}}),
    ],
)
def test_a_source_in_short_keeps_the_other_settings_of_its_camera(
    text: str, variables: dict[str, str], overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"FRAMEMATCH_EDGE__{name}", value)
    camera = load_settings(yaml_file(tmp_path, text), overrides).edge.cameras["a"]
    assert (camera.source.get_secret_value(), camera.fps) == ("y", 2)


def test_motion_in_short_and_in_full_are_one_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_EDGE__MOTION__MIN_AREA", "0.5")
    motion = load_settings(yaml_file(tmp_path, "edge: {motion: true}")).edge.motion
    assert (motion.gate, motion.min_area) == (True, 0.5)


def test_still_regions_cannot_be_reused_where_triton_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMATCH_CONSUMER__DECODE", "server")
    monkeypatch.setenv("FRAMEMATCH_CONSUMER__REUSE_STATIC_REGIONS", "true")
    with pytest.raises(SettingsError, match="reuse_static_regions compares pixels"):
        load_settings()
