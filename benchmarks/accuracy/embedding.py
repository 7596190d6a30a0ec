"""Embeds pictures with a bundle as consumers do: the same decoding, preprocessing and folded graph, in this process."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from framematch.core.arrays import Embeddings, Pixels
from framematch.core.progress import OnProgress
from framematch.matching.match_pictures import Picture, prepare_picture
from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.onnx_session import OnnxSession, embed_pictures
from framematch.vision.manifest import IMAGE_MODEL, TEXT_MODEL
from framematch.vision.preprocess import Preprocessor

_AT_ONCE = 64
"""Pictures whose pixels are in memory at the same time."""


class BundleEncoder:
    """Embeds the bytes of pictures, and texts."""

    def __init__(self, bundle: Path) -> None:
        """Load the bundle.

        Raises:
            ModelError: the bundle cannot be used.
        """
        loaded = load_bundle(bundle)
        towers = fold_towers(loaded)
        self._image, self._text = OnnxSession(towers[IMAGE_MODEL].graph), OnnxSession(towers[TEXT_MODEL].graph)
        self._text_inputs = [item.name for item in towers[TEXT_MODEL].inputs]
        self._preprocessor = Preprocessor(loaded.preprocess, "fast")
        self._tokenizer = loaded.load_tokenizer()

    def embed(self, pictures: Sequence[bytes], on_progress: OnProgress = lambda _done, _all: None) -> Embeddings:
        """Unit vectors float32 [N, D] of pictures in a file format.

        Raises:
            PictureError: one of them cannot be decoded.
        """
        parts = []
        with ThreadPoolExecutor(2) as threads:
            for start in range(0, len(pictures), _AT_ONCE):
                crops = list(threads.map(self._crop, pictures[start : start + _AT_ONCE]))
                parts.append(embed_pictures(self._image, np.stack(crops)))
                on_progress(min(start + _AT_ONCE, len(pictures)), len(pictures))
        return np.concatenate(parts)

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors float32 [N, D] of texts."""
        ids, mask = self._tokenizer(texts)
        both = {"input_ids": ids, "attention_mask": mask}
        return self._text.embed({name: both[name] for name in self._text_inputs})

    def _crop(self, picture: bytes) -> Pixels:
        return prepare_picture(Picture(picture), self._preprocessor).crops[0]
