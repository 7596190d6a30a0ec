"""Files of reference embeddings, good and bad."""

from pathlib import Path

import msgspec
import pytest

from framematch.core.errors import ModelError
from framematch.model_build.checks.reference import read_reference, rows_of

GOOD = {
    "images": {"a.jpg": {"embedding": [0.6, 0.8], "size": [4, 3]}},
    "texts": {
        "a jar of honey": {"embedding": [1, 0], "input_ids": [0, 3, 2, 2]},
        "a.jpg": {"embedding": [0, 1]},
    },
}


def written(folder: Path, content: object) -> Path:
    file = folder / "expected.json"
    file.write_bytes(msgspec.json.encode(content))
    return file


def test_pictures_and_texts_are_read_and_other_keys_are_ignored(tmp_path: Path) -> None:
    reference = read_reference(written(tmp_path, GOOD))
    assert rows_of(reference.images.values()).tolist() == [[0.6, 0.8]]
    assert rows_of(reference.texts.values()).tolist() == [[1, 0], [0, 1]]
    assert reference.dimension == 2
    assert reference.token_ids == {"a jar of honey": [0, 3, 2, 2]}


def test_a_file_may_have_only_texts(tmp_path: Path) -> None:
    assert not read_reference(written(tmp_path, {"texts": GOOD["texts"]})).images


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], "has no reference embeddings"),
        ({}, "has no reference embeddings"),
        ({"images": {"a.jpg": {"vector": [1]}}}, "has no reference embeddings"),
        ({"images": {"a.jpg": {"embedding": ["x"]}}}, "has no reference embeddings"),
        ({"images": {"a.jpg": {"embedding": [0, 0]}}}, "'a.jpg' is zero"),
        ({"images": GOOD["images"], "texts": {"honey": {"embedding": [1, 0, 0]}}}, "'honey' has 3 numbers"),
    ],
)
def test_a_file_without_usable_embeddings_is_one_clear_error(tmp_path: Path, content: object, expected: str) -> None:
    with pytest.raises(ModelError, match=expected) as caught:
        read_reference(written(tmp_path, content))
    assert "expected.json" in caught.value.message
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.json"):
        read_reference(tmp_path / "nowhere.json")
