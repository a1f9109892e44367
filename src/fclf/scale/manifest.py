"""What a folder of edited shards says of itself, so that a run goes on where it was killed.

`_manifest/run.json` says which model and options its rows come from, and `_manifest/shards/NAME.json` what became of a
shard. A record is written after the shard's files, so a shard with a record of its input as it is now is finished.
"""

from __future__ import annotations

import errno
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import fsspec

from fclf.data.shards.folder import Shard
from fclf.data.shards.output import OutputFolder, Written, is_below
from fclf.data.shards.reading import readable
from fclf.errors import InputError
from fclf.files import digest
from fclf.parsing import parse_json

__all__ = ["Manifest", "Record", "State", "fingerprint"]

State = Literal["finished", "new", "changed", "damaged", "other"]
"""Of a shard: as its record says; without one, or quarantined; changed since; with an output that is; or of a name that
another file's edit has."""

PLACE = "_manifest"  # readers of folders of Parquet files leave out what begins with _
RUN = f"{PLACE}/run.json"
SHARDS = f"{PLACE}/shards"
FORMAT = 1
SAMPLE = 1 << 16
"""Bytes of both ends of an input that are compared: headers and footers, which say where everything is."""
STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "modified")
"""What file systems call the content or time by which a file can be told from a later one."""


@dataclass(frozen=True)
class Record:
    """What became of a shard."""

    shard: str
    files: tuple[str, ...]
    """Addresses of the input."""
    size: int = 0
    """Bytes of the input."""
    fingerprint: str = ""
    """Of the input (`fingerprint`)."""
    rows: int = 0
    """That were written."""
    inferred: int = 0
    """Of them, those whose labels a classifier filled in."""
    outputs: tuple[Written, ...] = ()
    """None where no row was chosen, or there is an error."""
    model: str = ""
    """Fingerprint of the model, and in `made_by` where it computed."""
    made_by: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str = ""
    """Why there is no output."""

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Read one again; `ValueError`, `TypeError` or `KeyError` for a text that is none."""
        content = parse_json(text)
        outputs = tuple(Written(**one) for one in content["outputs"])
        if not all(is_below(written.place) for written in outputs):  # they are read, and removed with --overwrite
            raise ValueError("an output lies outside the folder")
        files, warnings = tuple(content["files"]), tuple(content["warnings"])
        return cls(**{**content, "files": files, "outputs": outputs, "warnings": warnings})


def fingerprint(files: Sequence[str]) -> tuple[int, str]:
    """Bytes of an input, and what tells it from another or a later one without reading it all.

    That is size, time or ETag, and the first and last 64 KiB of every file.

    Raises:
        InputError: if one cannot be read.
    """
    total, parts = 0, []
    for address in files:
        fs, path = fsspec.core.url_to_fs(address)
        fs.invalidate_cache(path)
        with readable(address):
            info = fs.info(path)
            places = (0, min(SAMPLE, info["size"])), (max(0, info["size"] - SAMPLE), info["size"])
            ends = [fs.cat_file(path, start=start, end=end) if end else b"" for start, end in places]
        stamp = next((str(info[key]) for key in STAMPS if info.get(key)), "")
        parts += [f"{info['size']} {stamp} ".encode(), *ends]
        total += info["size"]
    return total, digest(*parts)


class Manifest:
    """Of one folder."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of a local folder; the system ends this with the process, however that ends."""
        if not self.folder.local:
            yield
            return
        import fcntl  # noqa: PLC0415  (not on every system)

        os.makedirs(self.folder.path, exist_ok=True)
        handle = os.open(self.folder.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise InputError(
                        f"--output {self.folder.path} is being written by another run of fclf edit. Wait for it, or "
                        "name another folder."
                    ) from error
            yield
        finally:
            os.close(handle)

    def begin(self, run: Mapping[str, Any], overwrite: bool) -> None:
        """Begin a run, or go on with the one that is there, if it is of the same model and options.

        Args:
            run: model, options and version.
            overwrite: remove what is of another run, instead of refusing.

        Raises:
            InputError: if it is of another run, or the folder of something else.
        """
        self.folder.clean()
        run = {"format": FORMAT, **run}
        found = self._run()
        if found is None:
            others = [place for place in self.folder.files() if not place.startswith(f"{PLACE}/")]
            if others:
                raise InputError(
                    f"--output {self.folder.path} holds {len(others)} files that are not of fclf edit (first: "
                    f"{others[0]}). Name an empty folder, or one that is not there yet."
                )
        elif found != run:
            if not overwrite:
                raise InputError(
                    f"--output {self.folder.path} holds edits of {_difference(found, run)}. Name another folder, or "
                    "type --overwrite to remove them first."
                )
        else:
            return
        for name in self.names():
            record = self.record(name)
            for written in () if record is None else record.outputs:
                self.folder.remove(written.place)
            self.folder.remove(_place(name))
        self.folder.write_json(RUN, run)

    def release(self) -> None:
        """Leave the folder to any run, where this one has ended before it wrote anything: no cluster answered, say."""
        if self.folder.files() == [RUN]:
            self.folder.remove(RUN)

    def _run(self) -> dict[str, Any] | None:
        text = self.folder.read(RUN)
        try:
            found = {} if text is None else parse_json(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise InputError(f"{self.folder.at(RUN)} is damaged. Name another folder, or remove this one.")
        return found if text is not None else None

    def names(self) -> list[str]:
        """Shards of which something is said."""
        places = (posixpath.basename(place) for place in self.folder.files(SHARDS))
        return [place.removesuffix(".json") for place in places if not place.startswith(".")]

    def record(self, name: str) -> Record | None:
        """What became of a shard; None for one of which nothing is said."""
        text = self.folder.read(_place(name))
        try:
            return None if text is None else Record.from_json(text)
        except (ValueError, TypeError, KeyError):  # damaged, or of another version: the shard is edited again
            return None

    def write(self, shard: Shard, record: Record) -> None:
        """Say what became of a shard, and remove files under its name that are not of it."""
        mine = {written.place for written in record.outputs}
        for place in shard.places:
            if place not in mine:
                self.folder.remove(place)
        self.folder.write_json(_place(shard.name), parse_json(record.to_json()))

    def state(self, shard: Shard, verify: bool) -> tuple[State, Record | None]:
        """Whether a shard is finished, and what became of it.

        Args:
            shard: one of the input.
            verify: read the outputs, and do not trust in their sizes.
        """
        record = self.record(shard.name)
        if record is None or record.error:
            return "new", record
        try:
            same = fingerprint(shard.files)[1] == record.fingerprint
        except InputError:
            same = False
        if not same:
            return "changed" if shard.files == record.files else "other", record
        for written in record.outputs:
            if self.folder.size(written.place) != written.size:
                return "damaged", record
            if verify and self.folder.sha256(written.place) != written.sha256:
                return "damaged", record
        return "finished", record


def _place(name: str) -> str:
    return f"{SHARDS}/{name}.json"


def _difference(found: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    if found.get("model") != run["model"]:
        return "another model (or --keep)"
    before, now = found.get("options", {}), run["options"]
    listed = [f"{key} {before.get(key)!r} -> {now[key]!r}" for key in now if before.get(key) != now[key]]
    if listed:
        return f"other options ({', '.join(listed)})"
    return f"another version of fclf ({found.get('fclf')} -> {run['fclf']})"
