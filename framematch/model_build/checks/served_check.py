"""Embeds through Triton, and compares with reference embeddings and with a bundle's graphs, run in this process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from framematch.core.arrays import Embeddings, Pixels
from framematch.core.progress import OnProgress
from framematch.model_build.bundles.bundle import Bundle
from framematch.model_build.checks.conformance import (
    Check,
    Kind,
    Rows,
    compare_embeddings,
    compare_token_ids,
    limit_for,
    limit_for_jpegs,
    require_dimension,
    require_same_model,
    skipped,
)
from framematch.model_build.checks.reference import Reference, ReferencePicture, ReferenceText, rows_of
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession
from framematch.model_build.repository.build_options import BuildOptions
from framematch.model_build.repository.model_repository import manifest_of
from framematch.vision.encoder import ImageEncoder, TextEncoder
from framematch.vision.jpeg_encoder import JpegEncoder
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL, ModelManifest
from framematch.vision.preprocess import Preprocessor
from framematch.vision.region_rows import CLIENT_DECODER, RegionRow, crop_rows, reduction_for
from framematch.vision.served_models import serves_jpegs
from framematch.vision.tokenizer import Tokenizer

# Crops in memory; of decoded pictures there is one at a time.
_BATCH = 32
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class CheckInputs:
    """What to compare with: `reference`, read from the file `reference_name`, or `bundle`, or both.

    `load` returns the picture of a name, RGB uint8 [h, w, 3]. `digest` is that of the served model; None means the
    newest built.
    """

    pictures: Sequence[str]
    load: Callable[[str], Pixels]
    texts: Sequence[str]
    reference: Reference | None = None
    reference_name: str = ""
    bundle: Bundle | None = None
    digest: str | None = None


async def check_served(
    url: str, timeout_s: float, given: CheckInputs, on_progress: OnProgress
) -> tuple[ModelManifest, list[Check]]:
    """Compare what the Triton at `url` (host:port) serves with `given`; `on_progress` counts pictures.

    Raises:
        TritonUnavailableError: Triton is unreachable or slow, or the model is not ready.
        ModelMismatchError: the served model is not that of `given`.
        ModelError: Triton does not have the model, or the bundle is broken.
    """
    local = _LocalModel(given.bundle) if given.bundle else None
    async with await ImageEncoder.connect(
        url, given.digest, timeout_s=timeout_s, request_timeout_s=timeout_s
    ) as images:
        served = images.manifest
        if local:
            require_same_model(served, local.manifest)
        if given.reference:
            require_dimension(served, given.reference_name, given.reference.dimension)
        checks = await _pictures(images, given, local, on_progress)
    checks += await _jpegs(url, timeout_s, served, given)
    if not given.texts:
        return served, checks
    if served.context_length is None:
        return served, [*checks, skipped("texts", given.reference_name, "the served model has no text tower")]
    async with await TextEncoder.connect(url, served.digest, timeout_s=timeout_s, request_timeout_s=timeout_s) as texts:
        checks += _token_ids(texts.tokenizer, given)
        return served, checks + await _texts(texts, given, local)


class _LocalModel:
    """A bundle's fp32 graphs, run in this process."""

    def __init__(self, bundle: Bundle) -> None:
        towers = fold_towers(bundle)
        self.bundle = bundle
        self.label = f"ONNX of {bundle.name}"
        self.manifest = manifest_of(bundle, towers, BuildOptions(precision="fp32"))
        self._sessions = {model: OnnxSession(tower.graph) for model, tower in towers.items()}
        self._inputs = {model: [item.name for item in tower.inputs] for model, tower in towers.items()}

    def embed(self, model: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Embeddings:
        """Run the graph of `model` with those of `inputs` that it has."""
        return self._sessions[model].embed({name: inputs[name] for name in self._inputs[model]})


async def _pictures(
    encoder: ImageEncoder, given: CheckInputs, local: _LocalModel | None, on_progress: OnProgress
) -> list[Check]:
    """Compare both exact and fast preprocessing with exact references."""
    if not given.pictures:
        return []
    exact, fast = (Preprocessor(encoder.manifest.preprocess, variant) for variant in ("exact", "fast"))
    found: dict[Kind, list[Embeddings]] = {"exact pictures": [], "fast pictures": []}
    local_rows = []
    for first in range(0, len(given.pictures), _BATCH):
        decoded = map(given.load, given.pictures[first : first + _BATCH])
        crops = [np.stack(both) for both in zip(*((exact(picture), fast(picture)) for picture in decoded), strict=True)]
        for kind, pixels in zip(found, crops, strict=True):
            found[kind].append(await encoder.embed(pixels))
        if local:
            local_rows.append(local.embed(IMAGE_MODEL, {"pixels": crops[0]}))
        on_progress(first + len(crops[0]), len(given.pictures))
    items = given.reference.images if given.reference else {}
    references = _references(given.reference_name, items, given.pictures, local, local_rows)
    return [
        compare_embeddings(
            kind,
            label,
            names=given.pictures,
            found=np.concatenate(rows),
            reference=reference,
            limit=limit_for(kind, encoder.manifest.precision),
        )
        for label, reference in references
        for kind, rows in found.items()
    ]


async def _jpegs(url: str, timeout_s: float, served: ModelManifest, given: CheckInputs) -> list[Check]:
    """Compare JPEGs that Triton decodes with the same decoded here, if the model was built with `--jpeg`."""
    if not given.pictures or not await serves_jpegs(url, served, timeout_s):
        return []
    found, reference = list[Embeddings](), list[Embeddings]()
    async with await JpegEncoder.connect(
        url, served.digest, timeout_s=timeout_s, request_timeout_s=timeout_s
    ) as encoder:
        own = encoder.jpeg_manifest
        preprocessor = Preprocessor(served.preprocess, own.variant)
        for name in given.pictures:
            picture = given.load(name)
            box = (0, 0, picture.shape[1], picture.shape[0])
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=_JPEG_QUALITY)
            row = RegionRow(jpeg, box, reduction_for(preprocessor, [box]))
            found.append((await encoder.embed_regions([row]))[0])
            [cropped] = crop_rows([row], preprocessor, max_pixels=own.max_pixels)
            reference.append(await encoder.embed(cropped.pixels[None]))
    return [
        compare_embeddings(
            "JPEGs, decoded by Triton",
            f"{CLIENT_DECODER}, {own.variant}",
            names=given.pictures,
            found=np.concatenate(found),
            reference=np.concatenate(reference),
            limit=limit_for_jpegs(is_exact=own.is_exact),
        )
    ]


