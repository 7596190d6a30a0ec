"""What a user may ask of an import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from framematch.catalog.importing.presets.preset import ProductField


@dataclass(frozen=True)
class ImportOptions:
    """By default the file says everything itself, and no picture is downloaded.

    Attributes:
        images: the folder or archive that names of pictures are relative to; None for the file's own folder.
        preset: the name of the shop's table; None to tell it by its columns.
        fields: columns of the file for our fields, instead of those of the preset.
        encoding: of the text; None to find it out.
        decimal: the decimal sign of all amounts of money; None to find it out for each column.
        locale, channel: which of several texts and prices counts, in tables that have them, such as `de_DE`.
        allowed_hosts: patterns of hosts that pictures may be downloaded from.
        any_public_host: they may be downloaded from everywhere.
        strict: a product with a bad picture is refused as a whole.
        dry_run: nothing is stored or downloaded.
        find_lacking: look for products of the catalogue that the file does not have.
        refused: the file that refused rows are written to.
        refused_folder: if `refused` is None, a file in this folder; if this is None too, there is none.
    """

    images: Path | None = None
    preset: str | None = None
    fields: Mapping[ProductField, str] = field(default_factory=dict)
    encoding: str | None = None
    decimal: Literal[".", ","] | None = None
    locale: str | None = None
    channel: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    any_public_host: bool = False
    strict: bool = False
    dry_run: bool = False
    find_lacking: bool = False
    refused: Path | None = None
    refused_folder: Path | None = None
