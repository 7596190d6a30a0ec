"""Measures a bundle on GroceryStoreDataset: `python -m demo.model.evaluate GROCERY_DIR [--bundle DIR] [--json FILE]`.

The bundle's preprocessing, tokenizer and folded graphs are those that are served, but run in this process.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from demo.dataset import BUNDLE_DIR
from demo.model.grocery import Product, load_photos, load_products
from demo.model.retrieval import (
    Accuracy,
    Encoded,
    accuracy,
    auroc_against,
    by_enrolment,
    draw_photos,
    enrolled,
)
from framematch.core.arrays import Embeddings, Pixels
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession, embed_pictures
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL
from framematch.vision.preprocess import Preprocessor

_DRAWS = 20  # random choices of the enrolled photos, and of the left-out products
_LEFT_OUT = 10


def main() -> None:
    """Print the results as a table, and write them as JSON."""
    parser = argparse.ArgumentParser(description="Measure a bundle on GroceryStoreDataset.")
    parser.add_argument("grocery", type=Path, metavar="GROCERY_DIR", help="a copy of GroceryStoreDataset")
    parser.add_argument("--bundle", type=Path, default=BUNDLE_DIR, metavar="DIR", help="default: the demo's")
    parser.add_argument("--split", default="val", help="the photos used as queries (default val)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    for name in ("train.txt", f"{arguments.split}.txt"):
        if not (arguments.grocery / name).is_file():
            parser.error(f"no {name} in {arguments.grocery}: give a copy of GroceryStoreDataset")
    catalogue = load_products()
    known = range(len(catalogue))
    encoded = encode(arguments.bundle, catalogue, arguments.grocery, arguments.split)
    shares = {
        **by_enrolment(encoded, known, _DRAWS),
        **by_group(encoded, known, groups_of(arguments.grocery)),
    }
    unknown = not_enrolled(encoded)
    _print(shares, unknown)
    if arguments.json:
        found = {"accuracy": shares, "auroc": unknown}
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def encode(bundle_path: Path, catalogue: Sequence[Product], grocery: Path, split: str) -> Encoded:
    """Embed the catalogue, the `train` photos and the photos of `split`.

    Raises:
        ModelError: the bundle is not usable.
    """
    bundle = load_bundle(bundle_path)
    towers = fold_towers(bundle)
    image, text = OnnxSession(towers[IMAGE_MODEL].graph), OnnxSession(towers[TEXT_MODEL].graph)
    preprocess, tokenizer = Preprocessor(bundle.preprocess, "exact"), bundle.load_tokenizer()
    names = [item.name for item in towers[TEXT_MODEL].inputs]

    def pictures(items: Iterable[Pixels]) -> Embeddings:
        return embed_pictures(image, np.stack([preprocess(item) for item in items]))

    def texts(items: Sequence[str]) -> Embeddings:
        ids, mask = tokenizer(items)
        both = {"input_ids": ids, "attention_mask": mask}
        return text.embed({name: both[name] for name in names})

    train, queries = load_photos(grocery, "train"), load_photos(grocery, split)
    return Encoded(
        iconic=pictures(product.iconic for product in catalogue),
        names=texts([product.name for product in catalogue]),
        descriptions=texts([product.description for product in catalogue]),
        train=pictures(train),
        train_products=train.products,
        queries=pictures(queries),
        query_products=queries.products,
    )


def groups_of(grocery: Path) -> dict[int, str]:
    """Fruit, Packages or Vegetables, by the row of the product."""
    lines = [line.split(", ") for line in (grocery / "train.txt").read_text(encoding="utf-8").splitlines()]
    return {int(product): path.split("/")[1] for path, product, _ in lines}


def by_group(encoded: Encoded, known: Sequence[int], groups: Mapping[int, str]) -> dict[str, Accuracy]:
    """Accuracy within each group of products, with everything enrolled."""
    queries, truth = encoded.queries_of(known)
    similarity = queries @ enrolled(encoded, known, draw_photos(encoded, known, 0)).T
    of_photo = np.array([groups[known[row]] for row in truth])
    return {name: accuracy(similarity[of_photo == name], truth[of_photo == name]) for name in sorted(set(of_photo))}


def not_enrolled(encoded: Encoded) -> dict[str, float]:
    """AUROC against products that the model knows and the catalogue lacks: the mean over random choices of ten."""
    count, found = len(encoded.iconic), []
    for draw in range(_DRAWS):
        left_out = np.random.default_rng(draw).permutation(count)[:_LEFT_OUT]
        known = [row for row in range(count) if row not in left_out]
        unknown = encoded.queries[np.isin(encoded.query_products, left_out)]
        found.append(auroc_against(encoded, known, unknown, draw))
    return {f"not enrolled, {score}": value for score, value in _mean_of(found)}


def _mean_of(found: Sequence[Mapping[str, float]]) -> list[tuple[str, float]]:
    return [(name, float(np.mean([one[name] for one in found]))) for name in found[0]]


def _print(shares: Mapping[str, Accuracy], unknown: Mapping[str, float]) -> None:
    table = Table("enrolled, or group", "top-1", "top-5", box=None)
    for what, share in shares.items():
        table.add_row(what, f"{100 * share.top1:.1f} %", f"{100 * share.top5:.1f} %")
    for what, value in unknown.items():
        table.add_row(f"AUROC {what}", f"{value:.3f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
