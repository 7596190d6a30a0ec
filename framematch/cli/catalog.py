"""`framematch catalog`: imports products, lists them, and builds and changes the snapshots that consumers search."""

import typer

from framematch.cli import product_changes, product_list
from framematch.cli.catalog_build import build
from framematch.cli.catalog_calibrate import calibrate
from framematch.cli.catalog_export import export_file
from framematch.cli.catalog_import import import_file
from framematch.cli.snapshots import changes as snapshot_changes
from framematch.cli.snapshots import listing as snapshots
from framematch.cli.snapshots import prune as snapshot_prune
from framematch.cli.snapshots import shadow

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The products that cameras may see.")
app.command(name="import", epilog="Example: `framematch catalog import products.csv --images photos/`")(import_file)
app.command(name="export", epilog="Example: `framematch catalog export products.csv --pictures photos/`")(export_file)
app.command(epilog="Example: `framematch catalog build --preprocessing exact`")(build)
app.command(epilog="Example: `framematch catalog calibrate --rate 0.05 --frames held-out/ --nothing empty/`")(calibrate)
app.add_typer(product_list.app)
app.add_typer(product_changes.app)
app.add_typer(snapshots.app)
app.add_typer(snapshot_changes.app)
app.add_typer(snapshot_prune.app)
app.add_typer(shadow.app, name="shadow", cls=shadow.ShadowCommands)
