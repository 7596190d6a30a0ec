"""Pictures at web addresses are downloaded from a real HTTP server and stored in a real MongoDB server."""

import asyncio
import hashlib
import io
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from structlog.testing import capture_logs

from framematch.catalog.importing.pictures.catalogue_pictures import PictureProblem
from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.catalog.importing.pictures.picture_source import NoFiles, PictureSource
from framematch.catalog.importing.pictures.stored_pictures import StoredPictures
from framematch.catalog.importing.pictures.web.requests import WebLimits
from framematch.catalog.importing.pictures.web.web_pictures import WebOptions, open_web_pictures
from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.mongo import Database
from framematch.catalog.product import StoredImage
from framematch.catalog.products import ProductStore, View
from framematch.core.errors import MongoUnavailableError, UsageError
from tests.integration.scripted_host import ScriptedHost, reply, running_host
from tests.unit.catalog.snapshots import picture

pytestmark = pytest.mark.integration

LIMITS = WebLimits(first_pause_s=0, longest_pause_s=0, request_s=5, tries=2)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def store(database: Database) -> ProductStore:
    return ProductStore(database)


@pytest.fixture
async def host() -> AsyncIterator[ScriptedHost]:
    async with running_host() as host:
        for number in range(6):
            host.give(f"/{number}.png", reply(200, picture(number), etag=f'"{number}"', content_type="image/png"))
        yield host


def view(number: int) -> View:
    return View(hashlib.sha256(picture(number)).hexdigest(), 24, 24)


def at(host: ScriptedHost, path: str) -> str:
    return f"http://127.0.0.1:{host.port}{path}"


class Imports:
    """Runs of the import with one store and one pool."""

    def __init__(self, store: ProductStore, pool: ThreadPoolExecutor, host: ScriptedHost) -> None:
        self.store_of_products = store
        self.pool = pool
        self.allowed: tuple[str, ...] = (f"127.0.0.1:{host.port}",)

    @asynccontextmanager
    async def run(
        self,
        *,
        files: PictureSource | None = None,
        limits: WebLimits = LIMITS,
        fresh_since: datetime | None = None,
    ) -> AsyncIterator[StoredPictures]:
        options = WebOptions(self.allowed, fresh_since=fresh_since)
        async with open_web_pictures(self.store_of_products, options, limits=limits) as web:
            yield StoredPictures(self.store_of_products, self.pool, files or NoFiles(), web)

    async def store(self, *names: str) -> Sequence[View | PictureProblem]:
        async with self.run() as pictures:
            outcomes = await pictures.store(names)
        return [outcomes[name] for name in names]


@pytest.fixture
def imports(store: ProductStore, pool: ThreadPoolExecutor, host: ScriptedHost) -> Imports:
    return Imports(store, pool, host)


async def test_pictures_are_downloaded_and_stored(imports: Imports, host: ScriptedHost, store: ProductStore) -> None:
    assert await imports.store(at(host, "/0.png"), at(host, "/1.png")) == [view(0), view(1)]
    assert await store.get_images([view(0).image]) == {view(0).image: picture(0)}


async def test_a_dead_address_leaves_the_other_pictures_good(imports: Imports, host: ScriptedHost) -> None:
    outcomes = await imports.store(at(host, "/0.png"), at(host, "/none.png"), at(host, "/1.png"))
    reason = f"image '{at(host, '/none.png')}' is not there: its server answers 404 Not Found"
    assert outcomes == [view(0), PictureProblem(ProblemKind.NO_IMAGE, reason), view(1)]


async def test_an_address_is_asked_once_however_often_it_is_named(imports: Imports, host: ScriptedHost) -> None:
    names = [at(host, "/0.png"), f" {at(host, '/0.png')}", at(host, "/0.png#top")]
    assert await imports.store(*names, *names) == [view(0)] * 6
    assert host.asked == ["/0.png"]


async def test_a_picture_that_has_not_changed_is_not_sent_again(imports: Imports, host: ScriptedHost) -> None:
    await imports.store(at(host, "/0.png"))
    host.give("/0.png", reply(304))
    assert await imports.store(at(host, "/0.png")) == [view(0)]
    assert [request.headers.get("if-none-match") for request in host.requests] == [None, '"0"']
    assert await imports.store(at(host, "/0.png")) == [view(0)]
    assert host.requests[-1].headers["if-none-match"] == '"0"'