async def _texts(encoder: TextEncoder, given: CheckInputs, local: _LocalModel | None) -> list[Check]:
    rows = await encoder.embed(given.texts)
    local_rows = []
    if local:
        input_ids, attention_mask = local.bundle.load_tokenizer()(given.texts)
        local_rows.append(local.embed(TEXT_MODEL, {"input_ids": input_ids, "attention_mask": attention_mask}))
    items = given.reference.texts if given.reference else {}
    references = _references(given.reference_name, items, given.texts, local, local_rows)
    limit = limit_for("texts", encoder.manifest.precision)
    return [
        compare_embeddings("texts", label, names=given.texts, found=rows, reference=reference, limit=limit)
        for label, reference in references
    ]


def _token_ids(tokenizer: Tokenizer, given: CheckInputs) -> list[Check]:
    reference = given.reference.token_ids if given.reference else {}
    if not reference:
        return []
    found = dict(zip(reference, tokenizer(list(reference))[0].tolist(), strict=True))
    return [compare_token_ids(given.reference_name, found, reference)]


def _references(
    label: str,
    items: Mapping[str, ReferencePicture | ReferenceText],
    names: Sequence[str],
    local: _LocalModel | None,
    local_rows: Sequence[Embeddings],
) -> list[tuple[str, Rows]]:
    """The references with their labels. Each has one row for each of `names`."""
    found: list[tuple[str, Rows]] = []
    if items:
        found.append((label, rows_of(items[name] for name in names)))
    if local:
        found.append((local.label, np.concatenate(local_rows)))
    return found
