"""Finds the padding and end tokens, by their names in a bundle's tokenizer files."""

from dataclasses import dataclass, field
from pathlib import Path

from framematch.core.errors import ModelError
from framematch.model_build.bundles.model_config import TextConfig
from framematch.vision.model_files import decode_json
from framematch.vision.tokenizer import PaddingSide


@dataclass(frozen=True)
class SpecialTokens:
    """Token ids, and the side of a text on which padding is added."""

    pad_token_id: int
    eos_token_id: int
    padding_side: PaddingSide


@dataclass(frozen=True)
class _Token:
    content: str


@dataclass(frozen=True)
class _Names:
    pad_token: str | _Token | None = None
    eos_token: str | _Token | None = None
    sep_token: str | _Token | None = None
    padding_side: PaddingSide = "right"


@dataclass(frozen=True)
class _AddedToken:
    id: int
    content: str


@dataclass(frozen=True)
class _TokenizerFile:
    added_tokens: list[_AddedToken] = field(default_factory=list)


def read_special_tokens(tokenizer: Path, config: TextConfig) -> SpecialTokens:
    """Look the tokens up in tokenizer_config.json or special_tokens_map.json beside the file `tokenizer`.

    Raises:
        ModelError: a file is not usable, names a token that the tokenizer lacks, or no file names the token.
    """
    ids = {token.content: token.id for token in decode_json(tokenizer, _TokenizerFile).added_tokens}
    files = (tokenizer.with_name("tokenizer_config.json"), tokenizer.with_name("special_tokens_map.json"))
    found = [(file, decode_json(file, _Names)) for file in files if file.is_file()]

    def id_of(role: str, fallback: int | None) -> int:
        """Look by name first, because old CLIP configurations have wrong ids (pad 1, eos 2)."""
        for file, names in found:
            token = getattr(names, role) or (names.sep_token if role == "eos_token" else None)
            if token is not None:
                content = token.content if isinstance(token, _Token) else token
                if content not in ids:
                    raise ModelError(
                        f"{file} names {content!r} as {role}, which is not among tokenizer.json's added_tokens",
                        hint="Copy both files from the same export",
                    )
                return ids[content]
        if fallback is None:
            raise ModelError(
                f"no file beside {tokenizer} names its {role}",
                hint=f"Add tokenizer_config.json with {role}, or text_config.{role}_id to config.json",
            )
        return fallback

    return SpecialTokens(
        pad_token_id=0 if config.pads_with_zero else id_of("pad_token", config.pad_token_id),
        eos_token_id=id_of("eos_token", config.eos_token_id),
        padding_side=found[0][1].padding_side if found else "right",
    )
