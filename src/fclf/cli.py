"""The command line: thin commands that connect the library's parts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fclf import __version__
from fclf.errors import InputError, NonFiniteLossError

if TYPE_CHECKING:
    from rich.console import Console

    from fclf.data.embeddings import EmbeddingSet

__all__ = ["app", "main", "run"]

INTERRUPTED = 130

app = typer.Typer(
    name="fclf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn attribute-conditioned flows over embeddings, edit with them, and see whether they collapse.",
)


class Labels(StrEnum):
    """How the file writes attributes."""

    binary = "binary"
    signed = "signed"
    missing = "missing"


class EditMode(StrEnum):
    """Which edits are evaluated."""

    each = "each"
    single = "single"
    multi = "multi"
    smiling = "smiling"


class Shape(StrEnum):
    """Geometry of the planted embeddings."""

    centred = "centred"
    cone = "cone"


EmbeddingsOption = Annotated[Path, typer.Option("--embeddings", metavar="FILE", help="Embeddings, an .npz file.")]
CheckpointOption = Annotated[
    Path,
    typer.Option("--checkpoint", metavar="FILE|DIR", help="A checkpoint, or a run folder (its best one)."),
]
LabelsOption = Annotated[
    Labels, typer.Option(help="0/1; -1/1 for no/yes; or 0/1 with -1 or NaN for unknown.", show_choices=True)
]
# One thread: a second one made training 1.2 to 1.6 times as fast on an idle two-core machine (docs/log.md), and
# can make it ten times slower on a busy one.
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads for torch and BLAS.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Remove an earlier run from the folder first.")]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"fclf {__version__}")
        raise typer.Exit()


@app.command()
def train(
    embeddings: EmbeddingsOption,
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="The run folder.")],
    config: Annotated[str, typer.Option(metavar="NAME|PATH", help="A recipe or a YAML file.")] = "fclf_config",
    attributes: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Attributes to learn, instead of the recipe's.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    overwrite: OverwriteOption = False,
    labels: LabelsOption = Labels.binary,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: ThreadsOption = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's training.seed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a field and write a run folder.

    Example: fclf train --embeddings celeba.npz --output-dir results/fclf_training --set loss.lambda_identity=0.1
    """
    _use_threads(threads)
    from fclf.config import load_config, recipes
    from fclf.data.embeddings import EmbeddingSet
    from fclf.train import train as train_field

    if resume and overwrite:
        raise InputError("--resume and --overwrite contradict each other: continue the run, or remove it.")
    overrides = list(set_ or [])
    if seed is not None:
        overrides.append(f"training.seed={seed}")
    settings = load_config(config, overrides)
    data = EmbeddingSet.load(embeddings, labels=labels.value)
    chosen = settings.data.attributes
    if attributes is not None:
        chosen = tuple(name.strip() for name in attributes.split(","))
    elif config in recipes() and chosen is not None and not set(chosen) & set(data.attribute_names):
        _note(f"None of the recipe's attributes is in the file; learning all of its {len(data.attribute_names)}.")
        chosen = None
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"attributes": chosen})})
    _say_split(data, settings.data.split_seed)
    with _epochs("Training", settings.training.num_epochs) as on_epoch:
        checkpoint = train_field(
            data, settings, output_dir, resume=resume, overwrite=overwrite, device=device, on_epoch=on_epoch
        )
    last = checkpoint.history[-1]
    if as_json:
        _print_json({"output_dir": str(output_dir), "attributes": list(checkpoint.attribute_names), "last": last})
    else:
        typer.echo(
            f"Trained {int(last['epoch'])} epochs on {', '.join(checkpoint.attribute_names)}: loss {last['loss']:.4f}, "
            f"validation {last['val_loss']:.4f}.\nCheckpoints: {output_dir / 'checkpoints'}\n"
            f"Next: fclf evaluate --checkpoint {output_dir} --embeddings {embeddings} "
            f"--output-dir {output_dir / 'evaluation'}"
        )


