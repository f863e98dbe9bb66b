"""What every subcommand does alike: errors become one line and an exit code."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import click

import swarm

from .exits import Exit, Quit, code_of, line_of
from .output import note, record


class Command(click.Command):
    """A subcommand: `-v`, and a boundary where expected errors end.

    A `SwarmError`, an `OSError` or a `Quit` is shown as one line; with `--json` also as a record.
    Anything else is a bug of ours, and keeps its traceback.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        flag = click.Option(["-v", "--verbose"], is_flag=True, help="Show tracebacks.")
        self.params.append(flag)

    def invoke(self, ctx: click.Context) -> Any:
        verbose = ctx.params.pop("verbose") or ctx.find_root().params.get("verbose", False)
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has seen enough
            return Exit.PIPE
        except (swarm.SwarmError, Quit, OSError) as error:
            return fail(error, as_json=ctx.params.get("as_json", False), verbose=verbose)
        return Exit.OK


def fail(error: BaseException, *, as_json: bool, verbose: bool) -> Exit:
    """Reports an error that was expected to happen some day. Returns the exit code."""
    code = code_of(error)
    if verbose:
        traceback.print_exception(error, file=sys.stderr)
    note(line_of(error))
    if as_json:
        record("error", code=int(code), error=type(error).__name__, message=line_of(error))
    return code
