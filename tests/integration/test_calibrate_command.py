"""`framematch catalog calibrate` with a real MongoDB server; a fake encoder stands for Triton's."""

import asyncio
import io
import json
import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from framematch.catalog.building.build import BuildOptions
from framematch.catalog.building.stored_build import Builder, activate_built
from framematch.catalog.mongo import Database, connect
from framematch.catalog.operations.prune import prune_snapshots
from framematch.catalog.products import ProductStore
from framematch.catalog.samples.sample import LabelledPicture
from framematch.catalog.samples.store import SampleStore
from framematch.catalog.snapshots.names import read_names
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.catalog.snapshots.storage import open_storage
from framematch.catalog.snapshots.storage_fsspec import FsspecStorage
from framematch.catalog.snapshots.store import load_manifest, stored_ids
from framematch.cli.catalog import app
from framematch.core.errors import CatalogError, FramematchError, StaleNamesError, TritonUnavailableError
from framematch.core.paths import state_dir
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings
from framematch.matching import calibrate_active as command
from framematch.matching.calibrate_active import CalibrationRequest, CannotStateError, Reporting
from framematch.matching.calibrate_snapshot import BuildCalibration
from framematch.matching.serving.opener import connect_encoder
from framematch.matching.serving.watcher import watched_snapshots
from framematch.stack.mongodb import MongoServer
from framematch.vision.encoder import ImageEncoder
from framematch.vision.preprocess import Preprocessor
from tests.integration.product_site import stored_product
from tests.support import eventually, file_size_limit
from tests.unit.catalog.snapshots import MODEL, SPEC, ColourEncoder, picture

pytestmark = pytest.mark.integration

T = TypeVar("T")
PRODUCTS = 24
RATES = ("--rate", "0.1", "--mixup-rate", "0.2")
PREPROCESSOR = Preprocessor(SPEC, "fast")
STRANGERS = 1_000  # seeds from here on are pictures of no product