async def test_a_picture_that_has_changed_gets_a_new_view(imports: Imports, host: ScriptedHost) -> None:
    await imports.store(at(host, "/0.png"))
    host.give("/0.png", reply(200, picture(7), etag='"7"'))
    assert await imports.store(at(host, "/0.png")) == [view(7)]
    await imports.store(at(host, "/0.png"))
    assert host.requests[-1].headers["if-none-match"] == '"7"'


async def test_a_picture_that_was_deleted_here_is_sent_again(
    imports: Imports, host: ScriptedHost, store: ProductStore
) -> None:
    await imports.store(at(host, "/0.png"))
    await store.database.images.delete_many({})
    assert await imports.store(at(host, "/0.png")) == [view(0)]
    assert "if-none-match" not in host.requests[-1].headers


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(503), "could not be downloaded: its server answers 503 Service Unavailable"),
        (reply(403), "could not be downloaded: its server answers 403 Forbidden"),
        (reply(200, b"<html>Down for maintenance</html>", content_type="image/png"), "is not an image"),
        (b"", "was not sent to its end"),
    ],
)
async def test_an_outage_takes_no_view_from_a_product_and_is_told(
    imports: Imports, host: ScriptedHost, answer: bytes, reason: str
) -> None:
    await imports.store(at(host, "/0.png"))
    host.give("/0.png", answer)
    async with imports.run() as pictures:
        assert await pictures.store([at(host, "/0.png")]) == {at(host, "/0.png"): view(0)}
        assert pictures.notices.kept == 1
        assert pictures.notices.kept_examples[0].startswith(f"image '{at(host, '/0.png')}' {reason}")
    host.give("/1.png", answer)
    (problem,) = await imports.store(at(host, "/1.png"))
    assert isinstance(problem, PictureProblem)
    assert reason in problem.reason


async def test_a_picture_that_is_gone_is_not_kept(imports: Imports, host: ScriptedHost) -> None:
    await imports.store(at(host, "/0.png"))
    host.give("/0.png", reply(410))
    (problem,) = await imports.store(at(host, "/0.png"))
    assert isinstance(problem, PictureProblem)
    assert problem.kind is ProblemKind.NO_IMAGE


async def test_what_a_picture_is_its_bytes_say(imports: Imports, host: ScriptedHost) -> None:
    jpeg = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(jpeg, "JPEG")
    path = "/840EC331.png?x=260&t=image/jpeg"
    host.give(path, reply(200, jpeg.getvalue(), content_type="text/html"))
    assert await imports.store(at(host, path)) == [View(hashlib.sha256(jpeg.getvalue()).hexdigest(), 20, 10)]


async def test_half_a_picture_is_no_picture(imports: Imports, host: ScriptedHost, store: ProductStore) -> None:
    host.give("/half.png", reply(200, picture(0)[:-100]))
    (problem,) = await imports.store(at(host, "/half.png"))
    assert isinstance(problem, PictureProblem)
    assert problem.kind is ProblemKind.BAD_IMAGE
    assert await store.database.images.count_documents({}) == 0


async def test_an_interrupted_import_does_not_ask_again_for_what_it_has(imports: Imports, host: ScriptedHost) -> None:
    started = datetime.now(UTC) - timedelta(seconds=1)
    await imports.store(at(host, "/0.png"))
    async with imports.run(fresh_since=started) as pictures:
        names = [at(host, "/0.png"), at(host, "/1.png")]
        assert await pictures.store(names) == {names[0]: view(0), names[1]: view(1)}
    assert host.asked == ["/0.png", "/1.png"]
    async with imports.run(fresh_since=datetime.now(UTC) + timedelta(seconds=1)) as pictures:
        await pictures.store([at(host, "/0.png")])
    assert host.asked == ["/0.png", "/1.png", "/0.png"]


