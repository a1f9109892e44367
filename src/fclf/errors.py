"""The errors a user can meet; the command line turns each into an exit code."""


class InputError(ValueError):
    """Input that cannot be used: the message says what came, why it is wrong and what to type (exit code 2)."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is not a finite number (exit code 3)."""
