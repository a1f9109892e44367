"""`fclf decoder`: train a network that draws embeddings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import (
    EmbeddingsOption,
    JsonOption,
    OverwriteOption,
    ResumeOption,
    ThreadsOption,
    check_resume,
    console,
    note,
    print_json,
    progress_bar,
    say_split,
    use_threads,
)
from fclf.cli.loading import NormalizeOption
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.data.embeddings import EmbeddingSet
    from fclf.decoder.held_out import HeldOut
    from fclf.decoder.training import Pairs

__all__ = ["decoder_app"]

decoder_app = typer.Typer(no_args_is_help=True, help="Draw embeddings: train a decoder from embeddings to images.")


@decoder_app.callback()
def _commands() -> None:
    """Keep `train` a command of its own, though it is the only one."""


@decoder_app.command("train")
def train(
    embeddings: EmbeddingsOption,
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="A folder of images named as the rows' ids, or one of CelebA.")
    ],
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="The run folder.")],
    size: Annotated[int, typer.Option(metavar="64|128", help="Side of the images in pixels.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the train rows.")] = 10,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights, the batches and the split.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a decoder from embeddings to images, and compare it on test rows with the mean and the nearest image.

    Example: fclf decoder train --embeddings celeba.npz --images img_align_celeba --output-dir results/decoder
    """
    use_threads(threads)
    import numpy as np
    import torch

    from fclf import __version__
    from fclf.data.embeddings import EmbeddingSet
    from fclf.decoder.held_out import HeldOut, sample_sheet
    from fclf.decoder.training import TrainingSettings, check_folder, train_decoder
    from fclf.files import digest, write_json
    from fclf.report.flipbook import write_png

    check_resume(resume, overwrite)
    settings = TrainingSettings(size=size, epochs=epochs, seed=seed)
    check_folder(output_dir, resume=resume, overwrite=overwrite)
    data = EmbeddingSet.load(embeddings, normalize=normalize)
    say_split(data, seed)
    parts, skipped = _pairs(data.with_split(seed), images, size)
    fingerprint = digest(data.fingerprint().encode(), *(part.images.data for part in parts.values()))
    with progress_bar("Training", epochs) as on_epoch:
        decoder, history = train_decoder(
            parts["train"],
            parts["val"],
            settings,
            output_dir,
            fingerprint=fingerprint,
            resume=resume,
            overwrite=overwrite,
            on_epoch=on_epoch,
        )
    held_out = HeldOut.measure(decoder, parts["train"], parts["test"])
    report = {
        "held_out": held_out.summary(),
        "rows": {name: len(part) for name, part in parts.items()},
        "rows_without_image": skipped,
        "settings": asdict(settings),
        "chosen_epoch": int(min(history, key=lambda record: record["val_loss"])["epoch"]),
        "history": history,
        "data_fingerprint": fingerprint,
        "versions": {"fclf": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "threads": threads,
    }
    write_png(sample_sheet(decoder, parts["train"], parts["test"]), output_dir / "samples.png")
    write_json(output_dir / "decoder.json", report)
    if as_json:
        print_json({"output_dir": str(output_dir), **report})
    else:
        _print(held_out, output_dir)


def _pairs(data: EmbeddingSet, folder: Path, size: int) -> tuple[dict[str, Pairs], int]:
    """Train, val and test rows that have an image, and how many rows of these have none."""
    from fclf.data.images import load_images
    from fclf.decoder.training import Pairs

    if not data.has_ids:
        raise InputError("The embeddings have no ids, so their images cannot be found. Add `ids`, the images' names.")
    parts, listed, skipped = {}, 0, 0
    for name in ("train", "val", "test"):
        rows = data.part(name)
        pictures, found = load_images(folder, rows.ids, size)
        parts[name] = Pairs(rows.embeddings[found], pictures[found])
        listed, skipped = listed + len(rows), skipped + int((~found).sum())
    if skipped == listed:
        raise InputError(
            f"--images {folder}: there is no image for any of {listed:,} rows; looked for a file named as the id "
            f"'{data.ids[0]}', with any image extension, in that folder and its img_align_celeba. Name the folder "
            "that holds the images."
        )
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        raise InputError(
            f"--images {folder}: no row of {', '.join(empty)} has an image; train, val and test need some."
        )
    if skipped:
        note(f"{skipped:,} of {listed:,} rows have no image in {folder} and are skipped.")
    return parts, skipped


def _print(held_out: HeldOut, output_dir: Path) -> None:
    from rich.table import Table

    table = Table(title=f"{held_out.rows:,} test rows")
    for column in ("image", "mean absolute error", "PSNR / dB", "gradient error", "sharpness"):
        table.add_column(column, justify="left" if column == "image" else "right")
    for name, error in (
        ("decoded", held_out.decoded),
        ("decoded from another row", held_out.others),
        ("mean image", held_out.mean_image),
        ("nearest train row", held_out.nearest),
    ):
        values = (error.mae, error.psnr, error.gradient_error, error.sharpness)
        table.add_row(name, *(f"{value:.{digits}f}" for value, digits in zip(values, (4, 2, 4, 3), strict=True)))
    console().print(table)
    if not held_out.beats_mean:
        typer.echo("The decoder does NOT beat the mean image: it has not learned to read these embeddings.")
        typer.echo("Check that ids and images belong together, or train for more --epochs.")
    typer.echo(f"Decoder: {output_dir / 'decoder.safetensors'}\nLook at: {output_dir / 'samples.png'}")
