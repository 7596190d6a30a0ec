"""The settings file: one clear line with the place of a mistake, whatever the file contains."""

import resource
from itertools import pairwise
from pathlib import Path

import pytest

from framematch.core.errors import SettingsError
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings

CANARY = "canary"


def settings_of(folder: Path, content: str | bytes) -> Settings:
    path = folder / "edge.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_settings(path)


def refusal(folder: Path, content: str | bytes) -> str:
    """The one line that refuses the file."""
    with pytest.raises(SettingsError) as raised:
        settings_of(folder, content)
    text = str(raised.value)
    assert "\n" not in text
    assert CANARY not in text
    return text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("edge:\n  fps: 3\n  max_side: 64\n  fps: 4\n", "line 4: the key fps stands twice, first in line 2"),
        ("edge:\n  fps: 3\nkafka: {}\nedge:\n  fps: 4\n", "line 4: the key edge stands twice, first in line 1"),
        ("edge:\n  cameras:\n    a: '0'\n    'a': '1'\n", "line 4: the key a stands twice, first in line 3"),
        ('edge: {cameras: {a: {source: x, fps: 1, "fps": 2}}}', "line 1: the key fps stands twice"),
        ("edge:\n  cameras:\n    a: {masks: [{hide: true,\n      hide: false}]}", "line 4: the key hide stands twice"),
        ("edge:\r\n  fps: 3\r\n  fps: 3\r\n", "line 3: the key fps stands twice"),
        ("a: &a {fps: 1}\nedge:\n  <<: *a\n  <<: *a\n", "line 4: the key << stands twice, first in line 3"),
        ("a: &a {fps: 1, fps: 2}\nedge:\n  <<: *a\n", "line 1: the key fps stands twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(tmp_path: Path, content: str, message: str) -> None:
    assert message in refusal(tmp_path, content)


def test_a_merge_key_gives_defaults_that_own_keys_replace(tmp_path: Path) -> None:
    text = "edge:\n  cameras:\n    a: &a {source: x, fps: 1, max_side: 64}\n    b: {<<: *a, source: y, fps: 2}\n"
    camera = settings_of(tmp_path, text).edge.cameras["b"]
    assert (camera.source.get_secret_value(), camera.fps, camera.max_side) == ("y", 2, 64)


@pytest.mark.parametrize(
    ("key", "read_as"),
    [
        ("on", "true or false"),
        ("yes", "true or false"),
        ("1", "a number"),
        ("0x1f", "a number"),
        ("1.5", "a number"),
        ("12:30", "a number"),
        ("2026-01-01", "a date"),
        ("null", "nothing"),
        ("=", "no text"),
    ],
)
def test_a_camera_id_that_yaml_does_not_read_as_text_needs_quotes(tmp_path: Path, key: str, read_as: str) -> None:
    text = refusal(tmp_path, f"edge:\n  cameras:\n    {key}: rtsp://h/1\n")
    assert f"line 3: the key {key} is read as {read_as}. Put it into quotes" in text


@pytest.mark.parametrize("key", ["on", "1", "2026-01-01"])
def test_such_an_id_in_quotes_is_accepted(tmp_path: Path, key: str) -> None:
    assert list(settings_of(tmp_path, f"edge: {{cameras: {{'{key}': rtsp://h/1}}}}").edge.cameras) == [key]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "edge.cameras.a: it has no value (edge.yaml, line 3)"),
        ("~", "edge.cameras.a: it has no value (edge.yaml, line 3)"),
        ("{source: }", "edge.cameras.a.source: it has no value (edge.yaml, line 3)"),
        ("{fps: 2}", "edge.cameras.a.source: field required (edge.yaml, line 3)"),
        ("on", "edge.cameras.a: the value is read as true or false (edge.yaml, line 3). Put it into quotes"),
        ("1.5", "edge.cameras.a: the value is read as a number (edge.yaml, line 3). Put it into quotes"),
        ("2026-01-01", "line 3: a value is read as a date. Put it into quotes"),
        ("2026-13-45", "line 3: a value is read as a date. Put it into quotes"),
        ("10:30", "line 3: a value such as 12:30 is read in base 60. Put it into quotes"),
        (f"[{CANARY}]", "edge.cameras.a: should be a section"),
        (f"@/run/{CANARY}", "not valid YAML at line 3. A value that starts with @ needs quotes"),
        (f"*{CANARY}", "not valid YAML at line 3. A value that starts with * needs quotes"),
        (f"!{CANARY} x", "not valid YAML at line 3. A value that starts with ! needs quotes"),
        (f"!!python/object/apply:{CANARY} []", "not valid YAML at line 3. A value that starts with ! needs quotes"),
        (f"'{CANARY}", "not valid YAML at line 3"),
        ("9" * 5_000, "line 3: a value cannot be read. Put it into quotes"),
        ('"\\ud800"', "not valid YAML at line 3"),
        (f"rtsp://user:{CANARY} #{CANARY}@h/1", "line 3: a # behind a space cuts a URL off. Put the URL into quotes"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_never_quoted(tmp_path: Path, value: str, message: str) -> None:
    assert message in refusal(tmp_path, f"edge:\n  cameras:\n    a: {value}\n")


@pytest.mark.parametrize("value", ["rtsp://h/1 # ask me@example.com", "'rtsp://u:p #w@h/1'", "rtsp://u:p@h # a@b"])
def test_a_comment_behind_a_url_is_a_comment(tmp_path: Path, value: str) -> None:
    assert list(settings_of(tmp_path, f"edge:\n  cameras:\n    a: {value}\n").edge.cameras) == ["a"]


_LETTERS = "abcdefghij"
_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise(_LETTERS)
)
_MERGED_LAUGHS = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
_CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2_000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_LAUGHS, "line 6: aliases (*) repeat too much"),
        (_MERGED_LAUGHS, "nested too deeply"),
        (_CHAIN, "nested too deeply"),
        ("edge: &edge {fps: *edge}", "line 1: an alias stands within what it refers to"),
        ("edge: &edge [[*edge]]", "line 1: an alias stands within what it refers to"),
        ("[" * 900_000, "line 1: brackets or sections are nested too deeply"),
        ("{a: " * 200_000, "line 1: brackets or sections are nested too deeply"),
        ("".join(f"{' ' * n}a:\n" for n in range(1_000)), "brackets or sections are nested too deeply"),
        ("#" * 1_000_001, "has more than 1,000,000 bytes"),
    ],
    ids=["laughs", "merged", "chain", "self", "self in lists", "lists", "mappings", "indented", "large"],
)
def test_a_file_that_would_take_time_and_memory_is_refused(tmp_path: Path, content: str, message: str) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert message in refusal(tmp_path, content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 50_000


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="has more than 1,000,000 bytes"):
        load_settings(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"edge:\n  fps: 3\n\0", "has a control character at line 3"),
        (b"edge:\n  fps: \x1b[31m", "has a control character at line 2"),
        (
            "edge:\n  cameras:\n    a: gr\u00fcn.mp4\n".encode("latin-1"),
            "is not UTF-8 text at line 3. Save the file",
        ),
        ("edge: {}".encode("utf-16"), "is not UTF-8 text at line 1"),
        (b"edge:\n\tfps: 3\n", "not valid YAML at line 2. Indent with spaces, not with tabs"),
        (b"edge:\n  fps: 3\n---\nedge: {}\n", "not valid YAML at line 3. A file is one document"),
        (b"- a\n- b\n", "has no sections"),
        (b"5", "has no sections"),
        (b"edge: [1", "not valid YAML at line 1"),
    ],
)
def test_a_file_that_is_no_mapping_in_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nothing\n# here\n",
        b"\xef\xbb\xbf",
        b"---\n...\n",
        b"edge:\n  # fps: 3\nkafka:\n",
        b"edge:\n  cameras:\n  motion:\n  spool:\n",
        b"kafka: {bootstrap_servers: '', sasl_password: ''}\ntracing: {otlp_endpoint: ''}",
    ],
)
def test_what_has_no_value_is_not_set(tmp_path: Path, content: bytes) -> None:
    assert settings_of(tmp_path, content) == Settings()


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfedge:\n  fps: 3\n", b"edge:\r\n  fps: 3\r\n", b"edge:\r  fps: 3"])
def test_a_byte_order_mark_and_other_line_ends_are_accepted(tmp_path: Path, content: bytes) -> None:
    assert settings_of(tmp_path, content).edge.fps == 3


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*: Is a directory\. Check the path"):
        load_settings(tmp_path)


