"""Several processes as one: each computes its rows of every batch, and all come to the gradient of the whole batch.

Everything random is drawn by all alike for the whole batch, so a run on N processes is the run on one, up to the order
of sums: nothing is estimated from groups of a process's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

__all__ = ["ALONE", "Ranks"]

PATIENCE = timedelta(hours=2)
"""For what the first process does by itself, such as fitting a closed form."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """Meet the processes that `torchrun` started; by oneself where it did not."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1 or "RANK" not in os.environ:
            return ALONE
        if not dist.is_initialized():
            store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
            # After a restart the launcher's store may still hold the addresses of processes that are gone.
            store = PrefixStore(f"fclf/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size())

    @staticmethod
    def restarted() -> bool:
        """Whether `torchrun` has started the processes again after one of them died."""
        return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def mine(self, x: Tensor) -> Tensor:
        """This process's rows of a batch: every `count`-th, so that the first rows are shared out too."""
        return x if self.count == 1 else x[self.rank :: self.count]

    def share(self, rows: int) -> float:
        """Of so many rows, how much this process has."""
        return len(range(self.rank, rows, self.count)) / rows

    def gather(self, x: Float[Tensor, "m d"], rows: int) -> Float[Tensor, "n d"]:
        """Rows of the whole batch in their order, of which this process's own have a gradient.

        The gradient of a loss of all rows is the sum of those that the processes get through their own.
        """
        if self.count == 1:
            return x
        most = -(-rows // self.count)
        padded = torch.cat([x.detach(), x.new_zeros((most - len(x), *x.shape[1:]))])
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded.contiguous())
        every = torch.stack(parts, dim=1).flatten(0, 1)[:rows]  # row i of process r is row i count + r
        own = torch.arange(self.rank, rows, self.count, device=x.device)
        return every.index_copy(0, own, x)

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Add up tensors over the processes, in place, as one message."""
        if self.count == 1:
            return
        parts = list(tensors)
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        for part, total in zip(parts, torch.split(flat, [part.numel() for part in parts]), strict=True):
            part.copy_(total.view_as(part))

    def from_first(self, value: Any) -> Any:
        """What the first process has."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


ALONE = Ranks()
"""One process."""
