"""Finds pictures among known paths, also when a catalogue file spells their names in another way."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import PurePosixPath
from threading import Lock
from urllib.parse import unquote, urlsplit

from framematch.catalog.importing.pictures.names import shown_name, without_file_scheme
from framematch.core.errors import CatalogError

# Names end so in catalogue files; `.txt` beside a picture is no picture.
_SUFFIX = re.compile(r"\.(?:jpe?g|jpe|jfif|png|webp|bmp|gif|tiff?|avif|heic|heif)$", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:(?=/)", re.IGNORECASE)
# Comparing a name with all files takes 10 ms for each thousand, so it is done only for the first missing ones.
_COMPARED_FILES = 5_000
_COMPARED_NAMES = 20


@dataclass(frozen=True)
class _Index:
    """Paths of pictures by `_key`, and by the last part of it."""

    by_key: dict[str, list[str]] = field(default_factory=dict)
    by_last_part: dict[str, list[str]] = field(default_factory=dict)


class Spellings:
    """Paths of pictures below a folder with one of the names `root_names`; `list_paths` is called when it is needed.

    Threads may share it.
    """

    def __init__(self, list_paths: Callable[[], Iterable[str]], root_names: Iterable[str]) -> None:
        self._list_paths = list_paths
        self._root_names = {_in_any_case(name) for name in root_names}
        self._lock = Lock()
        self._compared = 0

    def find(self, name: str) -> str:
        """The path of the picture that `name` means, if it is not a path itself.

        The names of all files are compared: first without what programs put around names and in other spellings of the
        same characters, then in any case, then with any extension of a picture or none. The first of these steps that
        finds a file decides, if it finds only one.

        Raises:
            CatalogError: there is no such file, or there are several; the message names the nearest.
        """
        for wanted in self._meanings(name):
            candidates = self._index.by_key.get(_key(wanted), ())
            for same in (_readable, _in_any_case, _key):
                matching = [path for path in candidates if same(path) == same(wanted)]
                if len(matching) == 1:
                    return matching[0]
                if matching:
                    several = " and ".join(map(repr, sorted(matching)[:3]))
                    raise CatalogError(f"image {shown_name(name)!r} not found; it may be {several}")
        raise CatalogError(f"image {shown_name(name)!r} not found{self._suggestion(name)}")

    def find_address(self, address: str) -> str | None:
        """The path of the one picture whose name is the last part of a web address, in any case.

        Of several, the one whose folders are those of the address, as `2024/05/shirt.jpg` is of
        `https://shop.example/uploads/2024/05/shirt.jpg`. None if there is none, or there are still several.
        """
        try:
            parts = _parts(unquote(urlsplit(address.strip()).path, errors="surrogateescape"))
        except ValueError:  # a host in brackets that is no address
            return None
        candidates = self._index.by_last_part.get(_in_any_case(parts[-1]), ()) if parts else ()
        ranked = [(_common_end(_parts(path), parts), path) for path in candidates]
        most = max((common for common, _ in ranked), default=0)
        nearest = [path for common, path in ranked if common == most]
        return nearest[0] if len(nearest) == 1 else None

    def _meanings(self, name: str) -> Iterator[str]:
        """What `name` may mean, relative to the folder, when there is no file of this name."""
        path = name.strip().strip("\"'").strip().replace("\\", "/")
        path = unquote(without_file_scheme(path), errors="surrogateescape")
        parts = [part.strip() for part in _parts(_DRIVE.sub("", path))]
        yield "/".join(parts)
        # A path that goes through a folder of the same name, such as photos/a.jpg or C:\data\photos\a.jpg.
        for index, part in enumerate(parts[:-1]):
            if _in_any_case(part) in self._root_names:
                yield "/".join(parts[index + 1 :])

    @property
    def _index(self) -> _Index:
        with self._lock:  # listed once, by the first thread that misses a picture
            return self._listed

    @cached_property
    def _listed(self) -> _Index:
        index = _Index()
        for path in self._list_paths():
            name = PurePosixPath(path).name
            if _SUFFIX.search(name) and not name.startswith("."):  # ._a.jpg is macOS's own
                index.by_key.setdefault(_key(path), []).append(path)
                index.by_last_part.setdefault(_in_any_case(name), []).append(path)
        return index

    def _suggestion(self, name: str) -> str:
        files = self._index.by_key
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


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _common_end(path: list[str], address: list[str]) -> int:
    """How many parts at the ends are the same, in any case."""
    count = 0
    for one, other in zip(reversed(path), reversed(address), strict=False):
        if _in_any_case(one) != _in_any_case(other):
            break
        count += 1
    return count


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
