"""Settings in the environment: a mistake names the variable, and the path within its JSON."""

import pytest

from framematch.core.errors import SettingsError
from framematch.core.settings_sources import load_settings

CAMERAS = "FRAMEMATCH_EDGE__CAMERAS"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "x", "a": "y"}', f"{CAMERAS}: the key a stands twice. Remove one of them"),
        ('{"a": {"source": "x", "fps": 1, "fps": 1}}', f"{CAMERAS}: the key a.fps stands twice"),
        ('{"a": {"masks": [{}, {"hide": true, "hide": false}]}}', f"{CAMERAS}: the key a.masks.1.hide stands twice"),
        ('{"a": {"source": "x", "fps": 0}}', f"edge.cameras.a.fps: input should be greater than 0 ({CAMERAS})"),
        ('{"a": {"source": "x", "fsp": 1}}', f"unknown setting edge.cameras.a.fsp ({CAMERAS})"),
        ('{"a": {"source": "x", "fps": NaN}}', f"edge.cameras.a.fps: input should be a finite number ({CAMERAS})"),
        ('{"a": null}', f"edge.cameras.a: it has no value ({CAMERAS})"),
        ('["a"]', f"edge.cameras: should be a section with settings of its own ({CAMERAS})"),
        ('{"a":\n "canary', f"{CAMERAS} is not valid JSON at line 2, column 2"),
        ("rtsp://u:canary@h/1", f"{CAMERAS} is not valid JSON at line 1, column 1"),
        ("[" * 100_000, f"{CAMERAS} has a number or brackets that are too large"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, f"{CAMERAS} has a number or brackets that are too large"),
        ("9" * 5_000, f"{CAMERAS} has a number or brackets that are too large"),
    ],
)
def test_a_mistake_in_json_names_the_variable_and_the_place(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAMERAS, text)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert message in str(raised.value)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("FRAMEMATCH_EDGE__FPS", "framematch_edge__fps"),
        ("Framematch_Edge__Fps", "FRAMEMATCH_EDGE__FPS"),
        ("framematch_edge__cameras", CAMERAS),
    ],
)
def test_two_variables_that_differ_only_in_case_are_refused(
    first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(first, "1")
    monkeypatch.setenv(second, "1")
    with pytest.raises(SettingsError, match=f"{first} and {second} are the same setting"):
        load_settings()


def test_a_variable_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("framematch_edge__fps", "3")
    assert load_settings().edge.fps == 3


def test_an_unknown_variable_is_refused_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("framematch_edge__fsp", "3")
    with pytest.raises(SettingsError, match=r"framematch_edge__fsp\. Did you mean FRAMEMATCH_EDGE__FPS"):
        load_settings()


@pytest.mark.parametrize("name", ["framematch_config", "Framematch_Config"])
def test_a_variable_that_is_read_before_the_settings_is_refused_in_lower_case(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/x")
    with pytest.raises(SettingsError, match=rf"unknown environment variable {name}\. Did you mean {name.upper()}"):
        load_settings()


@pytest.mark.parametrize("name", [CAMERAS, "FRAMEMATCH_EDGE__FPS", "KAFKA_BOOTSTRAP_SERVERS", "LOG_LEVEL"])
def test_an_empty_variable_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    monkeypatch.setenv(name, "")
    assert load_settings() == before


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("FRAMEMATCH_EDGE__FPS", "inf", "edge.fps"),
        ("FRAMEMATCH_EDGE__REGIONS__BOXES", "[[0, 0, 2, 1]]", "edge.regions.boxes.0.2"),
        ("LOG_LEVEL", "loud", "log.level"),
        ("FRAMEMATCH_MONGODB__DATABASE", "a\x1b[31mb", "mongodb.database"),
        ("FRAMEMATCH_GPU_INTERVAL_S", "often", "gpu_interval_s"),
    ],
)
def test_a_wrong_value_names_setting_and_variable(
    name: str, value: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).startswith(f"{setting}: ")
    assert f"({name})" in str(raised.value)
