"""`swarm bench`: how fast it is, here, beside what else is installed. Each kind is a module here."""

from __future__ import annotations

from importlib import import_module

import click

KINDS = ("hash", "wire")


class Kinds(click.Group):
    """Finds a kind as the `command` of the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in KINDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        return command


@click.group("bench", cls=Kinds, subcommand_metavar="KIND [OPTIONS]")
def command() -> None:
    """Measure how fast swarm is here."""
