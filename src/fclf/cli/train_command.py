"""`fclf train`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fclf.cli.common import (
    JsonOption,
    Labels,
    LabelsOption,
    OverwriteOption,
    ResumeOption,
    SourceOption,
    ThreadsOption,
    check_resume,
    note,
    print_json,
    progress_bar,
    speaks,
    use_threads,
)
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, choose_attributes, load_source
from fclf.errors import InputError

REACHED = 0.02
"""Of a silhouette: nearer than this to what was asked for."""


def train(
    embeddings: SourceOption,
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="The run folder.")],
    config: Annotated[str, typer.Option(metavar="NAME|PATH", help="A recipe or a YAML file.")] = "edit",
    attributes: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Attributes to learn, instead of the recipe's.")
    ] = None,
    exclusive: Annotated[
        list[str] | None,
        typer.Option("--exclusive", metavar="A,B,...", help="Attributes of which a row has one at most; repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    warm_start: Annotated[
        Path | None,
        typer.Option("--warm-start", metavar="RUN|CHECKPOINT", help="Begin from an earlier run, attributes by name."),
    ] = None,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: ThreadsOption = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's training.seed.")] = None,
    stop_on: Annotated[
        str | None, typer.Option("--stop-on", metavar="collapse", help="Exit with 4 once edits of val rows collapse.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a field and write a run folder.

    Example: fclf train --embeddings celeba.npz --attributes Smiling,Male --output-dir results/run --set model.keep=0.8
    """
    use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.config import ExclusiveConfig, load_config, recipes
    from fclf.evaluation.monitor import SpreadMonitor
    from fclf.train import train as train_field

    check_resume(resume, overwrite)
    if warm_start is not None and not warm_start.exists():
        raise InputError(f"--warm-start {warm_start} does not exist; name a run folder or a checkpoint.")
    if stop_on not in (None, "collapse"):
        raise InputError(f"--stop-on {stop_on}: training can be stopped on 'collapse' only.")
    overrides = list(set_ or [])
    if seed is not None:
        overrides.append(f"training.seed={seed}")
    settings = load_config(config, overrides)
    usual = settings.data.attributes

    def choose(there: Sequence[str]) -> tuple[str, ...] | None:
        fixed = attributes is None and config not in recipes()  # a file of the user's own means what it says
        return usual if fixed else choose_attributes(there, attributes, usual)

    data, chosen = load_source(
        embeddings,
        labels,
        choose=choose,
        normalize=normalize,
        labels_from=labels_from,
        partition=partition,
        split_seed=settings.data.split_seed,
    )
    update: dict[str, Any] = {"attributes": chosen}
    if exclusive:
        update["exclusive"] = tuple(ExclusiveConfig(attributes=tuple(group.split(","))) for group in exclusive)
    settings = settings.model_copy(update={"data": settings.data.model_copy(update=update)})
    earlier = None if warm_start is None else Checkpoint.load(warm_start)
    with progress_bar("Training", settings.training.num_epochs) as on_epoch:
        checkpoint = train_field(
            data,
            settings,
            output_dir,
            resume=resume,
            overwrite=overwrite,
            device=device,
            on_epoch=on_epoch,
            monitor=SpreadMonitor,
            stop_on=() if stop_on is None else (stop_on,),
            warm_start=earlier,
        )
    if earlier is not None:
        say_warm_start(checkpoint.warm_start)
    if not speaks():
        return
    last = checkpoint.history[-1] if checkpoint.history else None
    if as_json:
        result = {"attributes": list(checkpoint.attribute_names), "last": last, "choice": checkpoint.choice or None}
        print_json({"output_dir": str(output_dir), **result})
    else:
        following = ["fclf", "evaluate", "--checkpoint", str(output_dir), "--embeddings", embeddings]
        following += ["--labels", labels.value] if labels != Labels.binary else []
        following += ["--labels-from", str(labels_from)] if labels_from else []
        following += ["--partition", partition] if partition else []
        following += ["--normalize"] if normalize else []
        following += ["--output-dir", str(output_dir / "evaluation")]
        learned = ", ".join(checkpoint.attribute_names)
        if last is not None:
            loss = f"loss {last['loss']:.4f}, validation {last['val_loss']:.4f}"
            typer.echo(f"Trained {int(last['epoch'])} epochs on {learned}: {loss}.")
        else:
            start = getattr(checkpoint.config.model, "start", "")
            chosen = checkpoint.choice.get("reason", f"{start}, as configured.")
            typer.echo(f"Fitted edits of {learned}. Chosen: {chosen}")
        asked = settings.inference.silhouette_by_target
        if asked is not None and last is not None:
            found = last["val_silhouette_by_target"]
            typer.echo(
                f"The flow is followed for {last['strength']:.3f} of its time: there the silhouette by target of the "
                f"val rows is {found:.3f} ({asked:g} was asked for)."
            )
            if abs(found - asked) > REACHED:
                typer.echo("It is out of reach: raise loss.temperature, or lower loss.lambda_identity.")
        typer.echo(f"Checkpoints: {output_dir / 'checkpoints'}\nNext: {shlex.join(following)}")


def say_warm_start(record: Mapping[str, Any]) -> None:
    """Say what came from the earlier run."""
    parts = [
        f"{word} {', '.join(record[key])}"
        for word, key in (("new:", "attributes_new"), ("left out:", "attributes_left_out"))
        if record[key]
    ]
    others = f" ({'; '.join(parts)})" if parts else ""
    note(f"Warm start: {record['taken']}, for {', '.join(record['attributes'])}{others}.")