NUMBERS = [
    f"{section}.{name}"
    for section, model in (
        ("edge", Settings().edge),
        ("edge.spool", Settings().edge.spool),
        ("edge.motion", Settings().edge.motion),
        ("edge.regions", Settings().edge.regions),
        ("kafka", Settings().kafka),
        ("mongodb", Settings().mongodb),
        ("triton", Settings().triton),
        ("consumer", Settings().consumer),
        ("consumer.sightings", Settings().consumer.sightings),
        ("matching", Settings().matching),
        ("http", Settings().http),
        ("tracing", Settings().tracing),
    )
    for name, value in model
    if isinstance(value, int | float) and not isinstance(value, bool)
]


@pytest.mark.parametrize("setting", NUMBERS)
def test_no_numeric_setting_takes_a_number_beyond_all_use(tmp_path: Path, setting: str) -> None:
    *sections, name = setting.split(".")
    for value in (".inf", "-.inf", ".nan", "1e308", "-1e308", "1e999", "true"):
        text = "".join(f"{section}: {{" for section in sections) + f"{name}: {value}" + "}" * len(sections)
        assert refusal(tmp_path, text).startswith(f"{setting}: ")


@pytest.mark.parametrize("setting", ["fps", "watchdog_s", "status_interval_s"])
def test_a_number_above_0_is_not_next_to_0(tmp_path: Path, setting: str) -> None:
    assert f"edge.{setting}: should be at least 0.000001" in refusal(tmp_path, f"edge: {{{setting}: 1e-300}}")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a/b", "a$b", "x" * 64, "a\\\\b", 'a\\"b'])
def test_a_database_that_mongodb_refuses_is_refused(tmp_path: Path, name: str) -> None:
    assert "mongodb.database: " in refusal(tmp_path, f'mongodb: {{database: "{name}"}}')


@pytest.mark.parametrize("text", ["mongodb: {database: 5}", "kafka: {sasl_password: 12345}", "triton: {url: 8001}"])
def test_a_number_where_text_should_be_needs_quotes(tmp_path: Path, text: str) -> None:
    assert "uotes" in refusal(tmp_path, text)
