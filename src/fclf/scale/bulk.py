"""Edits of all shards of a folder, by processes or on Ray, which go on where they were killed."""

from __future__ import annotations

import os
import posixpath
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import get_args

import fsspec

from fclf.data.shards.folder import Shard, find_shards
from fclf.data.shards.output import OutputFolder
from fclf.errors import EncoderWarning, InputError
from fclf.scale.manifest import Manifest, Record, State
from fclf.scale.on_ray import check_ray, edit_on_ray
from fclf.scale.processes import edit_in_processes
from fclf.scale.work import BulkEdit, ShardEditor, reason

__all__ = ["Edited", "Progress", "edit_shards"]

TRIED = 16
"""Shards, from all over the folder, of which one at least must be fit to be edited: else it is not the shards."""
READERS = 16
"""Threads that compare finished shards with their records; they mostly wait."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    shards: int
    """That are done, those of earlier runs too."""
    of: int
    rows: int
    """That this run has done."""
    quarantined: int


@dataclass(frozen=True)
class Edited:
    """What is in the output folder of the shards that were named."""

    records: tuple[Record, ...]
    """Of every shard, in their order."""
    kept: int
    """Shards that an earlier run had finished."""

    @property
    def rows(self) -> int:
        """That were written."""
        return sum(record.rows for record in self.records)

    @property
    def inferred(self) -> int:
        """Rows whose labels a classifier filled in."""
        return sum(record.inferred for record in self.records)

    @property
    def quarantined(self) -> tuple[Record, ...]:
        """Of shards without an output."""
        return tuple(record for record in self.records if record.error)


def edit_shards(
    edit: BulkEdit,
    embeddings: str,
    output: str,
    *,
    workers: int | None = None,
    ray: str | None = None,
    verify: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Edited:
    """Edit every shard of a folder into another folder, in the same layout and under the same names.

    A shard is finished when its files are whole and the manifest says so; it is then left alone by later runs, unless
    its input or its output has changed. A shard that cannot be read is quarantined: it has no output, the manifest says
    why, and every run tries it again.

    Args:
        edit: the model and what is asked of it.
        embeddings: folder, pattern or address of the shards (`fclf.data.shards.folder.find_shards`).
        output: folder or address, of this edit alone.
        workers: processes, or actors on Ray; as many as there are cores (on Ray, GPUs) if absent.
        ray: address of a Ray cluster, `auto` or `local`; processes of this machine if absent.
        verify: read finished outputs again and compare them with their checksums, instead of their sizes only.
        overwrite: remove edits of another model or with other options, instead of refusing.
        on_progress: told now and then.
        say: told what is noticed.

    Raises:
        InputError: if nothing can be edited, or the output folder is one of something else.
        OutputError: if something cannot be written.
    """
    if ray is not None:
        check_ray()
    say = say or (lambda text: None)
    _check_reached(embeddings, output)
    folder, shards = OutputFolder(output), find_shards(embeddings, lenient=True)
    _check_apart(shards, embeddings, folder)
    _try(ShardEditor(edit, folder.address), shards)
    manifest = Manifest(folder)
    with manifest.alone():
        manifest.begin(edit.run, overwrite)
        records = _finished(manifest, shards, verify, overwrite, say)
        todo, kept = [shard for shard in shards if shard.name not in records], len(records)
        by_name, warned, rows = {shard.name: shard for shard in todo}, set[str](), 0

        def tell(more: int = 0) -> None:
            nonlocal rows
            rows += more
            if on_progress is not None:
                bad = sum(1 for record in records.values() if record.error)
                on_progress(Progress(len(records), len(shards), rows, bad))

        tell()
        try:
            for record in _done(edit, folder.address, todo, workers, ray, tell):
                for text in set(record.warnings) - warned:
                    warnings.warn(text, EncoderWarning, stacklevel=2)
                warned |= set(record.warnings)
                records[record.shard] = record
                if record.error:
                    manifest.write(by_name[record.shard], record)
                tell(record.rows if ray is not None else 0)
        finally:
            if todo:
                folder.clean()
            if not records:
                manifest.release()
    return Edited(tuple(records[shard.name] for shard in shards), kept)


def _done(
    edit: BulkEdit,
    output: str,
    todo: Sequence[Shard],
    workers: int | None,
    ray: str | None,
    tell: Callable[[int], None],
) -> Generator[Record]:
    if not todo:
        return
    if ray is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = workers or cores
        found = edit_in_processes(edit, output, todo, count, tell)
    else:
        found = edit_on_ray(edit, output, todo, workers, ray)
    with closing(found):  # an interrupt ends the workers at once and not when the iterator is forgotten
        yield from found


def _check_reached(embeddings: str, output: str) -> None:
    """Refuse addresses that the processes or actors who do the work have each for themselves, even if there is one."""
    for option, address in (("--embeddings", embeddings), ("--output", output)):
        if address.startswith("memory://"):
            raise InputError(
                f"{option} {address} is in the memory of this process alone: shards are edited by other processes, "
                "which would read and write memories of their own, gone when they end. Name a folder or an address "
                f"that all of them reach: {option} /tmp/shards"
            )


def _check_apart(shards: Sequence[Shard], embeddings: str, folder: OutputFolder) -> None:
    """Refuse an output that would be read as input, or be written over it."""

    def resolved(address: str) -> str:
        return os.path.realpath(address.removeprefix("file://")) if address.startswith("file://") else address

    def is_in(inner: str, outer: str) -> bool:
        return inner == outer or inner.startswith(f"{outer.rstrip('/')}/")

    output = resolved(folder.address)
    root = resolved(shards[0].address.removesuffix(shards[0].places[0]).rstrip("/"))
    folders = {resolved(posixpath.dirname(file)) for shard in shards for file in shard.files}
    fs, path = fsspec.core.url_to_fs(embeddings)
    alone = shards[0].address == fs.unstrip_protocol(path)  # a file was named: nothing else is read as rows
    every = "**" in embeddings or shards[0].kind == "npy" or not (alone or "*" in embeddings)  # all below is listed
    if output in folders or is_in(root, output) or (every and is_in(output, root)):
        raise InputError(
            f"--output {folder.path} and the shards' folder {root} lie in each other; edits would be taken for shards, "
            "or written over them. Name a folder elsewhere."
        )


def _try(editor: ShardEditor, shards: Sequence[Shard]) -> None:
    """Refuse what no shard can be edited with, before anything is written."""
    sample = shards[:: -(-len(shards) // TRIED)]
    errors = []
    for shard in sample:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", EncoderWarning)  # each shard says so when it is edited
                return editor.try_rows(shard)
        except Exception as error:  # as of any shard
            errors.append(reason(error))
    others = f" (the same or something else is said of {len(errors) - 1} others)" if len(errors) > 1 else ""
    raise InputError(f"{errors[0]}{others}")


def _finished(
    manifest: Manifest, shards: Sequence[Shard], verify: bool, overwrite: bool, say: Callable[[str], None]
) -> dict[str, Record]:
    """Records of shards that need not be edited; what is odd about the others is said."""
    with ThreadPoolExecutor(READERS) as readers:
        states = list(readers.map(lambda shard: manifest.state(shard, verify), shards))
    of_state: dict[State, list[Shard]] = {state: [] for state in get_args(State)}
    for shard, (state, _) in zip(shards, states, strict=True):
        of_state[state].append(shard)
    others = of_state["other"]
    if others and not overwrite:
        raise InputError(
            f"--output {manifest.folder.path} holds an edit of another file under the name of {others[0].address}. "
            "Name another folder, or type --overwrite to put this one in its place."
        )
    said: dict[State, str] = {
        "changed": "The input of {} has changed",
        "damaged": "The output of {} is gone or damaged",
    }
    for state, what in said.items():
        if of_state[state]:
            say(f"{what.format(_shards(of_state[state]))} since an earlier run; edited anew.")
    strangers = sorted(set(manifest.names()) - {shard.name for shard in shards})
    if strangers:
        say(
            f"{manifest.folder.path} holds {len(strangers)} more shards of earlier runs (first: {strangers[0]}); they "
            "stay."
        )
    return {record.shard: record for state, record in states if state == "finished" and record is not None}


def _shards(shards: Sequence[Shard]) -> str:
    return shards[0].name if len(shards) == 1 else f"{len(shards)} shards (first: {shards[0].name})"
