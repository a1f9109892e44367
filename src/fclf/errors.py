"""The errors a user can meet; the command line turns each into an exit code."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Of an error that says that there is no room on the disk."""


def shortened(text: str, most: int = 120) -> str:
    """What came, as a message quotes it: its beginning, where it is long."""
    return text if len(text) <= most else f"{text[:most]} ..."


class InputError(ValueError):
    """Input that cannot be used: the message says what came, why it is wrong and what to type (exit code 2)."""


class QuarantineError(RuntimeError):
    """Work on many shards is finished, but some could not be read and have no output (exit code 1)."""


class EncoderWarning(UserWarning):
    """Embeddings come from another network than those that a model was trained on."""


class ResumeWarning(UserWarning):
    """A run goes on under other conditions than it was begun under, so its bits are not those of one that was not."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is not a finite number (exit code 3)."""


class VerdictError(RuntimeError):
    """Training was stopped, or a command fails, by a verdict that it was told to stop or fail on (exit code 4)."""
