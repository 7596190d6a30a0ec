"""`framematch model list` and `model prune` with the real Triton and the real catalogue."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from framematch.catalog.mongo import connect
from framematch.catalog.snapshots.serving_status import ServingStatus, write_status
from framematch.cli.model import app
from framematch.core.errors import ModelError
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.stack.mongodb import MongoServer
from framematch.stack.triton import TritonServer
from tests.integration.commands import framematch
from tests.repositories import tower_folders
from tests.unit.catalog.snapshots import unit_rows, write_snapshot
from tests.unit.model_build.bundles import SIDE, BundleFiles, image_only, image_tower, weights

pytestmark = pytest.mark.integration


@dataclass
class Site:
    """A Triton with its repository, and a catalogue."""

    triton: TritonServer
    mongodb_uri: str
    database: str
    folder: Path

    @property
    def repository(self) -> Path:
        return self.triton.model_repository

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TRITON_URL": self.triton.url,
            "TRITON_REPOSITORY_KEY": self.triton.repository_key,
            "MONGODB_URI": self.mongodb_uri,
            "FRAMEMATCH_MONGODB__DATABASE": self.database,
            "FRAMEMATCH_MONGODB__TIMEOUT_S": "1",
        }

    def run(self, *arguments: str) -> Result:
        """Run a command of `framematch model`."""
        return CliRunner().invoke(app, arguments, env=self.environment)

    def build(self, seed: int, files: BundleFiles | None = None) -> str:
        """Build a model and let Triton load it; returns its digest. It has no text tower unless `files` have one."""
        result = self.run("build", "--from", str(bundle(self.folder, seed, files)), "--out", str(self.repository))
        assert "now serves it" in result.output, result.output
        return next(line.split()[1] for line in result.output.splitlines() if line.startswith("  digest"))

    def models(self) -> list[dict[str, Any]]:
        """What `model list --json` prints."""
        result = self.run("list", "--json", "--out", str(self.repository))
        assert result.exit_code == 0, result.output
        found: list[dict[str, Any]] = msgspec.json.decode(result.stdout)["models"]
        return found

    def prune(self, *arguments: str) -> Result:
        return self.run("prune", "--out", str(self.repository), *arguments)

    def name_snapshots(self, **models: str) -> None:
        """Let names of snapshots point to snapshots of these models."""
        asyncio.run(self._name_snapshots(models))

    async def _name_snapshots(self, models: dict[str, str]) -> None:
        (self.folder / "snapshot").mkdir(exist_ok=True)
        manifest = msgspec.to_builtins(write_snapshot(self.folder / "snapshot", unit_rows(2), ["a", "b"]))
        async with await connect(self.mongodb_uri) as client:
            database = client[self.database]
            for name, digest in models.items():
                document = manifest | {"id": f"of-{name}", "model_digest": digest}
                await database.snapshots.replace_one({"_id": f"of-{name}"}, {"manifest": document}, upsert=True)
            names = {"version": 1, **{name: f"of-{name}" for name in models}}
            await database.meta.replace_one({"_id": "snapshot_names"}, names, upsert=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("served")
    server = TritonServer(folder / "server", folder / "repository")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(server: TritonServer, mongodb: MongoServer, tmp_path: Path) -> Site:
    """The server, with a catalogue of its own."""
    return Site(server, mongodb.uri, f"models_{uuid.uuid4().hex}", tmp_path)


def test_only_models_that_no_snapshot_needs_are_unloaded_and_deleted(site: Site) -> None:
    shadow, active = site.build(1), site.build(2)
    unneeded, previous, newest = site.build(3, BundleFiles()), site.build(4), site.build(5)
    site.name_snapshots(active=active, previous=previous, shadow=shadow)
    assert [(model["digest"], model["served"], model["needed_by"]) for model in site.models()] == [
        (newest, True, []),
        (previous, True, ["previous"]),
        (unneeded, True, []),
        (active, True, ["active"]),
        (shadow, True, ["shadow"]),
    ]
    before = tower_folders(site.repository)

    dry = site.prune("--dry-run")
    assert f"clip_image_{unneeded[:12]} (model-3): would be removed" in dry.output
    assert tower_folders(site.repository) == before

    result = site.prune()
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"clip_image_{newest[:12]} (model-5): kept, the newest",
        f"clip_image_{previous[:12]} (model-4): kept, needed by previous",
        f"clip_image_{unneeded[:12]} (model-3): removed",
        f"clip_image_{active[:12]} (model-2): kept, needed by active",
        f"clip_image_{shadow[:12]} (model-1): kept, needed by shadow",
    ]
    assert tower_folders(site.repository) == [name for name in before if not name.endswith(unneeded[:12])]
    assert [model["digest"] for model in site.models()] == [newest, previous, active, shadow]


def test_a_model_that_a_process_still_serves_is_kept(site: Site) -> None:
    old, new = site.build(11), site.build(12)
    site.name_snapshots(active=new, previous=new)
    asyncio.run(serve_snapshot(site, old))
    assert f"clip_image_{old[:12]} (model-11): kept, needed by a running process" in site.prune().output


async def serve_snapshot(site: Site, digest: str) -> None:
    async with await connect(site.mongodb_uri) as client:
        database = client[site.database]
        document = await database.snapshots.find_one({"_id": "of-active"})
        assert document is not None
        manifest = document["manifest"] | {"id": "of-nobody", "model_digest": digest}
        await database.snapshots.insert_one({"_id": "of-nobody", "manifest": manifest})
        await write_status(database, ServingStatus("one", "host", 1, "consumer", "of-nobody", 0, None, 1))


def test_a_restarted_triton_serves_what_was_kept(site: Site) -> None:
    kept = site.build(6)
    assert site.prune().exit_code == 0
    site.triton.stop()
    site.triton.start()
    assert [(model["digest"], model["served"]) for model in site.models()] == [(kept, True)]


def test_a_model_that_triton_has_not_loaded_is_listed_and_the_newest_that_it_serves_is_kept(site: Site) -> None:
    served = site.build(7)
    not_loaded = build_model_repository(load_bundle(bundle(site.folder, 8)), site.repository)
    assert [(model["digest"], model["served"], model["newest"]) for model in site.models()][:2] == [
        (not_loaded.digest, False, True),
        (served, True, True),
    ]
    site.prune()
    assert {model["digest"] for model in site.models()} == {served, not_loaded.digest}


def test_the_folder_of_an_older_version_is_removed(site: Site) -> None:
    for name in ("clip_image", "clip_text"):
        (site.repository / name).mkdir()
        (site.repository / name / "config.pbtxt").write_text(f'name: "{name}"')
    assert "an older version of framematch built it" in site.run("list", "--out", str(site.repository)).output
    assert "clip_image: removed" in site.prune().output
    assert not (site.repository / "clip_image").exists()
    assert not (site.repository / "clip_text").exists()


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("MongoDB", "nothing was pruned, as it is not known which models are needed: MongoDB at"),
        (
            "manifest",
            "not known which models are needed: there is no snapshot 'of-active'",
        ),
        ("build", "not known which models are needed: the snapshot 20260101T000000Z-abcdef is being built"),
        ("Triton", "does not answer"),
        ("key", "nothing was unloaded, but Triton at"),
    ],
)
def test_nothing_is_pruned_while_something_is_not_known(
    site: Site, problem: str, message: str, dead_address: str
) -> None:
    site.build(1)
    site.build(9)
    before = tower_folders(site.repository)
    if problem == "manifest":
        site.name_snapshots(active="ab" * 32)
        asyncio.run(drop_snapshots(site))
    elif problem == "build":
        asyncio.run(begin_build(site))
    environment = {
        "MongoDB": {"MONGODB_URI": f"mongodb://{dead_address}"},
        "Triton": {"TRITON_URL": dead_address, "FRAMEMATCH_TRITON__TIMEOUT_S": "0.5"},
        "key": {"TRITON_REPOSITORY_KEY": "the-key-of-another-triton"},
    }
    # A process: a driver that finds no server leaves a socket to the garbage collector.
    done = framematch(site.environment | environment.get(problem, {}), "model", "prune", "--out", str(site.repository))
    assert done.returncode != 0
    assert (done.stdout, done.stderr.count("\n")) == ("", 1), done.stderr
    assert message in done.stderr
    assert tower_folders(site.repository) == before


async def drop_snapshots(site: Site) -> None:
    async with await connect(site.mongodb_uri) as client:
        await client[site.database].snapshots.delete_many({})


async def begin_build(site: Site) -> None:
    async with await connect(site.mongodb_uri) as client:
        await client[site.database].snapshot_leases.insert_one({"_id": "20260101T000000Z-abcdef"})


def test_without_mongodb_the_models_are_listed_without_who_needs_them(site: Site, dead_address: str) -> None:
    digest = site.build(1)
    environment = site.environment | {"MONGODB_URI": f"mongodb://{dead_address}"}
    done = framematch(environment, "model", "list", "--json", "--out", str(site.repository))
    found = msgspec.json.decode(done.stdout)
    assert [model["needed_by"] for model in found["models"] if model["digest"] == digest] == [None]
    assert "does not answer" in found["problems"]["catalogue"]


def test_a_repository_that_does_not_exist_is_named(site: Site, tmp_path: Path) -> None:
    error = site.run("prune", "--out", str(tmp_path / "none")).exception
    assert isinstance(error, ModelError)
    assert "there is no model repository" in error.message


def bundle(folder: Path, seed: int, files: BundleFiles | None = None) -> Path:
    files = files or image_only()
    files.image = image_tower(weights(3 * SIDE * SIDE, seed=seed))
    return files.write(folder / f"model-{seed}")