class ServedEncoder(ColourEncoder):
    """A fake encoder that is connected, as to Triton."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def close(self) -> None:
        """Like `ImageEncoder.close`."""


async def served(_settings: Settings, digest: str) -> ImageEncoder:
    """As `connect_encoder`, without Triton."""
    return cast("ImageEncoder", ServedEncoder(replace(MODEL, digest=digest)))


def frame(seed: int, noise: int = 12) -> bytes:
    """What a camera makes of `picture(seed)`."""
    pixels = np.array(Image.open(io.BytesIO(picture(seed))).resize((4, 4), Image.Resampling.NEAREST), np.int64)
    shaken = np.clip(pixels + np.random.default_rng(seed).integers(-noise, noise, pixels.shape), 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(shaken.astype(np.uint8)).resize((96, 96), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Site:
    """The demo of a catalogue: its database, and a folder for what a test makes."""

    mongodb: MongoServer
    name: str
    folder: Path

    @property
    def settings(self) -> Settings:
        return load_settings()

    def on(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """The result of some work with the database."""

        async def connected() -> T:
            async with await connect(self.mongodb.uri) as client:
                return await work(client[self.name])

        return asyncio.run(connected())

    def folder_of(self, name: str, pictures: dict[str, bytes]) -> Path:
        """A folder with these files."""
        for path, data in pictures.items():
            file = self.folder / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return self.folder / name

    def frames(self, products: int = PRODUCTS) -> Path:
        """A folder with a frame of each product."""
        return self.folder_of("frames", {f"p{number}/a.png": frame(number) for number in range(products)})

    def active(self) -> SnapshotManifest:
        """The manifest of the active snapshot."""

        async def read(database: Database) -> SnapshotManifest:
            return await load_manifest(database, str((await read_names(database)).active))

        return self.on(read)

    def snapshots(self) -> list[str]:
        return self.on(stored_ids)


async def build(database: Database, *, storage: str | None = None, **more: Any) -> SnapshotManifest:
    """Build from the catalogue, and activate."""
    builder = Builder(ProductStore(database), open_storage(storage, database), state_dir() / "snapshots")
    manifest = await builder.build(more.pop("encoder", ColourEncoder()), PREPROCESSOR, BuildOptions(), **more)
    await activate_built(database, manifest, (await read_names(database)).active)
    return manifest


@pytest.fixture
def empty(mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A catalogue with pictures, and no index."""
    site = Site(mongodb, f"calibrate_{uuid.uuid4().hex}", tmp_path)
    monkeypatch.setenv("MONGODB_URI", mongodb.uri)
    monkeypatch.setenv("FRAMEMATCH_MONGODB__DATABASE", site.name)
    monkeypatch.setenv("FRAMEMATCH_MATCHING__MIN_QUALITY", "0")  # crops of 4 x 4 pixels are never sharp
    monkeypatch.setenv("FRAMEMATCH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(command, "connect_encoder", served)

    async def fill(database: Database) -> None:
        store = ProductStore(database)
        await store.upsert_many([await stored_product(store, f"p{number}", number) for number in range(PRODUCTS)])

    site.on(fill)
    yield site
    site.on(lambda database: database.client.drop_database(site.name))


@pytest.fixture
def site(empty: Site) -> Site:
    """A catalogue that is built and active."""
    empty.on(build)
    return empty


def calibrate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


def error_of(result: Result) -> FramematchError:
    assert isinstance(result.exception, FramematchError), result.output
    return result.exception


def test_a_calibrated_snapshot_is_a_new_one_with_the_same_files_and_stated_rates(site: Site) -> None:
    before = site.active()
    result = calibrate(*RATES, "--frames", site.frames())
    assert result.exit_code == 0, result.output
    after = site.active()
    assert after.calibration
    assert (after.id != before.id, after.files) == (True, before.files)
    assert (after.calibration.rate, after.calibration.samples, after.calibration.views) == (0.1, PRODUCTS, 0)
    assert (after.thresholds.method, after.thresholds.impostors) == ("calibrated", PRODUCTS)
    assert f"Snapshot {after.id} is active" in result.stdout
    assert "accepted known products, left out of the search    10 %" in result.stdout


def test_kept_pictures_are_used_again_and_forgotten_on_request(site: Site) -> None:
    calibrate(*RATES, "--frames", site.frames())
    again = calibrate(*RATES, "--no-activate", "--json")
    assert json.loads(again.stdout)["pictures"]["samples"] == PRODUCTS
    assert json.loads(again.stdout)["active"] is None
    assert json.loads(again.stdout)["snapshot"] != site.active().id
    assert "no labelled picture is kept" in error_of(calibrate(*RATES, "--forget")).message


def test_a_build_recalibrates_with_the_kept_pictures_and_those_of_removed_products_are_strangers(site: Site) -> None:
    calibrate(*RATES, "--frames", site.frames())

    async def rebuild(database: Database) -> str:
        await ProductStore(database).delete_many(["p0", "p1"])
        calibration = BuildCalibration(site.settings, database)
        await build(database, calibrate=calibration)
        return calibration.said

    said = site.on(rebuild)
    assert said == (
        f"calibrated as the active one: {PRODUCTS} labelled pictures; 2 of products that the catalogue no longer has "
        "count as strangers"
    )
    calibration = site.active().calibration
    assert calibration
    assert (calibration.rate, calibration.mixup_rate, calibration.products) == (0.1, 0.2, PRODUCTS - 2)


def test_a_build_with_too_few_pictures_is_not_calibrated_and_says_so(site: Site) -> None:
    calibrate(*RATES, "--frames", site.frames())

    async def rebuild(database: Database) -> str:
        await SampleStore(database).delete_source("folder")
        calibration = BuildCalibration(site.settings, database)
        await build(database, calibrate=calibration)
        return calibration.said

    assert site.on(rebuild).startswith("not calibrated: a rate of 10 % cannot be stated")
    assert site.active().calibration is None


def test_another_model_embeds_the_kept_pictures_again(site: Site) -> None:
    calibrate(*RATES, "--frames", site.frames())
    site.on(lambda database: build(database, encoder=ColourEncoder(replace(MODEL, digest="cd" * 32))))
    assert site.active().calibration is None
    used = [json.loads(calibrate(*RATES, "--json").stdout)["pictures"]["new"] for _ in range(2)]
    assert used == [PRODUCTS, 0]


def test_kept_embeddings_survive_a_prune(site: Site) -> None:
    calibrate(*RATES, "--frames", site.frames())
    site.on(lambda database: prune_snapshots(database, open_storage(None, database), keep=0))
    assert json.loads(calibrate(*RATES, "--json").stdout)["pictures"]["new"] == 0


def test_unreadable_pictures_are_named_and_the_others_used(site: Site) -> None:
    frames = site.frames()
    (frames / "p1" / "broken.jpg").write_bytes(b"no picture")
    (frames / "p2" / "grey.png").write_bytes(_grey())
    result = calibrate(*RATES, "--frames", frames)
    assert result.exit_code == 0
    assert f"left out: {frames / 'p1' / 'broken.jpg'}: the picture is" in result.stderr
    assert f"left out: {frames / 'p2' / 'grey.png'}: it shows nothing" in result.stderr
    assert site.active().calibration


def _grey() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), "gray").save(buffer, "PNG")
    return buffer.getvalue()