@app.command()
def evaluate(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output_dir: Annotated[Path, typer.Option(metavar="OUT", help="Gets transfer_metrics.json and figures.")],
    split: Annotated[str, typer.Option(help="Rows to edit: train, val or test.")] = "test",
    mode: Annotated[EditMode, typer.Option(help="Every row x every attribute, or a sample.")] = EditMode.each,
    labels: LabelsOption = Labels.binary,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of judges and samples.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Judge a trained field beside its controls, on rows and by judges that training never saw.

    Example: fclf evaluate --checkpoint results/fclf_training --embeddings celeba.npz --output-dir results/eval
    """
    _use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.data.embeddings import EmbeddingSet
    from fclf.evaluation import evaluate as judge
    from fclf.report import figures
    from fclf.report.table import summary, terminal

    model = Checkpoint.load(checkpoint)
    data = EmbeddingSet.load(embeddings, labels=labels.value)
    _say_split(data, model.config.data.split_seed)
    report = judge(model, data, split=split, mode=mode.value, seed=seed)
    drawn = figures.draw(report, output_dir / "figures")
    report.save(output_dir)
    if as_json:
        _print_json(report.metrics.model_dump(mode="json"))
        return
    title = (
        f"{report.metrics.rows['edits']} edits of {report.metrics.rows['evaluated']} {split} rows, mode {mode.value}"
    )
    _console().print(terminal(title, [(row.name, row) for row in report.metrics.table]))
    for line in summary(report.metrics):
        typer.echo(line)
    typer.echo(f"Metrics: {output_dir / 'transfer_metrics.json'}")
    typer.echo(f"Figures: {', '.join(str(path) for path in drawn)}")


@app.command()
def edit(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output: Annotated[Path, typer.Option(metavar="OUT.npz", help="Where to write the edited embeddings.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=0|1", help="Attribute to set; repeatable.")
    ] = None,
    flip: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Attribute to turn over; repeatable.")] = None,
    split: Annotated[str | None, typer.Option(help="Edit the rows of this split only.")] = None,
    strength: Annotated[float, typer.Option(min=0, help="Scales the flow time; 0 changes nothing.")] = 1.0,
    labels: LabelsOption = Labels.binary,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Carry embeddings to where the target attributes live.

    Example: fclf edit --checkpoint results/fclf_training --embeddings celeba.npz --set Smiling=1 --output smiling.npz
    """
    _use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.data.embeddings import EmbeddingSet

    if output.suffix != ".npz":
        raise InputError(f"--output {output} ends in '{output.suffix}'; type a name that ends in .npz.")
    if output.exists() and output.samefile(embeddings):
        raise InputError(f"--output {output} is the input file; name another one.")
    assign = dict(_assignment(text) for text in set_ or [])
    model = Checkpoint.load(checkpoint)
    data = EmbeddingSet.load(embeddings, labels=labels.value)
    if split is not None:
        _say_split(data, model.config.data.split_seed)
        data = data.with_split(model.config.data.split_seed).part(split)
    edited = model.edit(data, assign, flip or [], strength=strength)
    edited.save(output)
    if as_json:
        _print_json({"output": str(output), "rows": len(edited)})
    else:
        typer.echo(f"Edited {len(edited)} rows: {output}")


@app.command()
def demo(
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="Gets the data, the runs and their figures.")] = Path(
        "results/demo"
    ),
    geometry: Annotated[Shape, typer.Option(help="Of the planted embeddings.")] = Shape.centred,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train and judge the specification's recipes on planted embeddings whose true edits are known.

    Example: fclf demo --output-dir results/demo --geometry cone
    """
    _use_threads(threads)
    from fclf.demo import RECIPES, run_demo
    from fclf.report.table import summary, terminal

    with ExitStack() as bars:
        result = run_demo(
            output_dir,
            geometry=geometry.value,
            seed=seed,
            overwrite=overwrite,
            on_start=lambda title, epochs: bars.enter_context(_epochs(title, epochs)),
        )
    reports = list(result.reports.items())
    rows = [(RECIPES[name], report.flow) for name, report in reports]
    rows += [(row.name, row) for row in reports[0][1].metrics.table[1:]]
    console = _console()
    console.print(terminal(f"Planted embeddings, {geometry.value}: every test row x every attribute", rows))
    for name, report in reports:
        for line in summary(report.metrics):
            typer.echo(f"{RECIPES[name]}: {line}")
    angles = ", ".join(f"{RECIPES.get(name, name)} {angle:.1f}" for name, angle in result.angles.items())
    typer.echo(f"Mean angle to the embedding the edit should have given, in degrees: {angles}.")
    typer.echo(f"Figures: {', '.join(str(path) for path in result.figures)}")


@contextmanager
def _epochs(title: str, epochs: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Progress bar over epochs on standard error, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(title, total=epochs)

        def on_epoch(record: Mapping[str, float]) -> None:
            progress.update(task, completed=record["epoch"], description=f"{title} loss {record['loss']:.4f}")

        yield on_epoch


def _assignment(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    if not equals or value.strip() not in ("0", "1"):
        raise InputError(f"--set {text}: type NAME=0 or NAME=1, for example --set Smiling=1.")
    return name.strip(), int(value)


def _say_split(data: EmbeddingSet, seed: int) -> None:
    if data.split is None:
        by = "identity" if data.identities is not None else "row (the file names no identities)"
        _note(f"The file has no split; rows are split 56/8/16/20 by {by} with seed {seed}.")


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, allow_nan=False))


def _console() -> Console:
    """Console for tables: as wide as the terminal, wide enough for the table elsewhere."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=150)


def _use_threads(count: int) -> None:
    """Set the threads of torch and BLAS; more than one can be far slower on a busy machine."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        app(args=arguments, prog_name="fclf")
    except SystemExit as stop:  # how typer ends, a usage error (2) and an interrupt (130) included
        if stop.code == INTERRUPTED:
            _note("Interrupted. A training run continues with --resume.")
        return stop.code if isinstance(stop.code, int) else 0
    except (InputError, OSError) as error:
        _note(f"Error: {error}")
        return 2
    except NonFiniteLossError as error:
        _note(f"Error: {error}")
        return 3
    return 0


def run() -> None:
    """Entry point of the `fclf` command."""
    sys.exit(main())
