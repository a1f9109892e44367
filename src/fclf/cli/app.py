"""The `fclf` command and its exit codes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

from fclf.cli.ablate_command import ablate
from fclf.cli.audit_command import audit
from fclf.cli.augment_command import augment
from fclf.cli.common import continuing, note
from fclf.cli.compare_command import compare
from fclf.cli.config_command import config_app
from fclf.cli.decoder_command import decoder_app
from fclf.cli.demo_command import demo
from fclf.cli.diagnose_command import diagnose
from fclf.cli.edit_command import edit
from fclf.cli.embed_command import embed
from fclf.cli.evaluate_command import evaluate
from fclf.cli.export_command import export
from fclf.cli.flipbook_command import flipbook
from fclf.cli.inspect_command import inspect
from fclf.cli.memory import first_line, ran_out_of_memory, what_to_lower
from fclf.cli.portraits_command import portraits_app
from fclf.cli.report_command import report
from fclf.cli.search_command import search
from fclf.cli.serve_command import serve
from fclf.cli.train_command import train
from fclf.errors import (
    FULL,
    EncoderWarning,
    InputError,
    NonFiniteLossError,
    QuarantineError,
    ResumeWarning,
    VerdictError,
)

__all__ = ["app", "main", "run"]

INTERRUPTED = 130
STOPPED = {number: 128 + number for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))}
"""Exit codes of a process that a scheduler or a closing terminal stops, as a shell reports them."""
SAID = (EncoderWarning, ResumeWarning)
"""Warnings of our own, which are shown as one line."""

app = typer.Typer(
    name="fclf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn attribute-conditioned flows over embeddings, edit with them, and see whether they collapse.",
)
EVERYDAY = (embed, train, evaluate, report, compare, diagnose, edit, export, flipbook, search, audit, augment)
for command in (*EVERYDAY, serve, demo, inspect, ablate):
    app.command()(command)
app.add_typer(config_app, name="config")
app.add_typer(portraits_app, name="portraits")
app.add_typer(decoder_app, name="decoder")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from fclf import __version__

        typer.echo(f"fclf {__version__}")
        raise typer.Exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    hook, threading.excepthook = threading.excepthook, _thread_error
    try:
        with warnings.catch_warnings():
            for category in SAID:
                warnings.simplefilter("once", category)
            warnings.showwarning = _show
            return _run(sys.argv[1:] if arguments is None else list(arguments))
    finally:
        threading.excepthook = hook


def _thread_error(args: threading.ExceptHookArgs) -> None:
    """TensorBoard writes in a thread; whoever waits for it gets the error of a full disk too, and says it once."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line; those that are not ours with where they come from."""
    where = "Warning" if category in SAID else f"{filename}:{lineno}: {category.__name__}"
    note(f"{where}: {message}")


def _run(arguments: list[str]) -> int:
    try:
        app(args=arguments, prog_name="fclf")
    except SystemExit as stop:  # how typer ends, a usage error (2) and an interrupt (130) included
        if stop.code in (INTERRUPTED, *STOPPED.values()):
            note(f"Interrupted. Nothing is half-written{continuing(arguments)}")
        return stop.code if isinstance(stop.code, int) else 0
    except (InputError, OSError) as error:
        note(f"Error: {error}")
        if isinstance(error, OSError) and error.errno in FULL:
            note(f"The disk is full. Free some of it, or name another; nothing is half-written{continuing(arguments)}")
        return 2
    except QuarantineError as error:
        note(f"Error: {error}")
        return 1
    except NonFiniteLossError as error:
        note(f"Error: {error}")
        return 3
    except VerdictError as error:
        note(f"Error: {error}")
        return 4
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        note(f"Error: memory ran out ({first_line(error)}). {what_to_lower(arguments)}")
        return 2
    return 0


def _stop(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one does not wait
    raise SystemExit(STOPPED[number])


def run() -> None:
    """Entry point of the `fclf` command."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:  # of several processes one may wait for another and never hear it
        for number in STOPPED:
            if signal.getsignal(number) == signal.SIG_DFL:  # not under nohup, which ignores one
                signal.signal(number, _stop)
    sys.exit(main())
