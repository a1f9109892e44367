"""Pages of the navigation that do not exist are left out of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

log = logging.getLogger("mkdocs.hooks.navigation")


def on_config(config: Any, **_: Any) -> Any:
    """Keep the entries whose pages are there."""
    config.nav = _there(config.nav, Path(config.docs_dir))
    return config


def _there(entries: list[Any], folder: Path) -> list[Any]:
    kept: list[Any] = []
    for entry in entries:
        ((title, page),) = entry.items()
        if isinstance(page, list):
            kept.append({title: _there(page, folder)})
        elif (folder / page).is_file():
            kept.append(entry)
        else:
            log.info("no page %s yet", page)
    return kept