FRAMES = {f"p{number}/a.png": frame(number) for number in range(PRODUCTS)}
BAD_FOLDERS: list[tuple[str, dict[str, dict[str, bytes]], str]] = [
    ("an unknown product", {"frames": {"px/a.png": frame(1)}}, "--frames names 'px', which the catalogue does not"),
    ("no product's folder", {"frames": {"a.png": frame(1)}}, "the picture 'a.png' is in no folder of a product"),
    ("no picture", {"frames": {"p1/notes.txt": b"text"}}, "it has no picture that can be read"),
    ("an empty file", {"nothing": {"a.jpg": b""}}, "a.jpg: empty"),
    (
        "two products",
        {"frames": {"p1/a.png": frame(1), "p2/b.png": frame(1)}},
        "the same bytes, product 'p2'",
    ),
    (
        "product and nothing",
        {"frames": {"p1/a.png": frame(1)}, "nothing": {"b.png": frame(1)}},
        "which has the same bytes, no product",
    ),
    ("the catalogue's own", {"frames": {"p1/a.png": picture(1)}}, "all 1 pictures are pictures of the catalogue"),
    ("too few", {"frames": {"p1/a.png": frame(1)}}, "a rate of 5 % cannot be stated: 1 independent pictures of known"),
    ("one visit", {"nothing": {f"v/{n}.png": frame(STRANGERS + n) for n in range(30)}}, "1 of scenes without"),
]


@pytest.mark.parametrize(("folders", "message"), [row[1:] for row in BAD_FOLDERS], ids=[row[0] for row in BAD_FOLDERS])
def test_bad_pictures_are_one_clear_line_and_change_nothing(
    site: Site, folders: dict[str, dict[str, bytes]], message: str
) -> None:
    given = [str(part) for name, files in folders.items() for part in (f"--{name}", site.folder_of(name, files))]
    before = site.snapshots()
    error = error_of(calibrate(*given))
    assert message in error.message
    assert error.hint
    assert site.snapshots() == before


def test_a_product_that_is_newer_than_the_index_asks_for_a_build(site: Site) -> None:
    async def add(database: Database) -> None:
        store = ProductStore(database)
        await store.upsert_many([await stored_product(store, "new", 77)])

    site.on(add)
    error = error_of(calibrate("--frames", site.folder_of("frames", {"new/a.png": frame(77)})))
    assert "'new', which the active snapshot does not have yet" in error.message
    assert "catalog build" in error.hint


def test_labels_of_a_person_and_of_a_folder_that_disagree_are_refused(site: Site) -> None:
    reviewed = LabelledPicture.of(frame(3), "stranger", source="reviewed", group="s", camera="hall")
    site.on(lambda database: SampleStore(database).add([reviewed]))
    error = error_of(calibrate(*RATES, "--frames", site.frames()))
    assert "of a review, which has the same bytes, a product that the catalogue lacks" in error.message


def test_without_an_active_snapshot_there_is_nothing_to_calibrate(empty: Site) -> None:
    error = error_of(calibrate(*RATES, "--frames", empty.frames()))
    assert (error.message, error.hint) == (
        "no snapshot is active, so there is nothing to calibrate",
        "Run 'framematch catalog build'",
    )


def test_without_triton_no_picture_is_kept(site: Site, monkeypatch: pytest.MonkeyPatch, dead_address: str) -> None:
    monkeypatch.setattr(command, "connect_encoder", connect_encoder)
    monkeypatch.setenv("TRITON_URL", dead_address)
    monkeypatch.setenv("FRAMEMATCH_TRITON__TIMEOUT_S", "1")
    assert isinstance(calibrate(*RATES, "--frames", site.frames()).exception, TritonUnavailableError)
    assert site.on(_count) == 0


async def _count(database: Database) -> int:
    return await SampleStore(database).count()


