"""How many threads torch and BLAS use."""

from __future__ import annotations

import os

__all__ = ["use_threads"]


def use_threads(count: int) -> None:
    """Set the threads of torch and BLAS; more than one can be far slower on a busy machine."""
    for library in ("OPENBLAS", "MKL", "OMP"):  # of libraries that are loaded later, as scipy's own BLAS is
        os.environ[f"{library}_NUM_THREADS"] = str(count)
    import torch  # noqa: PLC0415  (commands that only print help need none of it)
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    torch.set_num_threads(count)
    threadpool_limits(count)
