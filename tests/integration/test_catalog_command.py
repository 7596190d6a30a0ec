"""`framematch catalog` with the real MongoDB and Triton servers, and the demo's catalogue."""

import asyncio
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from demo.dataset import BUNDLE_DIR, DATA_DIR, load_photos
from framematch.catalog.images import decode_rgb
from framematch.catalog.mongo import connect
from framematch.catalog.snapshots.names import SnapshotNames, read_names
from framematch.catalog.snapshots.snapshot import Snapshot, check_compatible
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.store import load_snapshot
from framematch.cli.catalog import app
from framematch.cli.import_table import SHOWN_PROBLEMS
from framematch.core.errors import FramematchError, ModelError, ModelMismatchError, UsageError
from framematch.core.paths import state_dir
from framematch.matching.decision import Decision
from framematch.matching.matcher import Matcher
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor

pytestmark = pytest.mark.integration

PRODUCTS = 81


@dataclass(frozen=True)
class Site:
    """The database that a test's commands use."""

    uri: str
    database: str


@pytest.fixture
def site(mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    name = f"command_{uuid.uuid4().hex}"
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", name)
    yield Site(mongodb.uri, name)
    asyncio.run(drop(mongodb.uri, name))


@pytest.fixture(scope="module")
def triton(start_triton: Callable[[Path], TritonServer], tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    bundle = load_bundle(BUNDLE_DIR)
    repository = tmp_path_factory.mktemp("repository")
    build_model_repository(bundle, repository, BuildOptions(max_batch_size=16))
    return start_triton(repository)


async def drop(uri: str, name: str) -> None:
    async with await connect(uri) as client:
        await client.drop_database(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.usefixtures("site")
def test_importing_reports_the_rows_and_listing_shows_them() -> None:
    result = run("import", str(DATA_DIR / "catalog.csv"))
    assert result.exit_code == 0
    assert f"{PRODUCTS} added, 0 changed, 0 same, 0 merged, 0 refused" in result.stdout
    assert f"2 of {PRODUCTS} products" in run("list", "--limit", "2").stdout
    lines = run("list", "--json", "--category", "Apple").stdout.splitlines()
    assert {json.loads(line)["category"] for line in lines} == {"Apple"}


@pytest.fixture
def half_good(tmp_path: Path) -> Path:
    """A catalogue with one good row, a row with an unclosed quote, and many without their pictures."""
    (tmp_path / "a.jpg").write_bytes((DATA_DIR / "images" / "kiwi.jpg").read_bytes())
    bad = "".join(f"{number},Bad,[none].jpg\n" for number in range(SHOWN_PROBLEMS + 5))
    path = tmp_path / "p.csv"
    path.write_text("id,name,image\ngood,Good,a.jpg\n" + bad + '\nquote,"Quote,a.jpg\n')
    return path


@pytest.mark.usefixtures("site")
def test_rows_that_are_refused_are_grouped_counted_and_fail_the_command(half_good: Path) -> None:
    result = run("import", str(half_good))
    assert isinstance(result.exception, FramematchError)
    assert result.exception.exit_code == 1
    assert result.exception.message == f"11 of 12 rows of {half_good} were refused"
    assert "line 3: image '[none].jpg' not found" in result.stdout
    assert result.stdout.count("'[none].jpg'") == SHOWN_PROBLEMS
    assert "and 5 more rows" in result.stdout
    assert "line 14: a quote is not closed" in result.stdout
    counts = "12 rows read: 1 added, 0 changed, 0 same, 0 merged, 11 refused; 1 blank line ignored"
    assert counts in result.stdout


@pytest.mark.usefixtures("site")
def test_all_refused_rows_are_in_a_file_that_the_error_names(half_good: Path) -> None:
    default = run("import", str(half_good))
    assert isinstance(default.exception, FramematchError)
    assert str(state_dir() / "import_refused.csv") in default.exception.hint
    given = half_good.with_name("refused.csv")
    run("import", str(half_good), "--refused", str(given))
    header, *rows = given.read_text(encoding="utf-8-sig").splitlines()
    assert header == "id,name,image,line,reason"
    assert "0,Bad,[none].jpg,3,image '[none].jpg' not found" in rows
    assert len(rows) == SHOWN_PROBLEMS + 5 + 1


@pytest.mark.usefixtures("site")
def test_refused_rows_that_are_corrected_are_imported_from_their_file(half_good: Path) -> None:
    refused = half_good.with_name("refused.csv")
    run("import", str(half_good), "--refused", str(refused))
    text = refused.read_text(encoding="utf-8-sig")
    refused.write_text(text.replace("[none].jpg,", "a.jpg,").replace('"quote,""Quote,a.jpg",,', "quote,Quote,a.jpg"))
    result = run("import", str(refused), "--refused", str(half_good.with_name("again.csv")))
    assert result.exit_code == 0, result.output
    assert "11 rows read: 11 added" in result.stdout
    assert not half_good.with_name("again.csv").exists()
    assert run("import", str(half_good)).exit_code == 1
    lines = run("list", "--json", "--limit", "100").stdout.splitlines()
    assert {json.dumps(json.loads(line)["attributes"]) for line in lines} == {"{}"}


@pytest.mark.usefixtures("site")
def test_a_file_for_refused_rows_that_cannot_be_written_is_refused_before_the_import(half_good: Path) -> None:
    for path in (half_good, half_good / "below.csv"):
        result = run("import", str(half_good), "--refused", str(path))
        assert isinstance(result.exception, UsageError)
    assert half_good.read_text().startswith("id,name,image")
    assert "0 of 0 products" in run("list").stdout


@pytest.mark.usefixtures("site")
def test_a_dry_run_says_the_same_and_stores_nothing(half_good: Path) -> None:
    result = run("import", str(half_good), "--dry-run")
    assert isinstance(result.exception, FramematchError)
    assert "12 rows read: 1 added, 0 changed, 0 same, 0 merged, 11 refused" in result.stdout
    assert "(dry run: nothing was stored)" in result.stdout
    assert not (state_dir() / "import_refused.csv").exists()
    assert "0 of 0 products" in run("list").stdout


def test_a_file_is_explained_without_any_server(half_good: Path) -> None:
    result = run("import", str(half_good), "--explain")
    assert result.exit_code == 0, result.output
    assert "framematch's own table" in result.stdout
    assert "good (line 2)" in result.stdout


@pytest.mark.usefixtures("site")
def test_products_that_the_file_lacks_are_shown_and_deleted_if_they_are_few(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((DATA_DIR / "images" / "kiwi.jpg").read_bytes())
    file = tmp_path / "p.csv"

    def write(numbers: range) -> None:
        file.write_text("id,name,image\n" + "".join(f"p{number:02},Product {number},a.jpg\n" for number in numbers))

    write(range(40))
    assert run("import", str(file)).exit_code == 0
    write(range(30))
    refused = run("import", str(file), "--prune")
    assert isinstance(refused.exception, FramematchError)
    assert refused.exception.exit_code == 1
    assert "25%, and at most 10%" in refused.exception.message
    assert "p30 Product 30" in refused.stdout
    assert "20 of 40 products" in run("list").stdout
    dry = run("import", str(file), "--prune", "--prune-max", "100%", "--dry-run")
    assert (dry.exit_code, "They are deleted" in dry.stdout) == (0, False)
    done = run("import", str(file), "--prune", "--prune-max", "25%")
    assert done.exit_code == 0, done.output
    assert "They are deleted. Consumers search them until the next 'framematch catalog build'" in done.stdout
    assert "20 of 30 products" in run("list").stdout


@pytest.mark.usefixtures("site")
def test_a_file_without_a_good_row_fails(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,name,image\n1,Bad,none.jpg\n")
    result = run("import", str(tmp_path / "p.csv"))
    assert isinstance(result.exception, FramematchError)
    assert result.exception.exit_code == 1
    assert "line 2: image 'none.jpg' not found" in result.stdout


@pytest.mark.usefixtures("site")
def test_a_header_alone_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,name,image\n")
    result = run("import", str(tmp_path / "p.csv"))
    assert isinstance(result.exception, FramematchError)
    assert result.exception.message.endswith("has no rows")


def test_without_an_address_of_mongodb_the_error_names_the_setting() -> None:
    result = run("list")
    assert isinstance(result.exception, FramematchError)
    assert "MONGODB_URI" in str(result.exception)
    assert result.exception.exit_code == 2


def test_a_built_snapshot_is_active_and_matches_the_catalogues_own_pictures(
    site: Site, triton: TritonServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_URL", triton.url)
    run("import", str(DATA_DIR / "catalog.csv"))
    result = run("build", "--preprocessing", "exact")
    assert result.exit_code == 0, result.output
    assert f"rows        {PRODUCTS} views of {PRODUCTS} products" in result.stdout
    assert "pairs of the catalogue's pictures: about" in result.stdout

    snapshot, decisions = asyncio.run(match_own_pictures(site, triton.url, tmp_path))
    assert snapshot.manifest.id in result.stdout
    assert snapshot.manifest.preprocessing_variant == "exact"
    assert [decision.candidates[0].product_id for decision in decisions] == list(snapshot.rows.product_ids)
    assert sum(decision.kind == "match" for decision in decisions) > 0.9 * PRODUCTS


def test_a_second_build_embeds_nothing_and_can_be_left_inactive(
    site: Site, triton: TritonServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_URL", triton.url)
    monkeypatch.setenv("FRAMEMATCH_SNAPSHOTS__URL", str(tmp_path / "storage"))
    run("import", str(DATA_DIR / "catalog.csv"))
    first = run("build")
    [digest] = re.findall(r"model  .* (\w{12}),", first.stdout)
    second = run("build", "--no-activate", "--model", digest[:7].upper())
    assert (first.exit_code, second.exit_code) == (0, 0), second.output
    assert f"pictures    {PRODUCTS} embedded, 0 kept" in first.stdout
    assert f"pictures    0 embedded, {PRODUCTS} kept" in second.stdout
    active, stored = (re.findall(r"Snapshot (\S+) is (\w+)", result.stdout)[0] for result in (first, second))
    assert (active[1], stored[1]) == ("active", "stored")
    assert {path.name for path in (tmp_path / "storage").iterdir()} == {active[0], stored[0]}
    assert asyncio.run(names(site)).active == active[0]


@pytest.mark.usefixtures("site")
def test_photos_calibrate_the_catalogue(triton: TritonServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_URL", triton.url)
    photos = load_photos()[::4]
    for photo in photos:
        (tmp_path / photo.product).mkdir(exist_ok=True)
        shutil.copy(DATA_DIR / photo.file, tmp_path / photo.product)
    run("import", str(DATA_DIR / "catalog.csv"))
    run("build")
    calibrated = run("calibrate", "--rate", "0.1", "--mixup-rate", "0.4", "--frames", str(tmp_path))
    assert calibrated.exit_code == 0, calibrated.output
    assert f"{len(photos)} pictures are new" in calibrated.stdout
    assert "accepted known products, left out of the search    10 %" in calibrated.stdout


@pytest.mark.usefixtures("site")
def test_a_model_that_triton_does_not_serve_is_refused_with_those_that_it_serves(
    triton: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_URL", triton.url)
    result = run("build", "--model", "none")
    assert isinstance(result.exception, ModelError)
    assert result.exception.message == "Triton serves no models whose digest starts with 'none'"
    assert re.fullmatch(r"It serves these models: [0-9a-f]{12} \(.*\)", result.exception.hint)


async def names(site: Site) -> SnapshotNames:
    async with await connect(site.uri) as client:
        return await read_names(client[site.database])


async def match_own_pictures(site: Site, url: str, cache_dir: Path) -> tuple[Snapshot, list[Decision]]:
    """The active snapshot, and its decisions for the pictures that it was built from."""
    async with await connect(site.uri) as client, await ImageEncoder.connect(url) as encoder:
        snapshot = await load_snapshot(client[site.database], open_storage(None, client[site.database]), cache_dir)
        check_compatible(snapshot.manifest, encoder.manifest)
        with pytest.raises(ModelMismatchError):
            check_compatible(snapshot.manifest, replace(encoder.manifest, digest="ab" * 32))
        preprocessor = Preprocessor(encoder.manifest.preprocess, snapshot.manifest.preprocessing_variant)
        files = [DATA_DIR / "images" / f"{product_id}.jpg" for product_id in snapshot.rows.product_ids]
        crops = np.stack([preprocessor(decode_rgb(file.read_bytes())) for file in files])
        return snapshot, Matcher(snapshot).match(await encoder.embed(crops))
