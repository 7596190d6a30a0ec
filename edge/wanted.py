"""Turns the records of wanted cameras into cameras of this edge, and says why it refuses one. No record stops others.

What comes by Kafka opens nothing that the operator of this edge has not allowed: streams on hosts in
`edge.follow_hosts`, and what the files in `edge.follow_secrets` name.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.cameras import Camera, camera_from
from edge.sources import parse_source
from edge.worker.readers import check_files
from framematch.core.camera_settings import (
    RECORD_BYTES_MAX,
    WantedCamera,
    addressed_edge,
    check_settings,
    check_url,
    decode_wanted,
    secret_name,
    with_source,
)
from framematch.core.errors import UsageError
from framematch.core.events import RefusedSettings
from framematch.core.host_patterns import host_allowed
from framematch.core.redact import redact_url
from framematch.core.sealing import SourceSeal
from framematch.core.settings import Settings

_OWN_FILE = "the edge's own settings have a camera with this id, which runs"
_OWN_FILE_HINT = "Remove it from the edge's file, then this one starts; or remove this one"


@dataclass(frozen=True)
class Wanted:
    """The wanted cameras of one edge. `refused` and `generations` are by camera, `files` are those of their secrets.

    `in_force` has the record of each running camera: it goes on while a newer one is refused.
    """

    cameras: tuple[Camera, ...] = ()
    refused: Mapping[str, RefusedSettings] = field(default_factory=dict)
    generations: Mapping[str, int] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    in_force: Mapping[str, bytes] = field(default_factory=dict)


def wanted_of(
    records: Mapping[str, bytes], in_force: Mapping[str, bytes], settings: Settings, name: str, own: Collection[str]
) -> Wanted:
    """The cameras that `records` want of the edge `name`.

    `in_force` are the records that it ran until now, `own` the ids of the cameras in its own settings, which win. Reads
    files, and opens videos that a secret names.
    """
    reader = _Reader(settings, name)
    running: dict[str, tuple[Camera, int, bytes]] = {}
    refused: dict[str, RefusedSettings] = {}
    # Those that ran go first, so that one more than allowed does not stop another.
    for key in sorted(records, key=lambda one: (one not in in_force, one)):
        if not reader.is_ours(key, records[key], known=key in in_force):
            continue
        why = _no_place(key, own, len(running), settings.edge.follow_max)
        try:
            if why is None:
                running[key] = (*reader.read(key, records[key]), records[key])
        except UsageError as error:
            why = error
            if key in in_force:
                running |= reader.read_former(key, in_force[key])
        if why is not None:
            refused[key] = RefusedSettings(addressed_edge(records[key])[1], why.message, why.hint)
    return Wanted(
        cameras=tuple(camera for camera, _, _ in running.values()),
        refused=refused,
        generations={key: generation for key, (_, generation, _) in running.items()},
        files=tuple(reader.files),
        in_force={key: value for key, (_, _, value) in running.items()},
    )


def _no_place(key: str, own: Collection[str], running: int, most: int) -> UsageError | None:
    """Why the edge cannot run this camera, whatever its settings are."""
    if key in own:
        return UsageError(_OWN_FILE, hint=_OWN_FILE_HINT)
    if running >= most:
        return UsageError(f"this edge runs {most} wanted cameras already", hint="See edge.follow_max")
    return None


class _Reader:
    """Reads records by the settings of one edge. `files` are the secrets that they name."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._seal = SourceSeal(settings.cameras_key) if settings.cameras_key else None
        self.files: list[Path] = []

    def is_ours(self, key: str, value: bytes, *, known: bool) -> bool:
        """Whether a record names this edge; a damaged one that names none is ours if the camera was."""
        try:
            return decode_wanted(key, value).edge == self._name
        except msgspec.DecodeError:
            edge, _ = addressed_edge(value)
            return edge == self._name or (edge is None and known)

    def read(self, key: str, value: bytes) -> tuple[Camera, int]:
        """The camera, and its generation.

        Raises:
            UsageError: why it is refused. Neither text contains a secret.
        """
        if len(value) > RECORD_BYTES_MAX:
            raise UsageError(f"its record has more than {RECORD_BYTES_MAX:,} bytes", hint="Shorten its settings")
        try:
            wanted = decode_wanted(key, value)
        except msgspec.DecodeError as error:
            raise UsageError(f"its record is damaged: {redact_url(str(error))[:200]}", hint="Set it again") from None
        for problem in check_settings(wanted.settings):
            path = ".".join(str(part) for part in problem.path)
            raise UsageError(redact_url(f"{path}: {problem.reason}"), hint=problem.hint)
        source = self._source(wanted)
        # Not `source` itself: a text that starts with @ would be another file.
        camera = camera_from(key, with_source(wanted.settings, "0"), self._settings.edge, parse_source(source))
        check_files((camera,))
        return camera, wanted.generation

    def read_former(self, key: str, value: bytes) -> dict[str, tuple[Camera, int, bytes]]:
        """The camera as it ran, if that is still allowed."""
        try:
            return {key: (*self.read(key, value), value)}
        except UsageError:
            return {}

    def _source(self, wanted: WantedCamera) -> str:
        if wanted.source.secret is not None:
            return self._secret(wanted.source.secret)
        if self._seal is None:
            raise UsageError("its source is sealed, and this edge has no cameras_key", hint="Set cameras_key")
        url = self._seal.open(wanted.camera, wanted.source.sealed or "")
        host = check_url(url).hostname or ""
        if not host_allowed(host, self._settings.edge.follow_hosts):
            raise UsageError(
                f"its host {host} is not allowed here", hint="The operator of this edge adds it to edge.follow_hosts"
            )
        return url

    def _secret(self, name: str) -> str:
        """`@FILE` of a secret, which `parse_source` reads."""
        folder = self._settings.edge.follow_secrets
        if folder is None:
            raise UsageError(
                f"its source is @{name}, and this edge has no folder of secrets", hint="Set edge.follow_secrets"
            )
        secret_name(f"@{name}")
        path = Path(folder) / name
        try:
            inside = path.resolve(strict=True).is_relative_to(Path(folder).resolve())
        except (OSError, RuntimeError):
            inside = False
        self.files.append(path)
        if not inside or not path.is_file():
            raise UsageError(f"there is no secret {name} on this edge", hint="Put its file into edge.follow_secrets")
        return f"@{path}"
