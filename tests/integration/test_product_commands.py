"""`framematch catalog add` and `delete` with real MongoDB and Triton servers, and a part of the demo's catalogue."""

import asyncio
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from demo.dataset import BUNDLE_DIR, DATA_DIR
from framematch.catalog.mongo import connect
from framematch.catalog.snapshots.names import read_names
from framematch.catalog.snapshots.serving_status import ServingStatus, write_status
from framematch.cli.catalog import app
from framematch.core.errors import FramematchError, TritonUnavailableError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from tests.integration.commands import framematch

pytestmark = pytest.mark.integration

IMAGES = DATA_DIR / "images"
KIWI, LEMON = str(IMAGES / "kiwi.jpg"), str(IMAGES / "lemon.jpg")


@pytest.fixture(scope="module")
def triton(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    repository = tmp_path_factory.mktemp("repository")
    build_model_repository(load_bundle(BUNDLE_DIR), repository, BuildOptions(max_batch_size=16))
    return start_triton(repository)


@pytest.fixture
def database(mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an empty database that the commands use."""
    name = f"products_{uuid.uuid4().hex}"
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", name)
    yield name
    asyncio.run(drop(mongodb.uri, name))


@pytest.fixture
def built(database: str, triton: TritonServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A database with two products and an active snapshot."""
    monkeypatch.setenv("TRITON_URL", triton.url)
    (tmp_path / "products.csv").write_text(f"id,name,image\n1,Lemon,{LEMON}\n2,Lime,{IMAGES / 'lime.jpg'}\n")
    assert run("import", str(tmp_path / "products.csv"), "--images", "/").exit_code == 0
    assert run("build").exit_code == 0
    return database


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def failed(*arguments: str) -> FramematchError:
    result = run(*arguments)
    assert isinstance(result.exception, FramematchError), result.output
    return result.exception


async def drop(uri: str, name: str) -> None:
    async with await connect(uri) as client:
        await client.drop_database(name)


@pytest.mark.usefixtures("built")
def test_a_product_is_added_with_all_its_fields_replaced_and_removed() -> None:
    fields = ["--category", "Fruit", "--price", "0.450", "--currency", "EUR", "--sku", "K-3", "--gtin", "4006381333931"]
    fields += ["--description", "Green", "--attribute", "origin=Italy"]
    added = run("add", "3", "--name", "Kiwi", "--image", KIWI, *fields)
    assert added.stdout == "Product 3 is stored: searchable with delta 1\n"
    shown = run("list", "--json").stdout.splitlines()[-1]
    assert '"price":0.450' in shown
    kiwi = json.loads(shown)
    assert (kiwi["currency"], kiwi["skus"]) == (
        "EUR",
        [{"id": "K-3", "gtin": "04006381333931", "price": None, "options": {}}],
    )
    found = run("list", "--q", "kiwi k-3 004006381333931").stdout
    assert ("0.450 EUR" in found, "1 product" in found) == (True, True)
    assert "1 product, and there are more (--limit)" in run("list", "--q", "l", "--limit", "1").stdout
    assert (kiwi["id"], kiwi["name"], kiwi["category"], kiwi["price"]) == ("3", "Kiwi", "Fruit", 0.45)
    assert (kiwi["description"], kiwi["attributes"], len(kiwi["views"])) == ("Green", {"origin": "Italy"}, 1)

    assert "delta 2" in run("add", "3", "--name", "Fruit", "--image", KIWI, "--image", LEMON).stdout
    fruit = json.loads(run("list", "--json").stdout.splitlines()[-1])
    assert (fruit["name"], fruit["category"], fruit["attributes"], len(fruit["views"])) == ("Fruit", None, {}, 2)

    removed = run("delete", "3", "2", "3")
    assert removed.stdout.splitlines() == [
        "Product 3 is deleted: not found any more with delta 3",
        "Product 2 is deleted: not found any more with delta 4",
    ]
    assert "1 of 1 products" in run("list").stdout


@pytest.mark.usefixtures("database")
def test_without_an_active_snapshot_the_command_says_that_a_build_is_needed() -> None:
    added = run("add", "3", "--name", "Kiwi", "--image", KIWI)
    assert added.stdout == "Product 3 is stored. No snapshot is active: run 'framematch catalog build'\n"
    assert "1 of 1 products" in run("list").stdout


@pytest.mark.usefixtures("built")
def test_nothing_is_removed_when_one_of_the_ids_is_unknown() -> None:
    error = failed("delete", "1", "none")
    assert (error.message, error.exit_code) == ("there is no product 'none'", 1)
    assert "2 of 2 products" in run("list").stdout


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", " ", "--image", KIWI], "product '3' cannot be added: no name"),
        (["--name", "Kiwi", "--image", "none.jpg"], "there is no file none.jpg"),
        (["--name", "Kiwi", "--image", KIWI, "--price", "cheap"], "product '3' cannot be added: price 'cheap'"),
        (["--name", "Kiwi", "--image", KIWI, "--attribute", "red"], "the attribute 'red' is not KEY=VALUE"),
        (["--name", "Kiwi", "--image", KIWI, *["--attribute", "a=1"] * 2], "the attribute 'a' is given twice"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str) -> None:
    error = failed("add", "3", *arguments)
    assert error.message.startswith(message)
    assert error.exit_code == 2
    assert "0 of 0 products" in run("list").stdout


@pytest.mark.usefixtures("built")
def test_ids_that_look_the_same_are_the_same() -> None:
    assert run("add", "Cre\u0300me", "--name", "Cream", "--image", KIWI).exit_code == 0
    assert run("add", "Cr\u00e8me", "--name", "Cream", "--image", KIWI).exit_code == 0
    assert "3 of 3 products" in run("list").stdout
    assert run("delete", " Cre\u0300me").exit_code == 0
    assert "2 of 2 products" in run("list").stdout


@pytest.mark.usefixtures("built")
def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    picture = tmp_path / "kiwi.jpg"
    picture.write_bytes(Path(KIWI).read_bytes()[:2_000])
    error = failed("add", "1", "--name", "Kiwi", "--image", str(picture))
    assert error.message.startswith(f"product '1' cannot be added: image '{picture}'")
    assert "Lemon" in run("list").stdout


@pytest.mark.usefixtures("built")
def test_nothing_is_changed_while_triton_is_away(dead_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_URL", dead_address)
    monkeypatch.setenv("FRAMEMATCH_TRITON__TIMEOUT_S", "0.5")
    assert isinstance(failed("add", "1", "--name", "Kiwi", "--image", KIWI), TritonUnavailableError)
    assert "Lemon" in run("list").stdout
    assert run("delete", "1").exit_code == 0


def test_mongodb_away_is_one_line(dead_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", f"mongodb://{dead_address}/")
    monkeypatch.setenv("FRAMEMATCH_MONGODB__TIMEOUT_S", "0.5")
    for arguments in (["add", "1", "--name", "Kiwi", "--image", KIWI], ["delete", "1"]):
        done = framematch({}, "catalog", *arguments)  # a process: the driver leaves a socket to the garbage collector
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(f"framematch: MongoDB at mongodb://{dead_address}/ does not answer")


async def test_the_command_waits_for_running_processes_and_says_which_do_not_serve_the_change(
    built: str, mongodb: MongoServer
) -> None:
    async def catalog(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return await asyncio.to_thread(framematch, {}, "catalog", *arguments)

    async with await connect(mongodb.uri) as client:
        active = str((await read_names(client[built])).active)

        async def report(instance: str, delta: int) -> None:
            await write_status(client[built], ServingStatus(instance, "host", 1, "consumer", active, delta, None, 1))

        add = ["add", "3", "--name", "Kiwi", "--image", KIWI, "--wait"]
        assert (await catalog(*add, "0")).stdout.endswith("No process is running\n")
        await report("a", 2)
        assert (await catalog(*add, "5")).stdout.endswith("Served by all running processes: 1\n")
        await report("a", 3)
        await report("b", 2)
        refused = await catalog("delete", "3", "--wait", "0")
    assert (refused.returncode, refused.stdout) == (1, "Product 3 is deleted: not found any more with delta 3\n")
    assert refused.stderr.startswith("framematch: after 0 s 1 of 2 processes serve delta 3.")
