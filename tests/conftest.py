from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import scipy.linalg  # noqa: F401  (its BLAS is one of its own, and only what is loaded can be limited)
import torch
from hypothesis import Phase, settings
from threadpoolctl import threadpool_limits
from torch import Tensor

settings.register_profile("fclf", deadline=None, derandomize=True, max_examples=50)
settings.register_profile(  # for `make mutants`: that a test fails is enough, and the simplest example takes a minute
    "mutants", settings.get_profile("fclf"), phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("fclf")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)
    with threadpool_limits(1):  # BLAS too: two threads on a busy machine are several times slower than one
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the shared data; tests that need it are skipped where it is absent."""
    name = os.environ.get("FCLF_SHARED", "")
    if not name or not Path(name).is_dir():
        pytest.skip(f"FCLF_SHARED='{name}' is not a folder: export FCLF_SHARED=FOLDER to run the tests on real data")
    return Path(name)


@pytest.fixture(scope="session")
def random_unit() -> Callable[[int, int, int], Tensor]:
    """`random_unit(n, d, seed)`: n unit vectors in float64."""

    def draw(n: int, d: int, seed: int) -> Tensor:
        x = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        return x / x.norm(dim=1, keepdim=True)

    return draw
