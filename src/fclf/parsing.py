"""YAML and JSON as plain values, from texts that nobody has looked at."""

from __future__ import annotations

import json
from typing import Any

import yaml

__all__ = ["parse_json", "parse_yaml"]

LONGEST = 1 << 20
"""Characters of a YAML text, which takes a second."""
DEEPEST = 32
"""Levels of YAML that stand in each other; a configuration has four."""


class _PlainLoader(yaml.SafeLoader):
    """Values without tags that call something, and without aliases, nine of which can stand for a billion values."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias came; write the value itself", mark)
        if self._depth == DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} levels stand in each other", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text; nothing in it is executed.

    Raises:
        ValueError: for any text that is not YAML, or asks for more than plain values.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters, and settings have {LONGEST:,} at most")
    try:
        return yaml.load(text, _PlainLoader)
    except Exception as error:  # besides YAMLError what int, float and datetime raise for values that are none
        raise ValueError(str(error)) from error


def parse_json(text: str | bytes) -> Any:
    """Plain values of a JSON text.

    Raises:
        ValueError: for any text that is not JSON; where values are nested too deeply `json` has another error.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("values are nested too deeply") from error
