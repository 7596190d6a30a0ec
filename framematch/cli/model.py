"""`framematch model`: the models that Triton serves."""

import typer

from framematch.cli.models.adapt import adapt
from framematch.cli.models.build import build
from framematch.cli.models.check import check
from framematch.cli.models.listing import list_models, prune

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The models that Triton serves.")


@app.callback()
def _group() -> None:
    """Build the models that Triton serves, check and list them, and remove those that no snapshot needs."""


app.command(epilog="Example: `framematch model build --hub openai/clip-vit-base-patch32 --target cpu`")(build)
app.command(epilog="Example: `framematch model adapt --from BUNDLE --photos photos/ --out adapted`")(adapt)
app.command(epilog="Example: `framematch model check --from ~/clip-vit-base-patch32`")(check)
app.command(name="list", epilog="Example: `framematch model list --json`")(list_models)
app.command(epilog="Example: `framematch model prune --dry-run`")(prune)
