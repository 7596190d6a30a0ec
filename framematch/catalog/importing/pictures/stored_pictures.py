"""Stores the pictures that a catalogue file names, each once, with a bound on the bytes that are in memory."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from framematch.catalog.importing.pictures.catalogue_pictures import PictureProblem
from framematch.catalog.importing.pictures.names import is_address, shown_name, stored_digest
from framematch.catalog.importing.pictures.picture_batch import BatchLimits, NamedPicture, PictureBatches
from framematch.catalog.importing.pictures.picture_source import PictureSource, Respelling
from framematch.catalog.importing.pictures.web.allowed_hosts import AllowedHosts, parse_address
from framematch.catalog.importing.pictures.web.web_pictures import WebPictures
from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.product import View
from framematch.catalog.products import ProductStore
from framematch.core.errors import CatalogError

Result = TypeVar("Result")
Outcomes = dict[str, View | PictureProblem]

_EXAMPLES = 3


@dataclass(frozen=True)
class PictureNotices:
    """What to tell about the pictures that are good.

    Attributes:
        respelled, respellings: how many were found under another name, and the first of them.
        kept, kept_examples: how many could not be downloaded and stay as they were stored before, and why the first.
    """

    respelled: int = 0
    respellings: tuple[Respelling, ...] = ()
    kept: int = 0
    kept_examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class _SortedNames:
    """Names by where their pictures are; an address that is not asked may be that of a file."""

    stored: Sequence[str]
    web: Sequence[str]
    files: Sequence[str]


@dataclass(frozen=True)
class _Found:
    name: str
    path: str
    size: int


class StoredPictures:
    """Pictures from a folder, an archive or neither (`files`), from the web, and those that are stored already.

    A web address that is not allowed may still be that of a file, see `PictureSource.find_address`.

    Memory: `limits.held_bytes` of files, or as many downloaded ones, and what decoding one picture a thread takes.
    """

    def __init__(
        self,
        store: ProductStore,
        pool: ThreadPoolExecutor,
        files: PictureSource,
        web: WebPictures | None = None,
        *,
        limits: BatchLimits = BatchLimits(),  # noqa: B008  # frozen
    ) -> None:
        self._store = store
        self._pool = pool
        self._files = files
        self._web = web
        self._allowed = AllowedHosts() if web is None else web.allowed
        self._limits = limits
        self._respelled = 0
        self._respellings: tuple[Respelling, ...] = ()

    @property
    def notices(self) -> PictureNotices:
        """What to tell about all pictures so far."""
        kept, examples = (self._web.kept, self._web.kept_examples) if self._web is not None else (0, ())
        return PictureNotices(self._respelled, self._respellings, kept, examples)

    async def store(self, names: Iterable[str]) -> Mapping[str, View | PictureProblem]:
        """Find, read, check and store the pictures with these names, each once; the answer has every name.

        A picture that is stored already was checked then, so it is not decoded again.

        Raises:
            MongoUnavailableError: MongoDB became unavailable.
        """
        batches = PictureBatches(self._store, self._pool, self._limits, writes=True)
        sorted_names = self._sorted(names)
        outcomes = await self._known(sorted_names.stored) | await self._from_files(sorted_names.files, batches)
        if self._web is not None and sorted_names.web:
            outcomes |= await self._web.store(sorted_names.web, batches)
        return outcomes

    async def look(self, names: Iterable[str]) -> Mapping[str, View | PictureProblem]:
        """The same, but nothing is stored or downloaded: a picture at a web address that is allowed counts as good.

        Raises:
            MongoUnavailableError: MongoDB became unavailable.
        """
        batches = PictureBatches(self._store, self._pool, self._limits, writes=False)
        sorted_names = self._sorted(names)
        outcomes = await self._known(sorted_names.stored) | await self._from_files(sorted_names.files, batches)
        if self._web is not None and sorted_names.web:
            outcomes |= await self._web.look(sorted_names.web)
        return outcomes

    def _sorted(self, names: Iterable[str]) -> _SortedNames:
        stored, web, files = [], [], []
        for name in dict.fromkeys(names):
            if stored_digest(name):
                stored.append(name)
            elif is_address(name) and self._refusal(name) is None:
                web.append(name)
            else:
                files.append(name)
        return _SortedNames(stored, web, files)

    def _refusal(self, name: str) -> str | None:
        """Why a web address is not asked, to complete "image X …"."""
        url = parse_address(name)
        return "is at no valid web address" if url is None else self._allowed.refusal(url)

    async def _known(self, names: Sequence[str]) -> Outcomes:
        """The pictures that are named by their digest."""
        digests = {name: digest for name in names if (digest := stored_digest(name))}
        views = await self._store.find_views(digests.values()) if digests else {}
        missing = {name: PictureProblem(ProblemKind.NO_IMAGE, f"image {name!r} is not stored") for name in digests}
        return {name: views.get(digest, missing[name]) for name, digest in digests.items()}

    async def _from_files(self, names: Sequence[str], batches: PictureBatches) -> Outcomes:
        outcomes: Outcomes = {}
        found: list[_Found] = []
        (sought,) = await self._in_threads(lambda all_names: [self._find(name) for name in all_names], [names])
        for name, one in zip(names, sought, strict=True):
            if isinstance(one, PictureProblem):
                outcomes[name] = one
            else:
                found.append(one)
        for wave in _waves(found, self._limits.held_bytes):
            read = await self._in_threads(self._read, wave)
            outcomes |= {one.name: why for one, why in zip(wave, read, strict=True) if isinstance(why, PictureProblem)}
            outcomes |= await batches.check([one for one in read if isinstance(one, NamedPicture)])
        self._note(one for one in found if isinstance(outcomes[one.name], View) and one.name != one.path)
        return outcomes

    def _find(self, name: str) -> _Found | PictureProblem:
        try:
            path = self._files.find_address(name) if is_address(name) else self._files.find(name)
        except CatalogError as error:
            return PictureProblem(ProblemKind.NO_IMAGE, error.message)
        if path is None:
            return PictureProblem(ProblemKind.NOT_ALLOWED, f"image {shown_name(name)!r} {self._refusal(name)}")
        return _Found(name, path, self._files.size(path))

    def _read(self, found: _Found) -> NamedPicture | PictureProblem:
        try:
            return NamedPicture(found.name, self._files.read(found.path))
        except CatalogError as error:
            return PictureProblem(ProblemKind.BAD_IMAGE, error.message)

    def _note(self, respelled: Iterable[_Found]) -> None:
        for one in respelled:
            self._respelled += 1
            if len(self._respellings) < _EXAMPLES:
                self._respellings += (Respelling(shown_name(one.name), one.path),)

    async def _in_threads(self, function: Callable[..., Result], values: Iterable[object]) -> list[Result]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(self._pool, partial(function, value)) for value in values))


def _waves(found: Iterable[_Found], held_bytes: int) -> Iterator[list[_Found]]:
    """Files of up to `held_bytes` together, or one file."""
    wave: list[_Found] = []
    wave_bytes = 0
    for one in found:
        if wave and wave_bytes + one.size > held_bytes:
            yield wave
            wave, wave_bytes = [], 0
        wave.append(one)
        wave_bytes += one.size
    if wave:
        yield wave
