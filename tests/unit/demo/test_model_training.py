"""Training on a few generated pictures: drawing, losses, resuming and the export."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from demo.model import checkpoint, colour, network, objective
from demo.model.augment import PictureSource
from demo.model.closing import discriminant
from demo.model.export import text_model, vision_model
from demo.model.grocery import Photos, Product, cut_out, known_products, load_photos, load_products
from demo.model.progress import Every, Progress
from demo.model.recipe import Phase, Recipe
from demo.model.texts import CONTEXT_LENGTH, TextSource, encode, make_tokenizer

jax.config.update("jax_disable_most_optimizations", True)  # to compile takes longer than to compute
LOSS = jax.jit(objective.loss)
AUGMENT = jax.jit(colour.augment)  # compiled once, for one shape: that takes seconds
Towers: TypeAlias = tuple[Any, Any, Any]  # image parameters, their statistics, text parameters
COLOURS = ((200, 30, 30), (30, 160, 40), (40, 60, 200))


def product(number: int) -> Product:
    iconic = np.full((198, 198, 3), 255, np.uint8)
    iconic[60:140, 60:140] = COLOURS[number]
    name = ("Red Apple", "Green Pear", "Blue Plum")[number]
    return Product(name.lower(), name, name.split()[1], f"{name} is a fruit that is good to eat", iconic)


@pytest.fixture(scope="module")
def products() -> list[Product]:
    return [product(number) for number in range(3)]


@pytest.fixture(scope="module")
def photos() -> Photos:
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(3), (2, 4, 6))
    shades = np.array(COLOURS)[rows][:, None, None] + rng.integers(-20, 20, (len(rows), 256, 256, 3))
    return Photos(np.clip(shades, 0, 255).astype(np.uint8), rows)


@pytest.fixture(scope="module")
def towers() -> Towers:
    rng = np.random.default_rng(5)
    params, stats = network.init_image(rng)
    for name, *_ in network.block_names():  # so that a block does something, and its fold is tested
        params[name]["second"]["scale"] += rng.uniform(0.5, 1, len(params[name]["second"]["scale"])).astype("f")
    return params, stats, network.init_text(rng, 50)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    outputs: Any = ReferenceEvaluator(model).run(None, inputs)
    return np.asarray(outputs[0])


class TestPictures:
    def test_a_step_always_draws_the_same_pictures(self, photos: Photos, products: list[Product]) -> None:
        drawn = [PictureSource(photos, products, seed=3)(7, size=6, side_px=32) for _ in range(2)]
        np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
        np.testing.assert_array_equal(drawn[0][1], drawn[1][1])

    def test_other_steps_and_seeds_draw_other_pictures(self, photos: Photos, products: list[Product]) -> None:
        source = PictureSource(photos, products, seed=3)
        other = PictureSource(photos, products, seed=4)
        pictures = [source(7, size=6, side_px=32)[0], source(8, size=6, side_px=32)[0], other(7, size=6, side_px=32)[0]]
        assert len({picture.tobytes() for picture in pictures}) == 3

    def test_one_picture_in_six_is_iconic(self, photos: Photos, products: list[Product]) -> None:
        drawn, rows = PictureSource(photos, products, seed=0)(0, size=12, side_px=32)
        assert drawn.shape == (12, 32, 32, 3)
        assert rows.shape == (12,)
        assert set(rows.tolist()) <= {0, 1, 2}

    def test_products_with_few_photos_are_drawn_more_often_than_their_share(
        self, photos: Photos, products: list[Product]
    ) -> None:
        source = PictureSource(photos, products, seed=0)
        rows = np.concatenate([source(step, size=24, side_px=8)[1][:20] for step in range(20)])
        assert (rows == 0).mean() > 2 / 12

    def test_a_cut_out_has_the_product_and_not_the_white_background(self, products: list[Product]) -> None:
        alpha = cut_out(products[0].iconic)
        assert alpha[100, 100] == 1
        assert alpha[5, 5] == 0

    def test_white_inside_a_product_belongs_to_it(self) -> None:
        picture = product(0).iconic.copy()
        picture[90:110, 90:110] = 255
        assert cut_out(picture)[100, 100] == 1


class TestColour:
    def test_augmented_pictures_stay_in_range_and_targets_sum_to_one(self) -> None:
        pictures = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8)
        out, targets = AUGMENT(jax.random.key(1), jnp.asarray(pictures), jnp.eye(32))
        assert out.shape == (32, 16, 16, 3)
        assert float(out.min()) >= 0
        assert float(out.max()) <= 1
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)

    def test_some_pictures_are_mixed_with_another(self) -> None:
        pictures = jnp.zeros((32, 16, 16, 3), jnp.uint8)
        _, targets = AUGMENT(jax.random.key(1), pictures, jnp.eye(32))
        assert 0 < (np.asarray(targets.max(axis=1)) < 1).sum() < 32


class TestTexts:
    def test_a_text_is_truncated_and_padded_like_the_served_tokenizer_does(self, products: list[Product]) -> None:
        tokenizer = make_tokenizer(products)
        ids, mask = encode(tokenizer, ["red apple", "apple " * 200])
        assert ids.shape == mask.shape == (2, CONTEXT_LENGTH)
        assert mask[0].sum() == 4
        assert ids[1, -1] == tokenizer.token_to_id("<|endoftext|>")

    def test_names_come_before_descriptions(self, products: list[Product]) -> None:
        tokenizer = make_tokenizer(products)
        ids, _ = TextSource(products, tokenizer, seed=0)(0)
        texts = [tokenizer.decode(row.tolist()) for row in ids]
        assert len(texts) == 6
        assert "apple" in texts[0]
        assert all("photo" not in text for text in texts[3:])


class TestLearning:
    def test_the_exported_image_tower_computes_the_same_as_the_trained_one(self, towers: Towers) -> None:
        params, stats, _ = towers
        params = params | {"bias": np.random.default_rng(2).normal(size=network.DIMENSION).astype(np.float32)}
        pictures = np.random.default_rng(1).uniform(0, 1, (2, 48, 48, 3)).astype(np.float32)
        pooled = jax.jit(network.pooled_average)(params, stats, jnp.asarray(pictures))
        pixels = ((pictures - network.MEAN) / network.STD).transpose(0, 3, 1, 2)
        found = run(vision_model(params, stats, 48), pixel_values=pixels)
        np.testing.assert_allclose(found, pooled @ params["projection"] + params["bias"], atol=1e-3, rtol=1e-3)

    def test_the_exported_text_tower_computes_the_same_as_the_trained_one(self, towers: Towers) -> None:
        ids = np.random.default_rng(1).integers(0, 50, (3, 9))
        mask = (np.arange(9) < np.array([[9], [4], [2]])).astype(np.int64)
        expected = network.text_embedding(towers[2], jnp.asarray(ids), jnp.asarray(mask))
        found = run(text_model(towers[2]), input_ids=ids, attention_mask=mask)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_the_loss_is_lower_when_pictures_texts_and_proxies_agree(self) -> None:
        rng = np.random.default_rng(0)
        heads = objective.init_heads(rng, products=3, categories=2)
        right = objective.unit(jnp.asarray(heads["proxies"]))
        texts, targets, coarse = jnp.stack([right, right]), jnp.eye(3), jnp.asarray([[1, 0], [1, 0], [0, 1.0]])
        pooled = jnp.zeros((3, network.WIDTHS[-1]))
        good = LOSS(heads, network.Features(pooled, right), texts, targets, coarse)
        bad = LOSS(heads, network.Features(pooled, right[::-1]), texts, targets, coarse)
        assert float(good) < float(bad)

    def test_a_product_without_a_picture_in_the_batch_leaves_the_loss_finite(self) -> None:
        heads = objective.init_heads(np.random.default_rng(0), products=3, categories=1)
        texts = jnp.stack([objective.unit(jnp.asarray(heads["proxies"]))] * 2)
        features = network.Features(jnp.ones((2, network.WIDTHS[-1])), jnp.ones((2, network.DIMENSION)))
        value = LOSS(heads, features, texts, jnp.eye(3)[:2], jnp.ones((3, 1)))
        assert np.isfinite(float(value))


class TestClosing:
    def test_the_discriminant_uses_directions_in_which_a_product_s_pictures_agree(self) -> None:
        rng = np.random.default_rng(0)
        products = np.repeat(np.arange(3), 200).astype(np.int32)
        # Products differ little, pictures of one product differ much.
        features = np.column_stack([0.1 * products, 0.1 * (products == 1), 10 * rng.normal(size=600)])
        features[:, :2] += 0.01 * rng.normal(size=(600, 2))
        projection, bias = discriminant(features.astype(np.float32), products, shrinkage=1e-6)
        assert projection.shape == (3, 2)
        placed = features @ projection + bias
        means = np.stack([placed[products == row].mean(axis=0) for row in range(3)])
        nearest = np.linalg.norm(placed[:, None] - means, axis=2).argmin(axis=1)
        assert (nearest == products).mean() > 0.98

    def test_products_lie_around_the_origin(self) -> None:
        features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32) + 7
        products = np.repeat(np.arange(4), 15).astype(np.int32)
        projection, bias = discriminant(features, products, shrinkage=1.0)
        means = np.stack([(features[products == row] @ projection + bias).mean(axis=0) for row in range(4)])
        np.testing.assert_allclose(means.mean(axis=0), 0, atol=1e-4)


class TestCheckpoint:
    def test_a_saved_state_is_restored(self, tmp_path: Path) -> None:
        state = {"a": jnp.arange(3.0), "b": (jnp.ones((2, 2)), jnp.asarray(7))}
        checkpoint.save(tmp_path / "c.npz", state, {"seed": 1})
        found = checkpoint.restore(tmp_path / "c.npz", state, {"seed": 1})
        assert jax.tree.all(jax.tree.map(np.array_equal, state, found))

    def test_a_checkpoint_of_another_recipe_is_refused(self, tmp_path: Path) -> None:
        checkpoint.save(tmp_path / "c.npz", {"a": jnp.ones(1)}, {"seed": 1})
        with pytest.raises(ValueError, match="another recipe"):
            checkpoint.restore(tmp_path / "c.npz", {"a": jnp.ones(1)}, {"seed": 2})

    def test_a_failed_save_keeps_the_previous_checkpoint(self, tmp_path: Path) -> None:
        checkpoint.save(tmp_path / "c.npz", {"a": jnp.ones(1)}, {})
        with pytest.raises(TypeError):
            checkpoint.save(tmp_path / "c.npz", {"a": jnp.zeros(1)}, {"odd": object()})
        assert float(checkpoint.restore(tmp_path / "c.npz", {"a": jnp.zeros(1)}, {})["a"][0]) == 1


class TestRecipe:
    def test_the_picture_grows_with_the_phases(self) -> None:
        recipe = replace(Recipe(), phases=(Phase(64, 3), Phase(96, 2)))
        assert [recipe.side_px(step) for step in range(5)] == [64, 64, 64, 96, 96]

    def test_a_scaled_recipe_has_the_same_phases(self) -> None:
        assert [phase.side_px for phase in Recipe().scaled(0.001).phases] == [64, 96]

    def test_left_out_products_are_the_same_for_the_same_seed(self, products: list[Product]) -> None:
        assert known_products(products, 1, 4) == known_products(products, 1, 4)
        assert len(known_products(products, 1, 4)) == 2


def test_the_timer_is_true_once_in_each_interval() -> None:
    now = iter([0.0, 4.0, 5.0, 9.0, 10.0])
    due = Every(5.0, lambda: next(now))
    assert [due() for _ in range(4)] == [False, True, False, True]


def test_progress_has_the_step_the_speed_and_the_remaining_time(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = [0.0]
    progress = Progress(Recipe(phases=(Phase(64, 100),), batch=10), 0, lambda: seconds[0])
    seconds[0] = 60.0
    progress.count(9, 2.5)
    assert capsys.readouterr().out == "step 10/100  64 px  loss 2.500  2 pictures/s  9 min left\n"


def test_the_data_set_is_read_from_its_lists_of_files(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    cv2.imwrite(str(tmp_path / "train" / "a.png"), np.full((348, 348, 3), (10, 20, 30), np.uint8))
    (tmp_path / "train.txt").write_text("train/a.png, 2, 0\n")
    photos = load_photos(tmp_path, "train")
    assert photos.products.tolist() == [2]
    assert photos.pictures.shape == (1, 256, 256, 3)
    assert photos.pictures[0, 0, 0].tolist() == [30, 20, 10]


def test_the_catalogue_has_81_products_in_the_data_set_s_order() -> None:
    products = load_products()
    assert len(products) == 81
    assert products[0].id == "golden-delicious"
