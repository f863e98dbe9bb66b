"""`swarm bench`: how fast it is, here, beside what else is installed. Each kind is a module here."""

from __future__ import annotations

from importlib import import_module

import click

KINDS = ("loopback", "compare", "net", "disk", "hash", "wire")


class Kinds(click.Group):
    """Finds a kind as the `command` of the module of its name. Without one it is the first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [KINDS[0], *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in KINDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        return command


@click.group("bench", cls=Kinds, subcommand_metavar="[KIND] [OPTIONS]")
def command() -> None:
    """Measure how fast swarm is here.

    Without a KIND: loopback, which needs nothing but swarm. Options come after the kind;
    `swarm bench KIND --help` shows them.
    """
