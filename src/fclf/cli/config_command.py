"""`fclf config`: see what a recipe or a file says, and how two differ."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["config_app"]

config_app = typer.Typer(no_args_is_help=True, help="Show recipes and configuration files, and compare them.")

Source = Annotated[str, typer.Argument(metavar="NAME|PATH", help="A recipe or a YAML file.")]


@config_app.command("list")
def list_recipes() -> None:
    """List the recipes with their first line.

    Example: fclf config list
    """
    from fclf.config import recipes

    for name, text in recipes().items():
        typer.echo(f"{name:18s} {text.splitlines()[0].lstrip('# ')}")


@config_app.command("show")
def show(
    source: Source,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
    ] = None,
) -> None:
    """Print every setting, those left at their default included.

    Example: fclf config show fclf_config --set loss.lambda_identity=0.1
    """
    from fclf.config import load_config

    typer.echo(load_config(source, set_ or []).to_yaml().rstrip())


@config_app.command("diff")
def diff(first: Source, second: Source) -> None:
    """Print the settings in which two configurations differ.

    Example: fclf config diff before fclf_config
    """
    from fclf.config import changes, load_config

    for key, before, after in changes(load_config(first), load_config(second)):
        typer.echo(f"{key}: {before} -> {after}")
