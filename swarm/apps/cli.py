"""The `swarm` program. Each subcommand is a module here, imported when it is asked for."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from .exits import Exit

COMMANDS = ("download", "seed", "create", "info", "verify", "tracker", "bench", "version")
ALIASES = {"get": "download"}


class Commands(click.Group):
    """Finds a subcommand as the `command` of the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{name}", __package__).command
        return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`swarm get` is short for `swarm download`. Run the same download again to resume it.",
)
@click.option("-v", "--verbose", is_flag=True, envvar="SWARM_DEBUG", help="Show tracebacks.")
def cli(verbose: bool) -> None:
    """Download, seed and make torrents."""


def start(args: Sequence[str]) -> int:
    """Runs one command line. Returns its exit code."""
    try:
        code = cli.main(list(args), prog_name="swarm", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return Exit.ERROR
    except ImportError as error:  # a part that was not built, or told to use what is not here
        click.echo(f"swarm: {error}", err=True)
        return Exit.ERROR
    return int(code or Exit.OK)


def main() -> NoReturn:
    """The entry point of the `swarm` program."""
    # Imports make a hundred thousand objects that stay; by default they would be searched for
    # garbage every 700. A transfer makes next to none.
    gc.set_threshold(50_000, 20, 50)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    code = start(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or Exit.PIPE
    # Not sys.exit(): the interpreter would wait for threads that look up a name, which can take
    # half a minute. All that had to be saved has been.
    os._exit(code)