async def test_neither_messages_logs_nor_documents_have_the_secret_of_an_address(
    imports: Imports, host: ScriptedHost, store: ProductStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2"
    for path in (f"/a.png?sig={secret}", f"/b.png?x={secret}", f"/c.png?x={secret}"):
        host.give(path, reply(200, picture(0)))
    host.give(f"/b.png?x={secret}", reply(503))
    host.give(f"/c.png?x={secret}", reply(302, location=f"http://169.254.169.254/?{secret}"))
    names = [at(host, request) for request in host.answers if secret in request]
    with capture_logs() as logs:
        outcomes = await imports.store(*names, f"http://user:{secret}@127.0.0.1:{host.port}/a.png")
    documents = [
        document
        for name in await store.database.list_collection_names()
        async for document in store.database[name].find()
    ]
    assert sum(isinstance(outcome, PictureProblem) for outcome in outcomes) == 3
    assert secret not in f"{outcomes} {logs} {documents}"
    assert secret not in "".join(record.getMessage() for record in caplog.records)
    (record,) = await store.database.picture_downloads.find().to_list()
    assert set(record) == {"_id", "digest", "etag", "last_modified", "checked_at"}


async def test_more_pictures_than_memory_are_downloaded_all(imports: Imports, host: ScriptedHost) -> None:
    for number in range(60):
        host.give(f"/many/{number}.png", reply(200, picture(number), content_length=str(len(picture(number)))))
    names = [at(host, f"/many/{number}.png") for number in range(60)]
    limits = WebLimits(held_bytes=len(picture(0)) + 1, first_pause_s=0)
    async with asyncio.timeout(30), imports.run(limits=limits) as pictures:
        outcomes = await pictures.store(names)
    assert outcomes == {name: view(number) for number, name in enumerate(names)}


async def test_looking_asks_for_nothing_and_takes_an_address_for_good(
    imports: Imports, host: ScriptedHost, store: ProductStore
) -> None:
    await imports.store(at(host, "/0.png"))
    host.requests.clear()
    async with imports.run() as pictures:
        looked = await pictures.look([at(host, "/0.png"), at(host, "/1.png"), at(host, "/none.png")])
    assert looked[at(host, "/0.png")] == view(0)
    others = [looked[at(host, path)] for path in ("/1.png", "/none.png")]
    assert all(isinstance(one, View) and one.width == 0 for one in others)
    assert others[0] != others[1]
    assert (host.asked, await store.database.images.count_documents({})) == ([], 1)


@pytest.fixture
def folder(tmp_path: Path) -> PictureFolder:
    for number in (0, 3):
        (tmp_path / f"{number}.png").write_bytes(picture(8))
    return PictureFolder(tmp_path.resolve())


async def test_an_address_that_is_allowed_goes_to_the_web_and_another_to_the_folder(
    imports: Imports, host: ScriptedHost, folder: PictureFolder
) -> None:
    names = [at(host, "/0.png"), "https://cdn.shop.example/3.png?v=1", "0.png", "https://cdn.shop.example/5.png"]
    async with imports.run(files=folder) as pictures:
        outcomes = await pictures.store(names)
    assert [outcomes[name] for name in names[:3]] == [view(0), view(8), view(8)]
    problem = outcomes[names[3]]
    assert isinstance(problem, PictureProblem)
    assert "allow it with --allow-host cdn.shop.example" in problem.reason
    assert host.asked == ["/0.png"]


async def test_nothing_is_asked_when_nothing_is_allowed(imports: Imports, host: ScriptedHost) -> None:
    imports.allowed = ()
    (problem,) = await imports.store(at(host, "/0.png"))
    assert isinstance(problem, PictureProblem)
    assert (problem.kind, host.asked) == (ProblemKind.NOT_ALLOWED, [])


async def test_a_pattern_that_is_none_is_a_usage_error(imports: Imports) -> None:
    imports.allowed = ("http://shop.example/",)
    with pytest.raises(UsageError, match="is no host to download pictures from"):
        await imports.store("a.png")


async def test_an_outage_of_mongodb_is_one_error_and_ends_the_downloads(
    imports: Imports, host: ScriptedHost, store: ProductStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(images: Sequence[StoredImage]) -> None:
        raise MongoUnavailableError(f"cannot write {len(images)}")

    monkeypatch.setattr(store, "put_images", fail)
    with pytest.raises(MongoUnavailableError, match="cannot write"):
        await imports.store(*[at(host, f"/{number}.png") for number in range(6)])
    monkeypatch.undo()
    assert await imports.store(at(host, "/0.png")) == [view(0)]
