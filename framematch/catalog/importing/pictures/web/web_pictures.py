"""Pictures at web addresses: downloaded unless they are stored, checked and stored."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from aiohttp.abc import AbstractResolver
from yarl import URL

from framematch.catalog.images import image_file
from framematch.catalog.importing.pictures.catalogue_pictures import PictureProblem
from framematch.catalog.importing.pictures.names import shown_name
from framematch.catalog.importing.pictures.picture_batch import NamedPicture, PictureBatches
from framematch.catalog.importing.pictures.web.allowed_hosts import AllowedHosts, parse_address
from framematch.catalog.importing.pictures.web.body import ByteBudget
from framematch.catalog.importing.pictures.web.download_records import DownloadRecord, DownloadRecords, address_key
from framematch.catalog.importing.pictures.web.downloads import Downloads
from framematch.catalog.importing.pictures.web.failures import DownloadError, Failure
from framematch.catalog.importing.pictures.web.requests import Answer, WebLimits, open_requests
from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.product import View
from framematch.catalog.products import ProductStore
from framematch.core.error_groups import ungrouped_errors

# Downloads that are checked and stored together.
_TOGETHER: Final = 64
_EXAMPLES: Final = 3

Outcomes = dict[str, View | PictureProblem]


@dataclass(frozen=True)
class WebOptions:
    """What may be downloaded: from the hosts of these patterns, or from any public one.

    What was checked since `fresh_since` is not asked for again: so an interrupted import goes on.
    """

    allow_hosts: tuple[str, ...] = ()
    allow_any_public_host: bool = False
    fresh_since: datetime | None = None


@dataclass(frozen=True)
class _Wanted:
    """A picture to download, and what is stored of it."""

    name: str
    url: URL
    record: DownloadRecord | None
    view: View | None

    @property
    def key(self) -> str:
        return address_key(str(self.url))


@dataclass(frozen=True)
class _Done:
    wanted: _Wanted
    result: Answer | Failure


class WebPictures:
    """Pictures at web addresses that may be asked (`allowed`). See `open_web_pictures`.

    Attributes:
        kept: how many pictures could not be checked, and stay in the catalogue as they were stored before.
        kept_examples: why, of the first of them.
    """

    def __init__(
        self,
        store: ProductStore,
        records: DownloadRecords,
        downloads: Downloads,
        *,
        allowed: AllowedHosts,
        budget: ByteBudget,
        fresh_since: datetime | None,
    ) -> None:
        self._store = store
        self._records = records
        self._downloads = downloads
        self._budget = budget
        self._fresh_since = fresh_since
        self.allowed = allowed
        self.kept = 0
        self.kept_examples: tuple[str, ...] = ()

    async def store(self, names: Iterable[str], batches: PictureBatches) -> Outcomes:
        """Download the pictures with these names, and store those that are new.

        Raises:
            MongoUnavailableError: MongoDB became unavailable.
        """
        wanted = await self._wanted(names)
        fresh = {one.name: one.view for one in wanted if one.view is not None and self._is_fresh(one)}
        outcomes: Outcomes = dict(fresh)
        # One request for names that are the same address in other spellings.
        asked = {one.key: one for one in wanted if one.name not in fresh}
        ready: asyncio.Queue[_Done] = asyncio.Queue()
        by_key: dict[str, View | PictureProblem] = {}
        with ungrouped_errors():
            async with asyncio.TaskGroup() as tasks:
                for one in asked.values():
                    tasks.create_task(self._download(one, ready))
                while len(by_key) < len(asked):
                    by_key |= await self._finish([await ready.get(), *_waiting(ready)], batches)
        return outcomes | {one.name: by_key[one.key] for one in wanted if one.name not in fresh}

    async def look(self, names: Iterable[str]) -> Outcomes:
        """The views that are stored; others count as good, with the size 0 x 0 and a digest of their address."""
        return {one.name: one.view or View(one.key, 0, 0) for one in await self._wanted(names)}

    async def _wanted(self, names: Iterable[str]) -> list[_Wanted]:
        urls = {name: url for name in names if (url := parse_address(name)) is not None}
        keys = {name: address_key(str(url)) for name, url in urls.items()}
        records = await self._records.find(set(keys.values())) if keys else {}
        views = await self._store.find_views({record.digest for record in records.values()}) if records else {}
        wanted = []
        for name, url in urls.items():
            record = records.get(keys[name])
            wanted.append(_Wanted(name, url, record, views.get(record.digest) if record else None))
        return wanted

    def _is_fresh(self, one: _Wanted) -> bool:
        return self._fresh_since is not None and one.record is not None and one.record.checked_at >= self._fresh_since

    async def _download(self, one: _Wanted, ready: asyncio.Queue[_Done]) -> None:
        known = one.record.validators if one.record is not None and one.view is not None else None
        try:
            result: Answer | Failure = await self._downloads.download(one.url, known)
        except DownloadError as error:
            result = error.failure
        await ready.put(_Done(one, result))

    async def _finish(self, done: Sequence[_Done], batches: PictureBatches) -> Outcomes:
        """The outcomes by the keys of the addresses; once it returns, the good pictures are stored."""
        pictures = {
            one.wanted.key: NamedPicture(one.wanted.name, image_file(shown_name(one.wanted.name), one.result.data))
            for one in done
            if isinstance(one.result, Answer) and one.result.data is not None
        }
        try:
            checked = await batches.check(list(pictures.values()))
        finally:
            await self._budget.give_back(sum(len(picture.file.data) for picture in pictures.values()))
        outcomes = {one.wanted.key: self._outcome(one, checked) for one in done}
        await self._records.put([record for one in done if (record := _new_record(one, outcomes[one.wanted.key]))])
        return outcomes

    def _outcome(self, done: _Done, checked: Mapping[str, View | PictureProblem]) -> View | PictureProblem:
        wanted, result = done.wanted, done.result
        if isinstance(result, Failure):
            problem = PictureProblem(result.kind, f"image {shown_name(wanted.name)!r} {result.reason}")
            return self._keep(wanted.view, problem) if result.is_outage else problem
        if result.data is None:
            return wanted.view or _vanished(wanted)
        outcome = checked[wanted.name]
        # A page of the host's instead of the picture is an outage too.
        return outcome if isinstance(outcome, View) else self._keep(wanted.view, outcome)

    def _keep(self, stored: View | None, problem: PictureProblem) -> View | PictureProblem:
        if stored is None:
            return problem
        self.kept += 1
        if len(self.kept_examples) < _EXAMPLES:
            self.kept_examples += (problem.reason,)
        return stored


@asynccontextmanager
async def open_web_pictures(
    store: ProductStore,
    options: WebOptions,
    *,
    limits: WebLimits = WebLimits(),  # noqa: B008  # frozen
    resolver: AbstractResolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[WebPictures]:
    """Pictures at the web addresses that the options allow, as long as the context lasts.

    Raises:
        UsageError: a pattern of a host is invalid.
        MongoUnavailableError: MongoDB became unavailable.
    """
    allowed = AllowedHosts(options.allow_hosts, any_public_host=options.allow_any_public_host)
    budget = ByteBudget(limits.held_bytes)
    records = DownloadRecords(store.database)
    await records.ensure_indexes()
    async with open_requests(allowed, limits, budget, resolver=resolver, ssl_context=ssl_context) as requests:
        downloads = Downloads(requests, limits)
        yield WebPictures(store, records, downloads, allowed=allowed, budget=budget, fresh_since=options.fresh_since)


def _waiting(ready: asyncio.Queue[_Done]) -> list[_Done]:
    """What is there already, without waiting."""
    waiting: list[_Done] = []
    while len(waiting) < _TOGETHER and not ready.empty():
        waiting.append(ready.get_nowait())
    return waiting


def _new_record(done: _Done, outcome: View | PictureProblem) -> DownloadRecord | None:
    """What to remember of an answer: nothing of one that was no picture."""
    if not isinstance(done.result, Answer) or not isinstance(outcome, View):
        return None
    now = datetime.now(UTC)
    if done.result.data is None:
        return None if done.wanted.record is None else replace(done.wanted.record, checked_at=now)
    return DownloadRecord(done.wanted.key, outcome.image, done.result.validators, now)


def _vanished(wanted: _Wanted) -> PictureProblem:
    reason = f"image {shown_name(wanted.name)!r} has not changed, its server says, but it is not stored"
    return PictureProblem(ProblemKind.UNREACHABLE, reason)
