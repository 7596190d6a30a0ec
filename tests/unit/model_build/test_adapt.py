"""Adapting a bundle to labelled photos: the discriminant, its place in the graphs, the report and the refusals."""

import colorsys
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from framematch.cli.model import app
from framematch.core.errors import ModelError
from framematch.model_build.adapt.crops import shrunk, vary
from framematch.model_build.adapt.discriminant import LinearMap, fit_discriminant, unit
from framematch.model_build.adapt.fold_map import append_map
from framematch.model_build.adapt.gain import measure_gain
from framematch.model_build.adapt.write_bundle import write_adapted
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL
from tests.unit.model_build.bundles import (
    CONFIG,
    DIMENSION,
    SIDE,
    BundleFiles,
    halved,
    image_only,
    image_tower,
    open_clip,
    siglip,
)

PRODUCTS, PHOTOS = 12, 20


def clusters(rng: np.random.Generator, products: int = 12, photos: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Unit features of products that differ in dimensions 0 to 5; photos differ much more in 6 and 7."""
    rows = np.repeat(np.arange(products), photos)
    centres = np.zeros((products, 8))
    centres[:, :6] = rng.normal(size=(products, 6))
    spread = np.array([0.15] * 6 + [4.0] * 2)
    return unit((centres[rows] + spread * rng.normal(size=(len(rows), 8))).astype(np.float32)), rows


class TestDiscriminant:
    def test_pictures_of_a_product_come_together_although_they_differ_much(self) -> None:
        features, rows = clusters(np.random.default_rng(0))
        linear = fit_discriminant(features, rows, dimension=6, shrinkage=0.01)
        same = rows[:, None] == rows
        np.fill_diagonal(same, val=False)
        before, after = (space @ space.T for space in (features, linear(features)))
        assert after[same].mean() > before[same].mean() + 0.3

    def test_it_has_at_most_one_dimension_less_than_products(self) -> None:
        features, rows = clusters(np.random.default_rng(0), products=4)
        assert fit_discriminant(features, rows, dimension=6, shrinkage=0.1).matrix.shape == (8, 3)

    def test_the_length_of_a_feature_does_not_matter(self) -> None:
        features, rows = clusters(np.random.default_rng(0))
        linear = fit_discriminant(features, rows, dimension=6, shrinkage=0.1)
        np.testing.assert_allclose(linear(features * 7), linear(features), atol=1e-5)


class TestGain:
    def test_a_map_that_finds_more_has_an_interval_above_zero(self) -> None:
        features, rows = clusters(np.random.default_rng(0))
        report = measure_gain(
            features, rows, lambda chosen: fit_discriminant(features[chosen], rows[chosen], dimension=6, shrinkage=0.01)
        )
        assert report.known.after > report.known.before
        assert report.known.gained
        assert report.known.low <= report.known.after - report.known.before <= report.known.high
        assert (report.known.pictures, report.new_products.pictures) == (24, 24)

    def test_a_map_that_changes_nothing_gains_nothing(self) -> None:
        features, rows = clusters(np.random.default_rng(0))
        same = LinearMap(np.eye(8, dtype=np.float32), np.zeros(8, np.float32))
        report = measure_gain(features, rows, lambda _chosen: same)
        for change in (report.known, report.new_products, report.strangers):
            assert change.after == pytest.approx(change.before)
            assert not change.gained

    def test_the_photos_it_reports_on_are_not_those_it_is_fitted_to(self) -> None:
        features, rows = clusters(np.random.default_rng(0))
        asked: list[np.ndarray] = []

        def fit(chosen: np.ndarray) -> LinearMap:
            asked.append(chosen)
            return fit_discriminant(features[chosen], rows[chosen], dimension=6, shrinkage=0.1)

        measure_gain(features, rows, fit)
        known, *folds = asked
        assert known.sum() == 12 * 6
        for fold, chosen in enumerate(folds):
            assert not (chosen & (~known | (rows % 5 == fold))).any()


def outputs(tower: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    results: Any = onnx.reference.ReferenceEvaluator(tower).run(None, {"pixel_values": pixels})
    return np.asarray(results[0])


class TestGraph:
    @pytest.mark.parametrize("times", [1, 2])
    def test_an_appended_map_equals_the_map_of_the_embedding(self, times: int) -> None:
        rng = np.random.default_rng(0)
        sizes = [DIMENSION, 3, 2][: times + 1]
        maps = [
            LinearMap(rng.normal(size=pair).astype(np.float32), rng.normal(size=pair[1]).astype(np.float32))
            for pair in pairwise(sizes)
        ]
        pixels = rng.normal(size=(5, 3, SIDE, SIDE)).astype(np.float32)
        tower = image_tower()
        wanted = outputs(tower, pixels)
        for linear in maps:
            wanted = unit(wanted) @ linear.matrix + linear.bias
            tower = append_map(tower, "image_embeds", linear)
        onnx.checker.check_model(tower, full_check=True)
        np.testing.assert_allclose(outputs(tower, pixels), wanted, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("files", [BundleFiles(), siglip(), open_clip(), image_only()])
    def test_bundles_of_all_families_are_adapted(self, tmp_path: Path, files: BundleFiles) -> None:
        bundle = load_bundle(files.write(tmp_path / "given"))
        linear = LinearMap(np.eye(DIMENSION, 3, dtype=np.float32), np.zeros(3, np.float32))
        adapted = write_adapted(bundle, linear, ["milk", "fresh kiwi"], tmp_path / "adapted")
        assert adapted.dimension == 3
        pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
        before, after = (
            OnnxSession(fold_towers(item)[IMAGE_MODEL].graph).embed({"pixels": pixels}) for item in (bundle, adapted)
        )
        np.testing.assert_allclose(after, linear(before), atol=1e-5)

    def test_texts_are_mapped_by_the_same_matrix_from_the_middle_of_the_names(self, tmp_path: Path) -> None:
        bundle = load_bundle(BundleFiles(image=halved(image_tower())).write(tmp_path / "given"))
        linear = LinearMap(np.eye(DIMENSION, 3, dtype=np.float32), np.ones(3, np.float32))
        adapted = write_adapted(bundle, linear, ["milk", "fresh-kiwi"], tmp_path / "adapted")
        before, after = (texts(item, ["milk", "fresh kiwi"]) for item in (bundle, adapted))
        np.testing.assert_allclose(after, unit((before - before.mean(axis=0)) @ linear.matrix), atol=1e-4)


def texts(bundle: Any, items: list[str]) -> np.ndarray:
    ids, mask = bundle.load_tokenizer()(items)
    return OnnxSession(fold_towers(bundle)[TEXT_MODEL].graph).embed({"input_ids": ids, "attention_mask": mask})


class TestCrops:
    def test_copies_of_a_photo_differ_and_are_never_larger(self) -> None:
        photo = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
        first, second = (vary(photo, np.random.default_rng(seed)) for seed in (1, 2))
        assert first.dtype == np.uint8
        assert first.shape[0] <= 30
        assert first.shape[1] <= 20
        assert first.shape != second.shape or (first != second).any()

    def test_a_photo_of_one_pixel_stays_one_pixel(self) -> None:
        one = np.full((1, 1, 3), 200, np.uint8)
        assert vary(one, np.random.default_rng(0)).shape == (1, 1, 3)

    def test_only_a_large_photo_is_shrunk(self) -> None:
        assert shrunk(np.zeros((40, 60, 3), np.uint8), 20).shape == (20, 30, 3)
        assert shrunk(np.zeros((10, 60, 3), np.uint8), 20).shape == (10, 60, 3)


def write_photos(folder: Path, products: int = PRODUCTS, photos: int = PHOTOS, *, contrast: float = 0.4) -> Path:
    """Products of colours around the circle of hues; light falls on each photo from another side."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    for row in range(products):
        (folder / f"product-{row}").mkdir(parents=True)
        colour = np.array(colorsys.hsv_to_rgb(row / products, contrast, 1.0))
        for number in range(photos):
            light = 80 * (rng.normal() * rows + rng.normal() * columns)[:, :, np.newaxis]
            picture = np.clip(150 * colour + light, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"product-{row}" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "shop")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    matrix = np.random.default_rng(3).normal(size=(3 * SIDE**2, 16)).astype(np.float32)
    files = image_only()
    files.image = image_tower(matrix)
    files.config = {**CONFIG, "model_type": "clip_vision_model", "projection_dim": 16}
    return files.write(tmp_path_factory.mktemp("bundle") / "given")


def adapt(bundle: Path, photos: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["adapt", "--from", str(bundle), "--photos", str(photos), "--out", str(out), *more])


class TestCommand:
    def test_it_writes_a_bundle_and_reports_on_known_and_on_new_products(
        self, tmp_path: Path, bundle: Path, photos: Path
    ) -> None:
        result = adapt(bundle, photos, tmp_path / "adapted")
        assert result.exit_code == 0, (result.output, result.exception)
        assert "12 products, 240 photos" in result.output
        for row in ("known products", "new products, enrolled", "strangers told apart (AUROC)"):
            assert row in result.output
        assert load_bundle(tmp_path / "adapted").dimension == 11

    def test_the_same_photos_give_the_same_bytes(self, tmp_path: Path, bundle: Path, photos: Path) -> None:
        for name in ("one", "two"):
            adapt(bundle, photos, tmp_path / name)
        assert contents(tmp_path / "one") == contents(tmp_path / "two")

    def test_photos_that_cannot_be_read_are_counted(self, tmp_path: Path, bundle: Path, photos: Path) -> None:
        folder = shutil.copytree(photos, tmp_path / "photos")
        (folder / "product-0" / "7.png").write_bytes(b"no picture")
        result = adapt(bundle, folder, tmp_path / "adapted")
        assert "12 products, 239 photos, 1 photos not readable" in result.output

    def test_without_a_gain_it_writes_only_with_force(self, tmp_path: Path, bundle: Path) -> None:
        same = write_photos(tmp_path / "photos", contrast=0.0)
        result = adapt(bundle, same, tmp_path / "adapted")
        assert isinstance(result.exception, ModelError)
        assert "no gain" in result.exception.message
        assert not (tmp_path / "adapted").exists()
        assert adapt(bundle, same, tmp_path / "adapted", "--force").exit_code == 0

    @pytest.mark.parametrize(
        ("products", "photos", "message"),
        [(0, 0, "0 products with at least 4"), (9, 4, "9 products"), (12, 3, "(12 products in all)")],
    )
    def test_too_few_products_or_photos_are_refused(
        self, tmp_path: Path, bundle: Path, products: int, photos: int, message: str
    ) -> None:
        folder = tmp_path / "photos"
        folder.mkdir()
        refused(adapt(bundle, write_photos(folder, products, photos), tmp_path / "adapted"), message)

    def test_unreadable_photos_alone_are_refused(self, tmp_path: Path, bundle: Path) -> None:
        folder = write_photos(tmp_path / "photos", 10, 4)
        for file in folder.rglob("*.png"):
            file.write_bytes(b"no picture")
        refused(adapt(bundle, folder, tmp_path / "adapted"), "no photo of 40 can be read")

    def test_other_wrong_folders_are_refused(self, tmp_path: Path, bundle: Path, photos: Path) -> None:
        refused(adapt(bundle, tmp_path / "none", tmp_path / "adapted"), "it is not a folder")
        refused(adapt(photos, photos, tmp_path / "adapted"), "no config.json")
        refused(adapt(bundle, photos, tmp_path), "exists already")


def refused(result: Result, message: str) -> None:
    assert isinstance(result.exception, ModelError), result.output
    assert message in result.exception.message


def contents(folder: Path) -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
