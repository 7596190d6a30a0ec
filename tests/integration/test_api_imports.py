"""What a request of an import may say over REST: the columns, a dry run, pruning, and pictures at web addresses."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from framematch.catalog.mongo import Database
from framematch.catalog.products import Product
from framematch.stack.mongodb import MongoServer
from tests.integration.catalogue_api import CatalogueApi, catalogue_api
from tests.integration.product_site import ProductSite, stored_product
from tests.integration.scripted_host import ScriptedHost, reply, running_host
from tests.unit.catalog.snapshots import image_digest, picture

# Each operation starts a process, which takes seconds on a busy machine.
pytestmark = [
    pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("untraced_processes")
]  # fmt: skip

CSV = {"Content-Type": "text/csv"}
STORED = f"sha256:{image_digest(picture(1))}"
GERMAN = f"Nr;Titel;Preis;Bild\na;Äpfel;1.234;{STORED}\n".encode("cp1252")
COLUMNS = ["id=Nr", "name=Titel", "price=Preis", "image=Bild"]
READ_AS: dict[str, Any] = {"map": COLUMNS, "encoding": "cp1252", "decimal": ","}


@pytest.fixture
async def host() -> AsyncIterator[ScriptedHost]:
    async with running_host() as found:
        yield found


@pytest.fixture
async def api(
    database: Database, mongodb: MongoServer, host: ScriptedHost, tmp_path: Path
) -> AsyncIterator[CatalogueApi]:
    """The API over a catalogue with one product."""
    site = ProductSite(database, tmp_path)
    await site.store.upsert_many([await stored_product(site.store, "old", 1)])
    async with catalogue_api(site, mongodb.uri, import_hosts=[f"127.0.0.1:{host.port}"]) as found:
        yield found


async def imported(api: CatalogueApi, content: bytes, **query: Any) -> dict[str, Any]:
    """The ended operation."""
    return await api.ended(await api.client.post("/v1/products:import", content=content, headers=CSV, params=query))


async def product(api: CatalogueApi, product_id: str) -> Product:
    return (await api.site.store.get_many([product_id]))[product_id]


async def ids(api: CatalogueApi) -> set[str]:
    return {found.id async for found in api.site.store.iterate()}


async def test_a_request_says_what_the_columns_mean_and_how_numbers_are_written(api: CatalogueApi) -> None:
    ended = await imported(api, GERMAN, **READ_AS)
    assert (ended["state"], ended["response"]["added"]) == ("succeeded", 1)
    assert ended["parameters"]["map"] == COLUMNS
    apples = await product(api, "a")
    assert (apples.name, apples.price) == ("Äpfel", Decimal(1234))


async def test_a_dry_run_stores_nothing(api: CatalogueApi) -> None:
    ended = await imported(api, GERMAN, **READ_AS, dry_run=True, prune=True, prune_max=1)
    assert (ended["response"]["dry_run"], ended["response"]["added"], ended["response"]["lacking"]) == (True, 1, 1)
    assert await ids(api) == {"old"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"preset": "shopifi"}, "there is no preset 'shopifi'; the nearest is 'shopify'"),
        ({"map": ["nmae=Titel"]}, "the unknown field 'nmae'; the nearest is 'name'"),
        ({"map": ["name"]}, "'name' is not FIELD=COLUMN"),
        ({"encoding": "cp9999"}, "there is no encoding 'cp9999'"),
        ({"decimal": ";"}, "decimal"),
        ({"dryrun": "true"}, "dryrun"),
        ({"prune_max": "2", "prune": "true"}, "prune_max"),
        ({"prune_max": "10%"}, "prune_max"),
    ],
)
async def test_a_wrong_parameter_is_refused_before_anything_is_stored(
    api: CatalogueApi, query: dict[str, Any], said: str
) -> None:
    answer = await api.client.post("/v1/products:import", content=GERMAN, headers=CSV, params=query)
    assert answer.status_code in {400, 422}
    assert said in answer.text
    assert await api.site.database["operation_files.files"].count_documents({}) == 0


async def test_products_that_the_file_lacks_are_deleted_if_they_are_few(api: CatalogueApi) -> None:
    refused = await imported(api, GERMAN, **READ_AS, prune=True)
    assert (refused["response"]["lacking"], refused["response"]["deleted"]) == (1, 0)
    assert "at most 10% may be deleted" in refused["response"]["not_deleted"]
    assert await ids(api) == {"old", "a"}
    pruned = await imported(api, GERMAN, **READ_AS, prune=True, prune_max=0.5)
    assert (pruned["response"]["deleted"], pruned["response"]["not_deleted"]) == (1, None)
    assert await ids(api) == {"a"}


async def test_pictures_are_downloaded_from_the_hosts_that_the_operator_allows_and_from_no_other(
    api: CatalogueApi, host: ScriptedHost
) -> None:
    host.give("/kiwi.png", reply(200, picture(7), content_type="image/png"))
    rows = f"id,name,image\nk,Kiwi,http://127.0.0.1:{host.port}/kiwi.png\nx,X,http://127.0.0.2/x.png\n"
    ended = await imported(api, rows.encode())
    assert (ended["response"]["added"], ended["response"]["refused"]) == (1, 1)
    assert [view.image for view in (await product(api, "k")).views] == [image_digest(picture(7))]


async def test_an_export_for_spreadsheets_is_imported_to_the_same_catalogue(api: CatalogueApi) -> None:
    exported = await api.ended(await api.client.post("/v1/products:export", json={"format": "csv"}))
    content = await api.client.get(f"/v1/operations/{exported['id']}/content")
    assert content.headers["content-type"].startswith("text/csv")
    assert content.headers["content-disposition"].endswith('.csv"')
    again = await imported(api, content.content)
    assert (again["response"]["same"], again["response"]["read"]) == (1, 1)
