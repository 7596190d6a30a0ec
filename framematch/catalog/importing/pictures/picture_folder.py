"""Finds the pictures that a catalogue file names in a folder, also when names are spelt in another way."""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from threading import Lock
from urllib.parse import unquote

from framematch.core.errors import CatalogError
from framematch.core.redact import redact_url

# Names end so in catalogue files; `.txt` beside a picture is no picture.
_SUFFIX = re.compile(r"\.(?:jpe?g|jpe|jfif|png|webp|bmp|gif|tiff?|avif)$", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file://(?:localhost)?(?=/)", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:(?=/)", re.IGNORECASE)
# A folder with more files, such as a home folder, is not searched for other spellings.
MAX_FILES = 200_000
# Comparing a name with all files takes 10 ms for each thousand, so it is done only for the first missing ones.
_COMPARED_FILES = 5_000
_COMPARED_NAMES = 20


@dataclass(frozen=True)
class Respelling:
    """A picture that was found under another name than the catalogue file gives."""

    name: str
    found: str


class PictureFolder:
    """The pictures below the resolved folder `root`. Threads may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._prefix = f"{root}{os.sep}"
        self._lock = Lock()
        self._compared = 0

    def find(self, name: str) -> str:
        """The path, relative to `root`, of the picture that `name` means.

        It is the file of this name, if there is one. Else the names of all files are compared: first without what
        programs put around names and in other spellings of the same characters, then in any case, then with any
        extension of a picture or none. The first of these steps that finds a file decides, if it finds only one. The
        path may still be a link that leads out of the folder.

        Raises:
            CatalogError: there is no such file, or there are several; the message names the nearest.
        """
        if self._exists(name):
            return name
        if _ADDRESS.match(name) and not _FILE_ADDRESS.match(name):
            raise CatalogError(f"image {redact_url(name)!r} is a web address; download the pictures into the folder")
        for wanted in self._meanings(name):
            candidates = self._files.get(_key(wanted), ())
            for same in (_readable, _in_any_case, _key):
                matching = [path for path in candidates if same(path) == same(wanted)]
                if len(matching) == 1:
                    return matching[0]
                if matching:
                    several = " and ".join(map(repr, sorted(matching)[:3]))
                    raise CatalogError(f"image {name!r} not found; it may be {several}")
        raise CatalogError(f"image {name!r} not found{self._suggestion(name)}")

    def size(self, name: str) -> int:
        """The size of the file of exactly this name, in bytes; 0 if there is none."""
        try:
            return os.stat(os.path.join(self._prefix, name)).st_size  # noqa: PTH116, PTH118  # see `_exists`
        except (OSError, ValueError):  # a NUL in the name
            return 0

    def _exists(self, name: str) -> bool:
        # Asked for each picture of a catalogue, and `Path` takes more than twice as long.
        return os.path.isfile(os.path.join(self._prefix, name))  # noqa: PTH113, PTH118  # faster, see above

    def _meanings(self, name: str) -> Iterator[str]:
        """What `name` may mean, relative to the folder, when there is no file of this name."""
        path = name.strip().strip("\"'").strip().replace("\\", "/")
        path = unquote(_FILE_ADDRESS.sub("", path), errors="surrogateescape")
        path = _DRIVE.sub("", path)
        parts = [part.strip() for part in path.split("/") if part not in ("", ".")]
        yield "/".join(parts)
        # A path that goes through a folder of the same name, such as photos/a.jpg or C:\data\photos\a.jpg.
        for index, part in enumerate(parts[:-1]):
            if _in_any_case(part) == _in_any_case(self.root.name):
                yield "/".join(parts[index + 1 :])

    @property
    def _files(self) -> dict[str, list[str]]:
        with self._lock:  # listed once, by the first thread that misses a picture
            return self._listed

    @cached_property
    def _listed(self) -> dict[str, list[str]]:
        """The paths of all pictures by `_key`."""
        listed: dict[str, list[str]] = {}
        count = 0
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            count += len(names)
            if count > MAX_FILES:
                return {}
            for name in names:
                if _SUFFIX.search(name) and not name.startswith("."):  # ._a.jpg is macOS's own
                    path = f"{folder}/{name}".removeprefix(f"{self.root}/")
                    listed.setdefault(_key(path), []).append(path)
        return listed

    def _suggestion(self, name: str) -> str:
        files = self._files
        with self._lock:
            self._compared += 1
            compared = self._compared
        if compared > _COMPARED_NAMES:
            return ""
        wanted = _key(name.replace("\\", "/"))
        last = wanted.rpartition("/")[2]
        elsewhere = [key for key in files if key.rpartition("/")[2] == last]
        known = list(files) if len(files) <= _COMPARED_FILES else []
        nearest = elsewhere or get_close_matches(wanted, known, n=1)
        if nearest:
            return f"; the nearest is {files[nearest[0]][0]!r}"
        return "; several pictures are separated by ';'" if re.search("[,|]", name) else ""


def _readable(path: str) -> str:
    """`path` in one spelling of equal characters; a file name that is not UTF-8 is read as Windows-1252."""
    try:
        path = path.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        path = os.fsencode(path).decode("cp1252", "replace")
    except UnicodeEncodeError:
        pass  # half a character of a JSON text, which no file has
    return unicodedata.normalize("NFC", path)


def _in_any_case(path: str) -> str:
    return unicodedata.normalize("NFC", _readable(path).lower())


def _key(path: str) -> str:
    return _SUFFIX.sub("", _in_any_case(path))
