"""Saves and restores the state of a training run, so that an interrupted run can be resumed."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from demo.model.network import Tree


def save(path: Path, state: Tree, recipe: dict[str, Any]) -> None:
    """Write `state` and its recipe. An earlier file is replaced only when the new one is complete."""
    leaves = {f"{number:05d}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, recipe=np.array(json.dumps(recipe, sort_keys=True)), **leaves)
    temporary.replace(path)


def restore(path: Path, like: Tree, recipe: dict[str, Any]) -> Tree:
    """The saved state, with the structure of `like`.

    Raises:
        ValueError: the file is of another recipe.
    """
    with np.load(path) as saved:
        if json.loads(str(saved["recipe"])) != recipe:
            raise ValueError(f"{path} is of another recipe: give another folder, or remove it to start anew")
        leaves = [saved[name] for name in sorted(saved.files) if name != "recipe"]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
