"""The text tower: a bag of word pieces. A text's embedding is the mean of its pieces' rows of one table.

The table is the ridge regression from names and descriptions to the embeddings of the products' pictures.
"""

import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece

from demo.model.grocery import Product
from framematch.core.arrays import Embeddings
from framematch.model_build.adapt.discriminant import unit

CONTEXT_LENGTH = 77  # as in CLIP
START, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"
_VOCABULARY = 1400
_NAMES = ("{name}", "{name} {category}", "{category} {name}", "a photo of {name}", "a photo of a {name}")
_NAME_WEIGHT = 4  # a whole name counts as much as so many of its parts
_RANDOM_WORDS = 500
_DESCRIPTIONS = 8  # random choices of a description's words
_WORDS_KEPT = (0.4, 1.0)
_RIDGE = 0.3
_OPSET, _IR_VERSION = 17, 8


def make_tokenizer(products: Sequence[Product]) -> Tokenizer:
    """A tokenizer of lower-case words; unknown words are split into pieces."""
    texts = [f"{item.name} {item.category} {item.description}" for item in products] + list(_NAMES)
    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    special = [AddedToken(token, normalized=False, special=True) for token in (START, END, UNKNOWN)]
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=_VOCABULARY, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (START, END)]
    )
    return tokenizer


def fit_table(products: Sequence[Product], centres: Embeddings, tokenizer: Tokenizer) -> Embeddings:
    """The table float32 [vocabulary, D] for the products' `centres` [P, D].

    Random letters are fitted to the direction that is farthest from all products, so that a text without a known word
    is near none of them.
    """
    texts, wanted = _training_texts(products)
    noise = _random_words(_RANDOM_WORDS)
    nowhere = np.linalg.svd(centres, full_matrices=False)[2][-1]
    targets = np.concatenate([unit(wanted @ centres), np.repeat(nowhere[np.newaxis], len(noise), axis=0)])
    tokenizer.enable_truncation(CONTEXT_LENGTH)
    pieces = np.zeros((len(targets), tokenizer.get_vocab_size()))
    for place, encoding in enumerate(tokenizer.encode_batch([*texts, *noise])):
        np.add.at(pieces[place], encoding.ids, 1 / len(encoding.ids))
    gram = pieces.T @ pieces
    gram[np.diag_indices_from(gram)] += _RIDGE
    return np.asarray(np.linalg.solve(gram, pieces.T @ targets), np.float32)


def _random_words(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    letters = np.array(list(string.ascii_lowercase + string.digits + string.punctuation))
    return ["".join(rng.choice(letters, rng.integers(1, 10))) for _ in range(count)]


def _training_texts(products: Sequence[Product]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Texts, and which products each describes [texts, products]: parts of names describe all products with them."""
    rng = np.random.default_rng(0)
    titles = [f" {product.name} {product.category} ".lower() for product in products]
    found: list[tuple[str, Iterable[int]]] = []
    for row, product in enumerate(products):
        names = [phrase.format(name=product.name, category=product.category) for phrase in _NAMES]
        found += [(name, [row]) for name in names * _NAME_WEIGHT]
        words = product.description.split()
        found.append((product.description, [row]))
        for _ in range(_DESCRIPTIONS):
            share = rng.uniform(*_WORDS_KEPT)
            found.append((" ".join([word for word in words if rng.uniform() < share] or words), [row]))
    for part in sorted({part for title in titles for part in _parts(title.split())}):
        found.append((part, [row for row, title in enumerate(titles) if f" {part} " in title]))
    wanted = np.zeros((len(found), len(products)), np.float32)
    for place, (_, rows) in enumerate(found):
        wanted[place, list(rows)] = 1
    return [text for text, _ in found], wanted


def _parts(words: Sequence[str]) -> Iterator[str]:
    """All runs of words."""
    for first in range(len(words)):
        for last in range(first + 1, len(words) + 1):
            yield " ".join(words[first:last])


def text_tower(table: Embeddings) -> ModelProto:
    """`input_ids` and `attention_mask` int64 [N, L] to `text_embeds` [N, D]."""
    constants: dict[str, npt.NDArray[Any]] = {
        "table": table,
        "last": np.array([-1], np.int64),
        "row": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["mask", "last"], ["count"]),
        helper.make_node("Div", ["mask", "count"], ["share"]),
        helper.make_node("Unsqueeze", ["share", "row"], ["share_row"]),
        helper.make_node("MatMul", ["share_row", "words"], ["mean_row"]),
        helper.make_node("Squeeze", ["mean_row", "row"], ["text_embeds"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch_size", "sequence_length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, ["batch_size", table.shape[1]])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tower", inputs, [output], tensors)
    opset = helper.make_opsetid("", _OPSET)
    made = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="framematch demo")
    onnx.checker.check_model(made, full_check=True)
    return made
