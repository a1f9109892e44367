"""What the processes of a training step tell each other, counted in the code that trains.

    python -m benchmarks.scale.messages

The step of one process of many is run with collectives that count in place of real ones, so nothing is estimated but
the ring algorithms' factors: all-gather sends (N-1)/N of the gathered bytes, all-reduce twice (N-1)/N of the reduced.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from fclf import ranks
from fclf.config import load_config
from fclf.data.targets import flip_attributes
from fclf.field import SharedPass, TargetField
from fclf.flow import step
from fclf.losses.objective import Objective, Rollout
from fclf.ranks import Ranks

__all__ = ["count"]


def count(processes: int, batch: int, dim: int, attributes: int) -> Counter[str]:
    """Bytes that one process sends in a step, by message."""
    sent: Counter[str] = Counter()
    ring = (processes - 1) / processes

    def all_gather(parts: list[Tensor], own: Tensor) -> None:
        sent["destinations (all-gather)"] += round(ring * own.nbytes * processes)
        for part in parts:
            part.copy_(own)

    def all_reduce(flat: Tensor) -> None:
        kind = "gradients" if flat.numel() > 100 else "losses for the log"
        sent[f"{kind} (all-reduce)"] += round(2 * ring * flat.nbytes)

    together = Ranks(0, processes)
    config = load_config("fclf_config")
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(len(range(0, batch, processes)), dim, generator=generator), dim=1)
    y = torch.randint(0, 2, (batch, attributes), generator=generator).float()
    field = TargetField(dim, attributes, hidden_dim=config.model.hidden_dim)  # type: ignore[union-attr]
    shared = SharedPass(field)

    def carry(x: Tensor, wanted: Tensor) -> Tensor:
        return step(shared, x, wanted, config.training.alpha)

    counting: Any = SimpleNamespace(all_gather=all_gather, all_reduce=all_reduce)
    with mock.patch.object(ranks, "dist", counting):
        rollout = Rollout(z, flip_attributes(y, generator), shared, carry, generator, ranks=together)
        losses = Objective(config.loss)(rollout)
        losses.values()
        losses.total.backward()  # type: ignore[no-untyped-call]
        together.sum_(p.grad for p in field.parameters() if p.grad is not None)
    return sent


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--attributes", type=int, default=5)
    asked = parser.parse_args()
    for processes in (2, 8, 64, 512):
        sent = count(processes, asked.batch, asked.dim, asked.attributes)
        parts = ", ".join(f"{name} {size / 2**20:.2f}" for name, size in sorted(sent.items()))
        sys.stdout.write(f"{processes} processes: {sum(sent.values()) / 2**20:.2f} MiB a step and process ({parts})\n")


if __name__ == "__main__":
    main()
