"""`fclf export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import CheckpointOption, JsonOption, ThreadsOption, print_json, use_threads
from fclf.cli.editing import KeepOption, StrengthOption
from fclf.errors import InputError


def export(
    checkpoint: CheckpointOption,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The model, .onnx.")],
    strength: StrengthOption = 1.0,
    keep: KeepOption = None,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Write the edit as an ONNX model: embeddings, their labels and their targets in, edited embeddings out.

    Example: fclf export --checkpoint results/fclf_training --output edit.onnx
    """
    use_threads(threads)
    if output.suffix != ".onnx":
        raise InputError(f"--output {output}: an ONNX model is written; name a file that ends with .onnx.")
    from fclf.checkpoint import Checkpoint
    from fclf.onnx_export import INPUTS, OUTPUT, export_onnx

    model = Checkpoint.load(checkpoint)
    if keep is not None:
        model = model.with_keep(keep)
    export_onnx(model, output, strength=strength)
    if as_json:
        names = list(model.attribute_names)
        print_json({"output": str(output), "inputs": list(INPUTS), "result": OUTPUT, "attributes": names})
    else:
        typer.echo(f"Exported edits of {', '.join(model.attribute_names)}: {output}")
