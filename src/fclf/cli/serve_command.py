"""`fclf serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import EmbeddingsOption, Labels, LabelsOption, ThreadsOption, note, use_threads
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings
from fclf.cli.pictures import DecoderOption, ImagesOption, decoder_of
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.checkpoint import Checkpoint
    from fclf.encoders import Encoder


def serve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder (its best checkpoint), or a checkpoint.")],
    embeddings: EmbeddingsOption,
    decoder: DecoderOption = None,
    images: ImagesOption = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", metavar="NAME", help="Embeds uploads, named as in `fclf embed`.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's need the token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(metavar="T", envvar="FCLF_TOKEN", help="Ask for this token; made where others can reach it."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Requests that are computed at once.")] = 2,
    waiting: Annotated[int, typer.Option(min=0, max=1024, help="Requests that may wait; more get 503.")] = 16,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
) -> None:
    """Open a page on a trained run: pick somebody, set attributes, and see what becomes of them.

    Ctrl-C stops it. Intended for research on one's own data: edits are hypotheses of a model, not facts about people.

    Example: fclf serve results/fclf_training --embeddings celeba.npz --images img_align_celeba
    """
    use_threads(threads)
    _check_installed()
    from fclf.checkpoint import Checkpoint
    from fclf.serve.about import read_verdict
    from fclf.serve.app import create_app
    from fclf.serve.guards import is_loopback
    from fclf.serve.pictures import Gallery
    from fclf.serve.running import address, listen, make_token
    from fclf.serve.running import serve as answer
    from fclf.serve.settings import Limits
    from fclf.serve.workbench import Workbench

    if not run.exists():
        raise InputError(f"RUN: there is no {run}; name a run folder of `fclf train`, or a checkpoint.")
    secret = make_token(host, token)
    model = Checkpoint.load(run)
    with listen(host, port) as listening:  # before anything that takes long
        data = load_embeddings(
            embeddings,
            labels,
            normalize=normalize,
            labels_from=labels_from,
            partition=partition,
            split_seed=model.config.data.split_seed,
        )
        limits = Limits(workers=workers, waiting=waiting)
        bench = Workbench(
            model,
            data,
            limits,
            decoder=decoder_of(decoder),
            gallery=None if images is None else Gallery(images, data.ids.tolist()),
            encoder=_encoder_of(encoder, model, threads),
        )
        verdict, why = read_verdict(_folder(run), model)
        if why is not None:
            note(why)
        app = create_app(bench, run=run.name, verdict=verdict, token=secret, loopback=is_loopback(host))
        where = address(host, listening.getsockname()[1], secret)
        answer(app, listening, limits, lambda: typer.echo(f"fclf serve: {where} (Ctrl-C stops it)"))
    note("Stopped.")


def _folder(run: Path) -> Path:
    """The run folder of what was named: the folder itself, or the one whose checkpoint it is."""
    if run.is_dir():
        return run
    return run.parent.parent if run.parent.name == "checkpoints" else run.parent


def _encoder_of(name: str | None, model: Checkpoint, threads: int) -> Encoder | None:
    """The encoder of a name; told where it is another one than the model's, refused where its width differs."""
    if name is None:
        return None
    from fclf.encoders import open_encoder

    found = open_encoder(name, threads=threads)
    if found.dim != model.dim:
        raise InputError(
            f"--encoder {name}: it gives embeddings of width {found.dim}, but the model's have width {model.dim}. Name "
            "the encoder that made the model's embeddings."
        )
    if model.encoder is not None and found.fingerprint != model.encoder:
        note(f"--encoder {name} is {found.fingerprint}, but the model was trained on {model.encoder}: expect nonsense.")
    return found


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise InputError(f"fclf serve needs {', '.join(missing)}, not installed: pip install 'fclf[serve]'")
