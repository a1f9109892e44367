"""`fclf portraits`: procedural portraits with known attributes and people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import ThreadsOption, use_threads
from fclf.errors import InputError

__all__ = ["portraits_app"]

portraits_app = typer.Typer(no_args_is_help=True, help="Draw portraits of people who do not exist.")


@portraits_app.callback()
def _commands() -> None:
    """Keep `sheet` a command of its own, though it is the only one."""


@portraits_app.command("sheet")
def sheet(
    output: Annotated[Path, typer.Option(metavar="OUT.png", help="The picture.")],
    people: Annotated[int, typer.Option(min=1, max=40, help="Columns.")] = 10,
    size: Annotated[int, typer.Option(min=16, max=512, help="Side of a portrait in pixels.")] = 64,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of people and circumstances.")] = 0,
) -> None:
    """Draw people as they are, and once more with each attribute changed (±) and all else the same.

    Example: fclf portraits sheet --people 10 --output portraits.png
    """
    if output.suffix.lower() != ".png":
        raise InputError(f"--output {output}: the sheet is written as PNG; name it {output.with_suffix('.png')}.")
    use_threads(threads)
    from fclf.data.frequencies import ATTRIBUTES
    from fclf.data.portraits import draw, sitters
    from fclf.report.portraits import write

    drawn = sitters(people, per_person=1, seed=seed)
    rows = {"as they are": draw(drawn, size=size)}
    for k, name in enumerate(ATTRIBUTES):
        flipped = drawn.attributes.copy()
        flipped[:, k] = 1 - flipped[:, k]
        rows[f"± {name}"] = draw(drawn.showing(flipped), size=size)
    write(rows, output)
    typer.echo(f"Sheet: {output}")
