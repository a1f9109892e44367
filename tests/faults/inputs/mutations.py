"""Ways in which a file goes wrong, or is made to: of its bytes, whatever they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numpy.random import Generator

__all__ = ["mutated", "mutated_text"]

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 2**64 - 1)
"""What overflows, or is a sign, in some width."""
SNIPPETS = (
    "\0", "\ufeff", "\u202e", "\ud7ff", "NaN", "-Infinity", "1e999", "9" * 5000, "[" * 3000, "{" * 3000, "{}", "[]",
    "null", "true",
    '"', "\\", "\n", "\r\n", "\t", ",", ";", ":", "- ", "&a ", "*a", "<<: ", "!!python/object:os.system ",
    "!!binary ", "!!timestamp 2020-99-99", "../../etc/passwd", "%s%n", "<script>", "０", "é" * 200, "-1", "1.5", "0x10",
)  # fmt: skip
"""What texts do not expect."""

Mutation = Callable[[bytearray, Generator], None]


def _place(content: bytearray, rng: Generator) -> int:
    """Headers and footers are where a file says what it is: half of all places lie within 512 bytes of an end."""
    n = len(content)
    if n > 1024 and rng.random() < 0.5:
        near = int(rng.integers(512))
        return near if rng.random() < 0.5 else n - 1 - near
    return int(rng.integers(max(1, n)))


def _cut(content: bytearray, rng: Generator) -> None:
    del content[_place(content, rng) :]


def _flip(content: bytearray, rng: Generator) -> None:
    for _ in range(int(rng.choice((1, 1, 1, 4, 32)))):
        if content:
            content[_place(content, rng)] ^= 1 << int(rng.integers(8))


def _number(content: bytearray, rng: Generator) -> None:
    width = int(rng.choice((1, 2, 4, 8)))
    value = NUMBERS[int(rng.integers(len(NUMBERS)))] & (2 ** (8 * width) - 1)
    at = _place(content, rng)
    content[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.7 else "big")


def _remove(content: bytearray, rng: Generator) -> None:
    at = _place(content, rng)
    del content[at : at + int(rng.integers(1, 64))]


def _insert(content: bytearray, rng: Generator) -> None:
    at = _place(content, rng)
    content[at:at] = rng.bytes(int(rng.integers(1, 64)))


def _repeat(content: bytearray, rng: Generator) -> None:
    at = _place(content, rng)
    content[at:at] = content[at : at + int(rng.integers(1, 256))] * int(rng.choice((1, 2, 50)))


def _blank(content: bytearray, rng: Generator) -> None:
    at, size = _place(content, rng), int(rng.integers(1, 256))
    content[at : at + size] = bytes([int(rng.choice((0, 255)))]) * len(content[at : at + size])


def _move(content: bytearray, rng: Generator) -> None:
    here, there, size = _place(content, rng), _place(content, rng), int(rng.integers(1, 256))
    content[there : there + size] = content[here : here + size]


def _snippet(content: bytearray, rng: Generator) -> None:
    at = _place(content, rng)
    content[at:at] = SNIPPETS[int(rng.integers(len(SNIPPETS)))].encode()


def _line(content: bytearray, rng: Generator) -> None:
    """A line twice, away, or in the place of another."""
    lines = content.split(b"\n")
    here, there = (int(rng.integers(len(lines))) for _ in range(2))
    how = rng.integers(3)
    if how == 0:
        lines.insert(there, lines[here])
    elif how == 1:
        del lines[here]
    else:
        lines[here], lines[there] = lines[there], lines[here]
    content[:] = b"\n".join(lines)


OF_BYTES: Sequence[Mutation] = (_cut, _flip, _number, _remove, _insert, _repeat, _blank, _move)
OF_TEXTS: Sequence[Mutation] = (_cut, _flip, _remove, _repeat, _move, _snippet, _snippet, _snippet, _line)


def _several(content: bytes, rng: Generator, ways: Sequence[Mutation]) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.choice((1, 1, 1, 2, 3, 8)))):
        ways[int(rng.integers(len(ways)))](changed, rng)
    return bytes(changed)


def mutated(content: bytes, rng: Generator) -> bytes:
    """A file of bytes in which one to eight things are wrong."""
    return _several(content, rng, OF_BYTES)


def mutated_text(content: str, rng: Generator) -> bytes:
    """A text in which one to eight things are wrong; it may not be UTF-8 any more."""
    return _several(content.encode(), rng, OF_TEXTS)
