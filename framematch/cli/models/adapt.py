"""`framematch model adapt`: fits a bundle to the products of labelled photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from framematch.cli.common import prepare_command, progress_bar
from framematch.cli.console import new_console, print_text
from framematch.core.errors import ModelError

if TYPE_CHECKING:
    from framematch.model_build.adapt.adapt import Adaptation


def adapt(
    *,
    bundle: Annotated[Path, typer.Option("--from", help="Folder of the bundle to adapt, with fp32 or fp16 graphs.")],
    photos: Annotated[
        Path, typer.Option(metavar="DIR", help="Labelled photos: a subfolder for each product, named by the product.")
    ],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.")],
    force: Annotated[bool, typer.Option("--force", help="Write the bundle even if no gain was measured.")] = False,
) -> None:
    """Fit a bundle to labelled photos: directions that tell products apart count more.

    A linear map is fitted to the embeddings of the photos and of varied copies (Fisher's discriminant), and becomes
    part of both graphs. The report compares it with the bundle as it was, on photos that were held out: for the
    products that it knows, and for products that were left out. It writes nothing unless known products gain.
    """
    prepare_command("model")
    from framematch.model_build.adapt.adapt import adapt as fit
    from framematch.model_build.adapt.write_bundle import require_new, write_adapted
    from framematch.model_build.bundles.bundle import load_bundle

    require_new(out)
    read = load_bundle(bundle)
    with progress_bar("Embedding", "photos") as show:
        adaptation = fit(read, photos, on_progress=show)
    _print_report(adaptation)
    if not adaptation.report.known.gained and not force:
        raise ModelError(
            f"no gain for known products was measured, so {out} was not written",
            hint="Give more photos of each product, or --force to write it in spite of that",
        )
    written = write_adapted(read, adaptation.linear, adaptation.names, out)
    print_text(f"Wrote {written.path}: {written.dimension} dimensions instead of {read.dimension}")
    print_text(f"Build it with `framematch model build --from {out}`, then an index with `framematch catalog build`.")


def _print_report(adaptation: "Adaptation") -> None:
    counts = f"{len(adaptation.names)} products, {adaptation.photos} photos"
    left_out = [
        text
        for number, text in (
            (adaptation.unreadable, f"{adaptation.unreadable} photos not readable"),
            (adaptation.left_out, f"{adaptation.left_out} products with too few photos left out"),
        )
        if number
    ]
    print_text(f"Fitted to {', '.join([counts, *left_out])}. On photos held out of the fit:")
    table = Table("", "Before", "After", "Change, with its 95 % interval", "Photos", box=None, pad_edge=False)
    report = adaptation.report
    for change in (report.known, report.new_products, report.strangers):
        interval = f"{_points(change.after - change.before)} ({_points(change.low)} to {_points(change.high)})"
        table.add_row(change.name, f"{change.before:.1%}", f"{change.after:.1%}", interval, str(change.pictures))
    new_console(soft_wrap=True).print(table)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
