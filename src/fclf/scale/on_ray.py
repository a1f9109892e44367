"""Shards edited by the actors of a Ray cluster."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fclf.data.shards.folder import Shard
from fclf.data.shards.output import OutputError
from fclf.errors import InputError
from fclf.scale.manifest import Record
from fclf.scale.processes import TRIES
from fclf.scale.work import BulkEdit, ShardEditor, quarantined

__all__ = ["check_ray", "edit_on_ray"]


def check_ray() -> None:
    """Refuse where Ray is not installed."""
    if find_spec("ray") is None:
        raise InputError("--ray: Ray is not installed. Type: pip install 'fclf[ray]'")


def edit_on_ray(
    edit: BulkEdit, output: str, shards: Sequence[Shard], workers: int | None, address: str
) -> Generator[Record]:
    """Records of shards as they are done, by actors that have loaded the model once.

    Where the cluster has GPUs an actor has one, and computes on it; elsewhere it has a core. A shard whose actor dies
    is given to another one, and quarantined if that dies too.

    Args:
        edit: model and options.
        output: address of the folder, which all nodes of the cluster can write to.
        shards: what to edit, which all nodes can read.
        workers: actors; as many as the cluster has GPUs or cores if absent.
        address: of a cluster; `auto` for the one this machine is part of, `local` to start one here.

    Raises:
        OutputError: if something cannot be written.
        InputError: if there is no such cluster, or it ends.
    """
    check_ray()
    ray: Any = import_module("ray")  # an optional package, and three seconds
    data: Any = import_module("ray.data")
    _connect(ray, address, workers)
    try:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        most = min(workers or gpus or int(resources.get("CPU", 1)), len(shards))
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # one shard is never the end of the others
        starts = ray.remote(num_cpus=0)(_Starts).remote()
        todo = data.from_items([{"shard": json.dumps(asdict(one))} for one in shards], override_num_blocks=len(shards))
        done = todo.map_batches(
            _Actor,
            batch_size=1,
            compute=data.ActorPoolStrategy(size=most, max_tasks_in_flight_per_actor=1),
            fn_constructor_args=(edit, output, starts),
            num_cpus=None if gpus else 1,
            num_gpus=1 if gpus else None,
        )
        missing = {shard.name: shard for shard in shards}
        for row in done.iter_rows():
            if row["stop"]:
                raise OutputError(row["stop"])
            record = Record.from_json(row["record"])
            del missing[record.shard]
            yield record
        for shard in missing.values():
            yield quarantined(shard, "No actor could finish it; Ray's logs say why.")
    except ray.exceptions.RayError as error:
        raise InputError(f"--ray {address}: the run ended ({type(error).__name__}: {error}).") from error
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str, workers: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for handler in logging.getLogger("ray.data").handlers:
        if type(handler).__name__ == "PlainRayHandler":
            handler.setLevel(logging.CRITICAL)
    here: Mapping[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    for left in (1, 0) if address == "local" else (0,):  # Ray waits for 30 s, and a busy machine may take longer once
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
            return
        except Exception as error:  # of many kinds, plain ones too
            ray.shutdown()
            if not left:
                raise InputError(
                    f"--ray {address}: no Ray cluster answers ({error}). Start one with `ray start --head`, type --ray "
                    "local, or leave out --ray to edit with processes of this machine."
                ) from error


class _Starts:
    """Counts how often each shard was begun: Ray itself would give one to actor after actor that dies of it."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        self._count[name] += 1
        return self._count[name]


class _Actor:
    """A `ShardEditor` as `map_batches` calls it."""

    def __init__(self, edit: BulkEdit, output: str, starts: Any) -> None:
        torch: Any = import_module("torch")
        self._editor = ShardEditor(edit, output, "cuda" if torch.cuda.is_available() else "cpu")
        self._starts = starts
        self._get = import_module("ray").get

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        done: dict[str, list[str]] = {"record": [], "stop": []}
        for text in batch["shard"]:
            content = json.loads(str(text))
            shard = Shard(**{**content, "places": tuple(content["places"])})
            record, stop = "", ""
            try:
                if self._get(self._starts.begin.remote(shard.name)) > TRIES:
                    record = quarantined(shard, f"{TRIES} actors died of it in turn.").to_json()
                else:
                    record = self._editor(shard).to_json()
            except OutputError as error:
                stop = str(error)
            done["record"].append(record)
            done["stop"].append(stop)
        return done
