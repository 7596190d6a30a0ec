"""The tokenizer in the configuration of a served text tower."""

import base64
import zlib
from pathlib import Path

import msgspec
import pytest

from framematch.core.errors import ModelError
from framematch.vision import served_tokenizer
from framematch.vision.manifest import (
    TOKENIZER_PARAMETER,
    TOKENIZER_SETTINGS_PARAMETER,
    ModelManifest,
    PreprocessSpec,
)
from framematch.vision.served_tokenizer import pack_tokenizer, unpack_tokenizer
from framematch.vision.tokenizer import Tokenizer, TokenizerSettings
from tests.unit.model_build.bundles import END_ID, PAD_ID, tokenizer

SPEC = PreprocessSpec(8, 8, 8, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
SETTINGS = TokenizerSettings(5, PAD_ID, END_ID, padding_side="left", masks_padding=False, cleaning="lower")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer().save(str(file))
    return file.read_bytes()


@pytest.fixture
def parameters(content: bytes) -> dict[str, str]:
    return pack_tokenizer(content, SETTINGS)


@pytest.fixture
def manifest(content: bytes) -> ModelManifest:
    digest = Tokenizer(content, SETTINGS, source="it").digest
    return ModelManifest("small", "ab" * 32, 4, SPEC, 5, digest, max_batch_size=3)


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def test_a_tokenizer_survives_the_configuration(
    content: bytes, parameters: dict[str, str], manifest: ModelManifest
) -> None:
    served = unpack_tokenizer(parameters, manifest)
    assert served.settings == SETTINGS
    own = Tokenizer(content, SETTINGS, source="it")
    assert served(["MILK", "kiwi"])[0].tolist() == own(["milk", "kiwi"])[0].tolist()


def test_a_tokenizer_other_than_the_model_s_is_refused(manifest: ModelManifest, parameters: dict[str, str]) -> None:
    parameters[TOKENIZER_PARAMETER] = packed(b"{}")
    with pytest.raises(ModelError, match=r"tokenizer of the served small \(abababababab\) is not the one"):
        unpack_tokenizer(parameters, manifest)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("not base64!", "is damaged"),
        (base64.b64encode(b"not compressed").decode(), "is damaged"),
        (base64.b64encode(zlib.compress(b"{}" * 100)[:-6]).decode(), "it is not complete"),
        ("é", "is damaged"),
    ],
)
def test_a_damaged_tokenizer_is_refused(
    manifest: ModelManifest, parameters: dict[str, str], value: str, problem: str
) -> None:
    parameters[TOKENIZER_PARAMETER] = value
    with pytest.raises(ModelError, match=problem) as caught:
        unpack_tokenizer(parameters, manifest)
    assert "framematch model build" in caught.value.hint


@pytest.mark.parametrize("settings", ["{", "{}", '{"context_length": 5, "pad_token_id": 2, "cleaning": "boil"}'])
def test_settings_that_are_none_are_refused(manifest: ModelManifest, parameters: dict[str, str], settings: str) -> None:
    parameters[TOKENIZER_SETTINGS_PARAMETER] = settings
    with pytest.raises(ModelError, match="is damaged"):
        unpack_tokenizer(parameters, manifest)


@pytest.mark.parametrize("missing", [TOKENIZER_PARAMETER, TOKENIZER_SETTINGS_PARAMETER])
def test_a_model_without_a_tokenizer_was_built_by_an_older_version(
    manifest: ModelManifest, parameters: dict[str, str], missing: str
) -> None:
    del parameters[missing]
    with pytest.raises(ModelError, match="an older version of framematch built the model"):
        unpack_tokenizer(parameters, manifest)


def test_a_few_kilobytes_do_not_become_gigabytes(manifest: ModelManifest, parameters: dict[str, str]) -> None:
    parameters[TOKENIZER_PARAMETER] = packed(bytes(70_000_000))
    assert len(parameters[TOKENIZER_PARAMETER]) < 100_000
    with pytest.raises(ModelError, match="larger than 64 MB"):
        unpack_tokenizer(parameters, manifest)


def test_a_tokenizer_that_no_client_would_take_is_not_packed(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_tokenizer, "_MAX_BYTES", len(content) - 1)
    with pytest.raises(ModelError, match="a client takes"):
        pack_tokenizer(content, SETTINGS)


def test_settings_are_readable_json(parameters: dict[str, str]) -> None:
    assert msgspec.json.decode(parameters[TOKENIZER_SETTINGS_PARAMETER])["padding_side"] == "left"
