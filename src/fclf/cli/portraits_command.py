"""`fclf portraits`: procedural portraits with known attributes and people."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import JsonOption, ThreadsOption, print_json, progress_bar, use_threads
from fclf.errors import InputError

__all__ = ["portraits_app"]

portraits_app = typer.Typer(no_args_is_help=True, help="Draw portraits of people who do not exist.")


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
    from fclf.report.flipbook import write_png
    from fclf.report.portraits import sheet as arranged

    drawn = sitters(people, per_person=1, seed=seed)
    rows = {"as they are": draw(drawn, size=size)}
    for k, name in enumerate(ATTRIBUTES):
        flipped = drawn.attributes.copy()
        flipped[:, k] = 1 - flipped[:, k]
        rows[f"± {name}"] = draw(drawn.showing(flipped), size=size)
    write_png(arranged(rows), output)
    typer.echo(f"Sheet: {output}")


@portraits_app.command("train")
def train(
    output: Annotated[Path, typer.Option(metavar="OUT.safetensors", help="Gets encoder and decoder.")],
    threads: ThreadsOption = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Of portraits, weights and batches; as packaged.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the portrait autoencoder that the package holds, and measure it on other people.

    Example: fclf portraits train --threads 2 --output portraits.safetensors
    """
    if output.suffix != ".safetensors":
        raise InputError(f"--output {output}: name a file {output.with_suffix('.safetensors')}.")
    use_threads(threads)
    from dataclasses import asdict, replace

    from fclf.autoencoder import AutoencoderSettings, save, train_autoencoder
    from fclf.autoencoder.figures import measure

    settings = AutoencoderSettings()
    if seed is not None:
        settings = replace(settings, seed=seed)
    steps = {"encoder": settings.encoder_steps, "decoder": settings.decoder_steps}
    with ExitStack() as bars:
        tell = {name: bars.enter_context(progress_bar(name, count)) for name, count in steps.items()}
        model = train_autoencoder(
            settings,
            lambda stage, step, losses: tell[stage]({"epoch": step, "loss": sum(losses.values())}),
        )
    figures = measure(model)
    save(model, output, {"settings": asdict(settings), "figures": figures.model_dump()})
    if as_json:
        print_json(figures.model_dump())
        return
    for name, value in figures.judges.items():
        typer.echo(f"{name}: linear judge (balanced accuracy) {value:.3f}, decoded {figures.judges_decoded[name]:.3f}")
    typer.echo(f"Same person first among other pictures: {figures.rank1:.3f}, decoded {figures.rank1_decoded:.3f}")
    typer.echo(f"Mean absolute error {figures.pixel_error:.4f}; of the mean picture {figures.mean_picture_error:.4f}")
    typer.echo(f"Autoencoder: {output}")