def test_a_full_disk_leaves_no_snapshot_and_the_next_run_succeeds(empty: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = empty.folder / "storage"
    monkeypatch.setenv("FRAMEMATCH_SNAPSHOTS__URL", str(storage))
    empty.on(lambda database: build(database, storage=str(storage)))
    frames = empty.frames()
    with file_size_limit(1_000):
        assert isinstance(calibrate(*RATES, "--frames", frames).exception, CatalogError)
    assert [path.name for path in storage.iterdir()] == empty.snapshots() == [empty.active().id]
    assert calibrate(*RATES).exit_code == 0
    assert sorted(path.name for path in storage.iterdir()) == sorted(empty.snapshots())
    assert empty.active().calibration


def kill_at_the_second_file(*arguments: object) -> None:
    """Run the command in this process, until it gets SIGKILL between two files of the new snapshot."""
    put, files = FsspecStorage.put, count(1)

    async def put_or_die(storage: FsspecStorage, snapshot_id: str, name: str, path: Path) -> None:
        if next(files) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        await put(storage, snapshot_id, name, path)

    setattr(FsspecStorage, "put", put_or_die)  # noqa: B010  # in a process of its own
    setattr(command, "connect_encoder", served)  # noqa: B010  # likewise
    calibrate(*arguments)


def test_a_run_that_is_killed_leaves_the_old_snapshot_and_the_next_one_cleans_up(
    empty: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = empty.folder / "storage"
    monkeypatch.setenv("FRAMEMATCH_SNAPSHOTS__URL", str(storage))
    empty.on(lambda database: build(database, storage=str(storage)))
    before = empty.active().id
    # Not forked: clients of other tests leave threads in this process, whose locks a fork would keep for ever.
    process = get_context("spawn").Process(target=kill_at_the_second_file, args=(*RATES, "--frames", empty.frames()))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (empty.active().id, empty.snapshots()) == (before, [before])
    assert len(list(storage.iterdir())) == 2  # the half that nobody can find
    assert calibrate(*RATES).exit_code == 0
    assert {path.name for path in storage.iterdir()} == {before, empty.active().id} == set(empty.snapshots())


def test_of_two_at_once_one_is_activated(site: Site) -> None:
    calibrate(*RATES, "--frames", site.frames(), "--no-activate")

    async def two(database: Database) -> list[Any]:
        runs = [
            command.calibrate_active(
                site.settings, database, state_dir() / "snapshots", CalibrationRequest(0.1, 0.2), SILENT
            )
            for _ in range(2)
        ]
        return await asyncio.gather(*runs, return_exceptions=True)

    failed = [one for one in site.on(two) if isinstance(one, BaseException)]
    assert [type(one) for one in failed] == [StaleNamesError]
    assert site.active().calibration


SILENT = Reporting(lambda _doing: nullcontext(lambda _done, _total: None))


class Listener:
    """Takes what the watcher says."""

    def swapped(self, *_: object) -> None:
        """Implements `SwapListener.swapped`."""

    def refused(self, *_: object) -> None:
        """Implements `SwapListener.refused`."""


def test_what_serves_changes_to_the_calibrated_thresholds(site: Site) -> None:
    frames = site.frames()

    async def follow(database: Database) -> tuple[float, float]:
        settings = Settings.model_validate({"snapshots": {"poll_s": 0.1}})

        async def connected(digest: str) -> ImageEncoder:
            return cast("ImageEncoder", ServedEncoder(replace(MODEL, digest=digest)))

        async with watched_snapshots(
            database, settings, site.folder / "consumer", connect=connected, listener=Listener()
        ) as watcher:
            following = asyncio.create_task(watcher.run())
            before = watcher.current.matcher.thresholds.match
            done = await command.calibrate_active(
                site.settings,
                database,
                state_dir() / "snapshots",
                CalibrationRequest(0.1, 0.2, folders={"--frames": frames}),
                SILENT,
            )
            await eventually(lambda: watcher.current.manifest.id == done.manifest.id, message="it is served")
            after = watcher.current.matcher.thresholds.match
            following.cancel()
            await asyncio.wait([following])
        assert after == done.manifest.thresholds.match
        return before, after

    before, after = site.on(follow)
    assert before != after


def test_too_few_pictures_are_kept_for_the_next_run(site: Site) -> None:
    half = PRODUCTS // 2
    assert isinstance(calibrate("--frames", site.frames(half)).exception, CannotStateError)
    assert site.on(_count) == half
