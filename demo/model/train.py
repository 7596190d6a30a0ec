"""Trains the demo's encoder: `python -m demo.model.train GROCERY_DIR --out DIR`.

Uses only the data set's `train` photos and the demo's catalogue. An interrupted run is resumed when it is started again
with the same folder. JAX uses a GPU when there is one.
"""

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from demo.model import checkpoint
from demo.model.augment import PictureSource
from demo.model.closing import SIDE_PX, finish
from demo.model.export import write_bundle
from demo.model.grocery import known_products, load_photos, load_products
from demo.model.learner import Batch, Optimizer, State, coarse_of, learn, start
from demo.model.progress import Every, Progress
from demo.model.recipe import Recipe
from demo.model.texts import TextSource, make_tokenizer

_SAVE_EVERY_S = 120.0


def main() -> None:
    """Train, then write the bundle."""
    parser = argparse.ArgumentParser(description="Train the demo's encoder.")
    parser.add_argument("grocery", type=Path, metavar="GROCERY_DIR", help="a copy of GroceryStoreDataset")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the bundle")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps: 0.1 for a quick try")
    parser.add_argument("--hold-out", type=int, default=0, help="products to leave out, to measure unknown ones")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not (arguments.grocery / "train.txt").is_file():
        parser.error(f"no train.txt in {arguments.grocery}: give a copy of GroceryStoreDataset")
    # One convolution does not use several cores, so each core gets a part of the batch (1.6 times as fast on two).
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    recipe = Recipe(hold_out=arguments.hold_out, seed=arguments.seed).scaled(arguments.scale)
    print(run(arguments.grocery, arguments.out, recipe))


def run(grocery: Path, out: Path, recipe: Recipe) -> Path:
    """Train by `recipe`, starting from the checkpoint in `out` if there is one. Returns the bundle's folder.

    Raises:
        ValueError: the checkpoint is of another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    catalogue = load_products()
    known = known_products(catalogue, recipe.hold_out, recipe.seed)
    products, photos = [catalogue[row] for row in known], load_photos(grocery, "train").only(known)
    # The whole catalogue's words, so that the names of left-out products are known.
    tokenizer = make_tokenizer(catalogue)
    coarse = coarse_of(products)
    state, optimizer = start(
        recipe, products=len(products), vocabulary=tokenizer.get_vocab_size(), categories=coarse.shape[1]
    )
    file = out / "checkpoint.npz"
    if file.exists():
        state = checkpoint.restore(file, state, recipe.to_json())

    pictures = PictureSource(photos, products, seed=recipe.seed)
    texts = TextSource(products, tokenizer, seed=recipe.seed)

    def draw(step: int) -> Batch:
        return Batch(*pictures(step, size=recipe.batch, side_px=recipe.side_px(step)), *texts(step))

    save = partial(checkpoint.save, file, recipe=recipe.to_json())
    state = _train(state, recipe=recipe, optimizer=optimizer, draw=draw, coarse=coarse, save=save)
    towers = finish(state.kept, state.stats, photos=photos, products=products, draw=pictures, texts=texts)
    return write_bundle(out / "grocery-mini", jax.tree.map(np.asarray, towers), tokenizer, side_px=SIDE_PX)


def _train(
    state: State,
    *,
    recipe: Recipe,
    optimizer: Optimizer,
    draw: Callable[[int], Batch],
    coarse: npt.NDArray[np.float32],
    save: Callable[[State], None],
) -> State:
    """Train to the recipe's end. Each batch is drawn while the previous one is being computed."""
    devices = Mesh(np.array(_devices(recipe.batch)), ("batch",))
    everywhere, shared = NamedSharding(devices, PartitionSpec()), NamedSharding(devices, PartitionSpec("batch"))
    places = Batch(pictures=shared, products=shared, ids=everywhere, mask=everywhere)
    state, on_devices = jax.device_put((state, coarse), everywhere)
    first = int(state.step)
    progress, save_due = Progress(recipe, first), Every(_SAVE_EVERY_S)
    with ThreadPoolExecutor(1) as drawer:
        upcoming = drawer.submit(draw, first)
        for step in range(first, recipe.steps):
            batch = jax.device_put(upcoming.result(), places)
            upcoming = drawer.submit(draw, step + 1)
            state, loss = learn(state, batch, on_devices, recipe=recipe, optimizer=optimizer)
            progress.count(step, float(loss))
            if save_due():
                save(state)
    save(state)
    return state


def _devices(batch: int) -> list[jax.Device]:
    """The largest number of devices that divides the batch."""
    found = jax.devices()
    count = max(number for number in range(1, len(found) + 1) if batch % number == 0)
    return found[:count]


if __name__ == "__main__":
    main()
