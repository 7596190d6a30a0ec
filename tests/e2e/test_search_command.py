"""`framematch search` in the demo's catalogue, by its model."""

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from pydantic import SecretStr
from typer.testing import CliRunner

from demo.dataset import DATA_DIR
from demo.model.grocery import load_products
from framematch.catalog.mongo import connect
from framematch.catalog.products import ProductFilter, ProductStore
from framematch.cli.app import app
from framematch.core.errors import FramematchError
from framematch.core.local_stack import LocalStack
from framematch.core.settings import MongoSettings, Settings, TritonSettings
from framematch.matching.enrich import MetadataCache
from framematch.matching.match_pictures import DirectEngine
from framematch.matching.search import Catalogue, TextSearch, search_by_text
from framematch.matching.serving.opener import open_served
from framematch.vision.encoder import TextEncoder
from tests.e2e.site import Site
from tests.integration.commands import framematch

pytestmark = pytest.mark.usefixtures("untraced_processes")

APPLE = DATA_DIR / "images" / "granny-smith.jpg"
NONSENSE = (
    "asdf", "qwertz uiop", "xxxxxxxx", "lorem ipsum dolor sit amet", "zzz", "blorp", "flurbel gnarf", "1234567890",
    "!!!", "%%%", "foo bar baz", "hjkl hjkl", "kjashd kajshd kasd", "wkzqj", "x y z", "---", "0", "null", "undefined",
    "NaN",
)  # fmt: skip
THINGS = (
    "car", "bicycle", "laptop", "running shoes", "hammer", "screwdriver", "television", "smartphone", "washing machine",
    "sofa", "table", "chair", "lamp", "bed", "pillow", "shirt", "jeans", "dress", "jacket", "hat", "umbrella", "guitar",
    "piano", "violin", "camera", "book", "newspaper", "pencil", "paper", "scissors",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """The end of a search: with `--json` its result, else its `text`."""

    code: int
    result: dict[str, Any]
    error: str

    @property
    def ids(self) -> list[str]:
        return [product["id"] for product in self.result["products"]]


def search(site: Site, *arguments: str, **environment: str) -> Done:
    """Search in this process."""
    done = CliRunner().invoke(app, ["search", *arguments], env=site.environment | environment)
    error = done.exception
    if error is not None and not isinstance(error, FramematchError | SystemExit):
        raise error
    code = error.exit_code if isinstance(error, FramematchError) else done.exit_code
    result = json.loads(done.stdout) if done.stdout and "--json" in arguments else {"text": done.stdout}
    return Done(code, result, str(error or ""))


def test_a_picture_of_the_catalogue_finds_its_product_however_it_is_turned(site: Site, tmp_path: Path) -> None:
    turned = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(APPLE) as picture:
        ImageOps.exif_transpose(picture).rotate(90, expand=True).save(turned, exif=exif)
    for file in (APPLE, turned):
        done = search(site, "--json", "--image", str(file))
        assert (done.code, done.result["near"], done.result["decision"]) == (0, True, "match"), done
        best = done.result["products"][0]
        assert (best["id"], best["name"], best["category"], best["price"]) == (
            "granny-smith", "Granny Smith", "Apple", 0.59,
        )  # fmt: skip
        assert best["score"] > 0.99
        assert len(done.ids) == 5


def test_a_text_finds_its_product_and_filters_apply(site: Site) -> None:
    done = search(site, "--json", "--text", "Granny Smith", "--top-k", "3")
    assert (done.code, done.result["near"], done.ids[0], len(done.ids)) == (0, True, "granny-smith", 3)
    assert done.result["z_score"] >= 1
    filtered = search(site, "--json", "--text", "Granny Smith", "--category", "Apple", "--price-max", "0.56")
    assert 0 < filtered.result["products_searched"] < 10
    assert {product["category"] for product in filtered.result["products"]} == {"Apple"}
    assert max(product["price"] for product in filtered.result["products"]) <= 0.56
    assert "granny-smith" not in filtered.ids


def test_nothing_is_near_is_an_answer(site: Site, tmp_path: Path) -> None:
    grey = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(grey, "JPEG")
    (tmp_path / "grey.jpg").write_bytes(grey.getvalue())
    done = search(site, "--text", "flurbel gnarf", "--json")
    assert (done.code, done.result["near"], done.error) == (0, False, "")
    for arguments, says in (
        (("--text", "flurbel gnarf"), "Nothing is near; these are the least far (z-score"),
        (("--image", str(tmp_path / "grey.jpg")), "Nothing is near: the picture shows nothing"),
        (("--text", "Granny Smith", "--category", "Nonesuch"), "Nothing is near: no product fits the filters"),
    ):
        shown = search(site, *arguments)
        assert (shown.code, shown.error) == (0, "")
        assert says in shown.result["text"]
        assert f"snapshot {done.result['snapshot']}, delta 0" in shown.result["text"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "it is not clear what to search for"),
        (("--text", "milk", "--image", "a.jpg"), 2, "it is not clear what to search for"),
        (("--text", " "), 2, "the text is empty"),
        (("--image", "/no/such.jpg"), 2, "cannot read /no/such.jpg: No such file or directory"),
        (("--image", __file__), 2, "test_search_command.py is not an image"),
        (("--text", "milk", "--price-max", "-1"), 2, "--price-max -1 is no price"),
        (("--text", "milk", "--price-min", "3", "--price-max", "2"), 2, "--price-min 3 is more than --price-max 2"),
        (("--text", "milk", "--snapshot", "nonesuch"), 1, "there is no snapshot 'nonesuch'"),
    ],
)
def test_bad_input_is_refused(site: Site, arguments: Sequence[str], code: int, says: str) -> None:
    refused = search(site, *arguments)
    assert refused.code == code
    assert says in refused.error


@pytest.mark.parametrize(("name", "says"), [("TRITON_URL", "Triton"), ("MONGODB_URI", "MongoDB at")])
def test_a_server_that_is_away_is_one_line(site: Site, dead_address: str, name: str, says: str) -> None:
    address = f"mongodb://{dead_address}" if name == "MONGODB_URI" else dead_address
    away = {name: address, "FRAMEMATCH_MONGODB__TIMEOUT_S": "1", "FRAMEMATCH_TRITON__TIMEOUT_S": "1"}
    refused = framematch(site.environment | away, "search", "--text", "milk")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
    assert says in refused.stderr


async def test_texts_are_near_at_about_the_rates_that_are_stated(servers: LocalStack, tmp_path: Path) -> None:
    assert servers.mongodb_uri is not None
    assert servers.triton_url is not None
    settings = Settings(
        mongodb=MongoSettings(uri=SecretStr(servers.mongodb_uri)), triton=TritonSettings(url=servers.triton_url)
    )
    async with await connect(servers.mongodb_uri) as client:
        database = client[settings.mongodb.database]
        served = await open_served(database, None, settings=settings, cache_dir=tmp_path)
        model = await TextEncoder.connect(servers.triton_url, served.model.digest)
        with ThreadPoolExecutor(1) as thread:
            async with served.encoder, model:
                store = ProductStore(database)
                catalogue = Catalogue(served, store, MetadataCache(store), DirectEngine(thread))
                texts = TextSearch(model)

                async def near(some: Sequence[str]) -> float:
                    """The share of these texts that are near."""
                    found = [
                        await search_by_text(catalogue, texts, one, top_k=1, products=ProductFilter()) for one in some
                    ]
                    return sum(one.near for one in found) / len(found)

                assert await near([product.name for product in load_products()]) == 1
                assert await near(NONSENSE) <= 0.1
                assert await near(THINGS) <= 0.4
