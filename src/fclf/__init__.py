"""Attribute-conditioned flows over embeddings, with an evaluation that sees mode collapse.

The public names are imported when they are first used, so that `import fclf` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fclf.checkpoint import Checkpoint
    from fclf.config import Config, load_config
    from fclf.data.embeddings import EmbeddingSet
    from fclf.editor import Editor, fit, load
    from fclf.errors import InputError, NonFiniteLossError
    from fclf.evaluation import Report, evaluate
    from fclf.field import TargetField
    from fclf.flow import Flow, Trajectory

    __version__: str

_HOMES = {
    "Checkpoint": "fclf.checkpoint",
    "Config": "fclf.config",
    "Editor": "fclf.editor",
    "EmbeddingSet": "fclf.data.embeddings",
    "Flow": "fclf.flow",
    "InputError": "fclf.errors",
    "NonFiniteLossError": "fclf.errors",
    "Report": "fclf.evaluation",
    "TargetField": "fclf.field",
    "Trajectory": "fclf.flow",
    "evaluate": "fclf.evaluation",
    "fit": "fclf.editor",
    "load": "fclf.editor",
    "load_config": "fclf.config",
}

__all__ = [
    "Checkpoint",
    "Config",
    "Editor",
    "EmbeddingSet",
    "Flow",
    "InputError",
    "NonFiniteLossError",
    "Report",
    "TargetField",
    "Trajectory",
    "__version__",
    "evaluate",
    "fit",
    "load",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'fclf' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__


def _version() -> str:
    """What pyproject.toml said when this was installed; it is written down nowhere else."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  (a command that only helps needs it not)

    try:
        return version("fclf")
    except PackageNotFoundError:
        return "0+uninstalled"
