"""Follows the topic of wanted cameras, and remembers those of this edge for a start while Kafka is away."""

import asyncio
import hashlib
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec
import structlog

from edge.wanted import Wanted, wanted_of
from framematch.core.errors import FramematchError, SettingsError
from framematch.core.events import RefusedSettings
from framematch.core.frames import valid_camera_id
from framematch.core.kafka.compacted_topic import CompactedTopic
from framematch.core.kafka.topics import Topics
from framematch.core.paths import state_dir
from framematch.core.private_files import make_private_folder, write_private
from framematch.core.settings import EdgeSettings, Settings

log = structlog.get_logger()

_DIGEST_CHARACTERS = 16
_RETRY_S = 5.0


class _Remembered(msgspec.Struct, frozen=True):
    """The content of the file: records as they are in the topic, so their sources are sealed here too."""

    records: dict[str, bytes]
    in_force: dict[str, bytes]


_decoder = msgspec.json.Decoder(_Remembered)
_NOTHING = _Remembered({}, {})


def edge_name(settings: EdgeSettings) -> str:
    """The name of this edge: that of the settings, else of the host.

    Raises:
        SettingsError: the host's name cannot be a name.
    """
    if settings.name is not None:
        return settings.name
    name = socket.gethostname()
    try:
        return valid_camera_id(name)
    except ValueError:
        raise SettingsError(
            f"the host's name {name!r} cannot be the name of an edge", hint="Set edge.name: letters, digits, '.', '-'"
        ) from None


class FollowedCameras:
    """The wanted cameras of this edge: from the topic, and before it could be read from a file in the state folder."""

    def __init__(self, settings: Settings) -> None:
        self.name = edge_name(settings.edge)
        self.changed = False
        self._on_change: Callable[[], object] = lambda: None
        topic = Topics(settings.kafka.topic_prefix).cameras
        self._topic = CompactedTopic(settings.kafka, topic, lambda: self.take(self._topic.values, self._topic.end))
        # A name of a topic and one of an edge may be too long for one name of a file together.
        digest = hashlib.sha256(f"{topic}\0{self.name}".encode()).hexdigest()[:_DIGEST_CHARACTERS]
        self._file = state_dir() / "edge-cameras" / f"{self.name}-{digest}.json"
        self._remembered = _read(self._file)
        self._records: Mapping[str, bytes] = self._remembered.records
        self._in_force: Mapping[str, bytes] = self._remembered.in_force
        self._refused: Mapping[str, RefusedSettings] = {}

    def listen(self, on_change: Callable[[], object]) -> None:
        """Call `on_change` when there are other records; `changed` is True then."""
        self._on_change = on_change

    async def run(self) -> None:
        """Follow the topic; endless."""
        while True:
            try:
                await self._topic.run()
            except FramematchError:
                raise
            except Exception:  # a defect in reading the topic must not stop running cameras
                log.exception("wanted_cameras_reading_crashed", retry_in_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)

    def wanted(self, settings: Settings, own: Collection[str]) -> Wanted:
        """The cameras to run now, beside the edge's `own`; it remembers them. Reads and writes files."""
        records = self._records
        found = wanted_of(records, self._in_force, settings, self.name, own)
        self._in_force = found.in_force
        for camera, refused in found.refused.items():
            if self._refused.get(camera) != refused:
                log.warning(
                    "wanted_camera_refused",
                    camera=camera,
                    generation=refused.generation,
                    reason=refused.reason,
                    hint=refused.hint,
                )
        self._refused = found.refused
        ours = found.generations.keys() | found.refused.keys()
        self._remember(_Remembered({key: records[key] for key in sorted(ours)}, dict(found.in_force)))
        return found

    def take(self, records: Mapping[str, bytes], end: int) -> None:
        """The records of the topic as they are now; `end` is the offset behind the last one."""
        if not end and self._records:
            log.warning(
                "wanted_cameras_missing",
                cameras=len(self._records),
                hint="The topic was created again, and nothing was ever in it: the known cameras go on",
            )
            return
        self._records = dict(records)  # the topic goes on to change its own
        self.changed = True
        self._on_change()

    def _remember(self, remembered: _Remembered) -> None:
        if remembered == self._remembered:
            return
        new = self._file.with_suffix(".new")
        try:
            make_private_folder(self._file.parent)
            write_private(new, msgspec.json.encode(remembered))
            new.replace(self._file)
        except OSError as error:
            log.warning("wanted_cameras_not_saved", file=str(self._file), error=error.strerror)
        else:
            self._remembered = remembered


def _read(file: Path) -> _Remembered:
    try:
        return _decoder.decode(file.read_bytes())
    except FileNotFoundError:
        return _NOTHING
    except (OSError, ValueError, RecursionError) as error:
        log.warning("wanted_cameras_not_restored", file=str(file), error=str(error))
        return _NOTHING
