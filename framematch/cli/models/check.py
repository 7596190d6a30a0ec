"""`framematch model check`: compares the embeddings that Triton returns with reference embeddings."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.console import new_console
from framematch.core.errors import CatalogError, UsageError
from framematch.core.settings_sources import require

if TYPE_CHECKING:
    from framematch.core.arrays import Pixels
    from framematch.model_build.checks.conformance import Check
    from framematch.model_build.checks.reference import Reference
    from framematch.model_build.checks.served_check import CheckInputs
    from framematch.vision.manifest import ModelManifest


def check(
    *,
    bundle: Annotated[
        Path | None,
        typer.Option("--from", help="Folder of a bundle, whose fp32 graphs are run here and compared with."),
    ] = None,
    expected: Annotated[
        Path | None, typer.Option(help="Reference embeddings in JSON; docs/models.md shows the format.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the pictures.", show_default="images/ beside the reference embeddings, else built-in ones"
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="The model to check: the first 12 digits of its digest, or more (`model list`).",
            show_default="the newest built",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Compare what Triton serves with reference embeddings, with the bundle it was built from, or with both.

    Pictures are scaled by both the exact and the fast preprocessing. Both, and texts, must reach their limits. Token
    ids must be equal if the reference has them. Exit code 0 when all pass, 1 otherwise.
    """
    settings = prepare_command("model check", config)
    if bundle is None and expected is None:
        raise UsageError("there is no reference", hint="Give --from BUNDLE, --expected FILE, or both: see --help")
    if digest is not None and not re.fullmatch("[0-9a-f]{12,64}", digest):
        raise UsageError(f"--digest {digest} is no digest", hint="Give its first 12 digits; `model list` shows them")
    url = require(settings.triton.url, "triton.url")
    from framematch.model_build.checks.served_check import check_served

    inputs = replace(_inputs(bundle, expected, images), digest=digest)
    with progress_bar("Comparing", "pictures") as show:
        served, checks = asyncio.run(check_served(url, settings.triton.timeout_s, inputs, show))
    failed = sum(not (item.passed or item.skipped) for item in checks)
    console = new_console(soft_wrap=True)
    if as_json:
        console.out_json(_json(served, checks, passed=not failed))
    else:
        model = f"{served.name} ({served.digest[:12]}): {served.precision}, {served.dimension} dimensions"
        console.print(f"Triton at {url} serves {model}")
        console.print(table(checks))
        verdict = (f"{failed} of {len(checks)} checks failed", "bold red") if failed else "All checks passed"
        console.print(Text.assemble(verdict))
    if failed:
        raise typer.Exit(1)


def table(checks: "list[Check]") -> Table:
    """One row for each check."""
    rows = Table("", "What", "Against", "Number", "Lowest", "Mean", "Limit", "Verdict", box=None, pad_edge=False)
    for column in rows.columns[:-1]:
        column.no_wrap = True
    for column in rows.columns[3:6]:
        column.justify = "right"
    for item in checks:
        mark = Text("-", "dim") if item.skipped else Text("ok", "green") if item.passed else Text("no", "bold red")
        verdict = "" if item.passed else f"{'not checked: ' if item.skipped else ''}{item.problem}"
        numbers = (str(item.number), _cosine(item.lowest), _cosine(item.mean), str(item.limit or ""))
        rows.add_row(mark, item.what, item.against, *numbers, verdict)
    return rows


def _cosine(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _json(served: "ModelManifest", checks: "list[Check]", *, passed: bool) -> str:
    model = {"name": served.name, "digest": served.digest, "precision": served.precision}
    rows = [msgspec.to_builtins(item) | {"passed": item.passed} for item in checks]
    return msgspec.json.encode({"model": model, "checks": rows, "passed": passed}).decode()


def _inputs(folder: Path | None, expected: Path | None, images: Path | None) -> "CheckInputs":
    from framematch.model_build.bundles.bundle import load_bundle
    from framematch.model_build.checks.reference import Reference, read_reference
    from framematch.model_build.checks.samples import PRODUCT_NAMES
    from framematch.model_build.checks.served_check import CheckInputs

    bundle = load_bundle(folder) if folder else None
    reference = read_reference(expected) if expected else Reference()
    pictures, load = _pictures(reference, expected, images, built_in=bundle is not None)
    return CheckInputs(
        pictures=pictures,
        load=load,
        texts=list(reference.texts) or (PRODUCT_NAMES if bundle and bundle.text else ()),
        reference=reference if expected else None,
        reference_name=expected.name if expected else "",
        bundle=bundle,
    )


def _pictures(
    reference: "Reference", expected: Path | None, images: Path | None, *, built_in: bool
) -> "tuple[Sequence[str], Callable[[str], Pixels]]":
    """Names, and a function that loads one: of the reference's pictures, else of the folder's, else built-in ones."""
    from framematch.model_build.checks.samples import sample_pictures

    if expected and reference.images:
        folder = images or expected.parent / "images"
        if missing := [name for name in reference.images if not (folder / name).is_file()]:
            raise CatalogError(
                f"{len(missing)} of {len(reference.images)} pictures of {expected.name} are not in {folder}, "
                f"first {missing[0]}",
                hint="Name their folder with --images DIR",
            )
        return list(reference.images), partial(_load, folder.resolve())
    if images:
        return _names_in(images), partial(_load, images.resolve())
    samples = sample_pictures() if built_in else {}
    return list(samples), samples.__getitem__


def _names_in(folder: Path) -> list[str]:
    from PIL import Image

    from framematch.pictures.stored import FORMATS

    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
    names = sorted(path.name for path in folder.glob("*") if path.suffix.lower() in endings)
    if not names:
        raise CatalogError(f"there are no pictures in {folder}", hint=f"Supported: {', '.join(FORMATS)}")
    return names


def _load(folder: Path, name: str) -> "Pixels":
    """Decode a picture as the catalogue does."""
    from framematch.catalog.images import decode_rgb, read_image

    data = read_image(folder, name).data
    try:
        return decode_rgb(data)
    except CatalogError as error:
        raise CatalogError(
            f"the picture {folder / name} {error.message}", hint="Copy it again, or leave it out"
        ) from None
