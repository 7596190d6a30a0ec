"""What a user may ask of an import."""

from dataclasses import dataclass, field
from pathlib import Path

from framematch.catalog.importing.presets.mapping_options import MappingOptions


@dataclass(frozen=True)
class ImportOptions:
    """By default the file says everything itself, and no picture is downloaded.

    Attributes:
        images: the folder or archive that names of pictures are relative to; None for the file's own folder.
        mapping: what its columns mean, as far as it does not say so itself.
        encoding: of the text; None to find it out.
        allowed_hosts: patterns of hosts that pictures may be downloaded from.
        any_public_host: they may be downloaded from everywhere.
        strict: a product with a bad picture is refused as a whole.
        dry_run: nothing is stored or downloaded.
        find_lacking: look for products of the catalogue that the file does not have.
        refused: the file that refused rows are written to.
        refused_folder: if `refused` is None, a file in this folder; if this is None too, there is none.
    """

    images: Path | None = None
    mapping: MappingOptions = field(default_factory=MappingOptions)
    encoding: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    any_public_host: bool = False
    strict: bool = False
    dry_run: bool = False
    find_lacking: bool = False
    refused: Path | None = None
    refused_folder: Path | None = None
