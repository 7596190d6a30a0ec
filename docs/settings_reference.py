"""Writes docs/settings.md from the settings themselves: `python -m docs.settings_reference`."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from framematch.core.settings import CONVENTIONAL_NAMES, CameraSettings, MaskSettings, Settings

_INTRODUCTION = """\
# Settings

<!-- Written by `python -m docs.settings_reference`; a test keeps it true. -->

Strongest first: command line, environment, YAML file (`--config`, or `FRAMEMATCH_CONFIG`), the running local stack, the
defaults below. An unknown key or `FRAMEMATCH_…` variable is an error that names the nearest known one.

In YAML, `${NAME}` and `${NAME:-default}` take a value from the environment, so that no password need stand in the file:

```yaml
kafka:
  bootstrap_servers: kafka-1:9092,kafka-2:9092
edge:
  fps: 5
  cameras:
    till-1: rtsp://viewer:${TILL_1_PASSWORD}@10.0.0.5/stream1
    till-2: {source: rtsp://10.0.0.6/stream1, fps: 2, jpeg_quality: 90}
```

In the environment, the cameras are one JSON object: `FRAMEMATCH_EDGE__CAMERAS='{"till-1": "rtsp://…"}'`.
"""
_PLACES = """
## Places

| variable | what |
|---|---|
| `FRAMEMATCH_CONFIG` | the YAML file |
| `FRAMEMATCH_CACHE_DIR` | downloads and built servers of the local stack; default `~/.cache/framematch` |
| `FRAMEMATCH_STATE_DIR` | data of the local stack, fetched index snapshots; default `~/.local/state/framematch` |
"""


def settings_reference() -> str:
    """The whole page."""
    top = {name: field for name, field in Settings.model_fields.items() if not _section(field)}
    parts = [_INTRODUCTION, *_tables(Settings), _table("", "Of every service.", top)]
    parts.append(
        _table("edge.cameras.<id>", CameraSettings.__doc__ or "", CameraSettings.model_fields, variables=False)
    )
    parts.append(
        _table("edge.cameras.<id>.masks", MaskSettings.__doc__ or "", MaskSettings.model_fields, variables=False)
    )
    return "".join([*parts, _PLACES])


def _tables(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[str]:
    """A table for each section, and after it one for each section inside."""
    for name, field in model.model_fields.items():
        if section := _section(field):
            own = {key: value for key, value in section.model_fields.items() if not _section(value)}
            yield _table(".".join((*above, name)), section.__doc__ or "", own)
            yield from _tables(section, (*above, name))


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(section: str, text: str, fields: dict[str, FieldInfo], *, variables: bool = True) -> str:
    lines = [f"\n## {section or 'Top level'}\n", f"{text.strip()}\n"]
    lines += ["| setting | default | variable | what |" if variables else "| setting | default | what |"]
    lines += ["|---|---|---|---|" if variables else "|---|---|---|"]
    for name, field in fields.items():
        cells = [f"`{name}`", _default(field)]
        if variables:
            cells.append(", ".join(f"`{variable}`" for variable in _variables(section, name)))
        lines.append(f"| {' | '.join([*cells, field.description or ''])} |".replace("  |", " |"))
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "not set" if value is None else f"`{value}`"


def _variables(section: str, name: str) -> list[str]:
    path = (*section.split("."), name) if section else (name,)
    own = "FRAMEMATCH_" + "__".join(path).upper()
    return [own, *(variable for variable, named in CONVENTIONAL_NAMES.items() if named == path)]


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(settings_reference())
