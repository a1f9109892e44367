"""`fclf edit` of many shards: what it shows and says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fclf.cli.common import note, on_terminal, print_json
from fclf.cli.editing import note_inferred
from fclf.errors import InputError, QuarantineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fclf.scale.bulk import Edited, Progress
    from fclf.scale.work import BulkEdit

MOST_NAMED = 10
"""Quarantined shards; the manifest names all of them."""


def check_kind(embeddings: str, output: str, sharded: bool, of_no_use: Mapping[str, object]) -> None:
    """Refuse an output or options that do not go with one file, or with shards.

    Args:
        embeddings: what is edited.
        output: where it goes.
        sharded: whether `embeddings` are shards.
        of_no_use: options that do not go with them, by what is typed.
    """
    asked = next((name for name, value in of_no_use.items() if value), None)
    if not sharded:
        from fclf.data.formats import check_writable

        target = Path(output)
        check_writable(target)
        if target.exists() and Path(embeddings).exists() and target.samefile(embeddings):
            raise InputError(f"--output {output} is the input file; name another one.")
        if asked is not None:
            raise InputError(f"{asked} is for folders of shards, and {embeddings} is one file. Leave it out.")
        return
    if asked is not None:
        raise InputError(
            f"{asked} joins labels to the rows of one file, and {embeddings} is edited shard by shard. Write "
            "the labels into the shards' columns, or type --infer-labels."
        )
    if "://" not in output and (Path(output).is_file() or Path(output).suffix.lower() in (".npz", ".parquet", ".npy")):
        raise InputError(f"--output {output}: every shard is a file of its own; name a folder or an address.")


def bulk_edit(
    work: BulkEdit,
    embeddings: str,
    output: str,
    *,
    workers: int | None,
    ray: str | None,
    verify: bool,
    overwrite: bool,
) -> Edited:
    """Edit all shards, with a bar on a terminal."""
    from fclf.scale.bulk import edit_shards

    with _bar() as on_progress:
        return edit_shards(
            work,
            embeddings,
            output,
            workers=workers,
            ray=ray,
            verify=verify,
            overwrite=overwrite,
            on_progress=on_progress,
            say=note,
        )


def finish_bulk_edit(done: Edited, output: str, infer_labels: bool, as_json: bool) -> None:
    """Say what was done.

    Raises:
        QuarantineError: if shards have no output.
    """
    if infer_labels:
        note_inferred(done.inferred, done.rows)
    bad = done.quarantined
    if as_json:
        listed = [{"shard": record.files[0], "error": record.error} for record in bad]
        print_json({"output": output, "shards": len(done.records), "rows": done.rows, "quarantined": listed})
    else:
        before = f", {done.kept} of them by an earlier run" if done.kept else ""
        typer.echo(f"Edited {len(done.records) - len(bad)} shards with {done.rows:,} rows{before}: {output}")
    if bad:
        raise QuarantineError(_quarantine(done))


def _quarantine(done: Edited) -> str:
    bad = done.quarantined
    lines = [f"{len(bad)} of {len(done.records)} shards could not be edited and have no output:"]
    lines += [f"  {record.shard}: {record.error}" for record in bad[:MOST_NAMED]]
    if len(bad) > MOST_NAMED:
        lines.append(f"  and {len(bad) - MOST_NAMED} more, named in the manifest.")
    return "\n".join([*lines, "Mend them and type the same command again; the others stay as they are."])


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Shards and rows on standard error, on a terminal only."""
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("shards, {task.fields[rows]:,} rows{task.fields[bad]}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), disable=not on_terminal(), transient=True) as progress:
        task = progress.add_task("Editing", total=None, rows=0, bad="")

        def on_progress(now: Progress) -> None:
            bad = f", {now.quarantined} quarantined" if now.quarantined else ""
            progress.update(task, completed=now.shards, total=now.of, rows=now.rows, bad=bad)

        yield on_progress
