"""`swarm bench compare`: the same work through every client that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from swarm.apps.output import note, record, result

from .asked import Measuring, asking
from .transfers import shape_of, shaping, transfer

if TYPE_CHECKING:
    from swarm.bench.clients import Client


@click.command("compare", cls=Measuring)
@click.option(
    "--client",
    "names",
    multiple=True,
    metavar="NAME",
    help="Measure this one (repeatable).  [default: all that are installed]",
)
@click.option("--list", "listing", is_flag=True, help="Only show which clients there are.")
@shaping
@asking
def command(names: tuple[str, ...], listing: bool, **options: Any) -> None:
    """Do the same work with every client that is installed, in turns.

    Seeders and leechers are of one kind in each round. What each was told to do is in the foot of the
    table, and in full with -v or --json. A client that fails is reported, with the end of its log.
    """
    from swarm.bench.clients import Swarm, installed

    asked, shape = shape_of(options)
    if listing:
        return show(as_json=asked.as_json is not None)
    clients = chosen(names) if names else installed()
    if len(clients) == 1 and not names:
        note("no other client is installed; --list says how to get them")
    rivals = [client.name for client in clients if not issubclass(client, Swarm)]
    return transfer(asked, "compare", shape, clients, rivals)


def chosen(names: tuple[str, ...]) -> list[type[Client]]:
    """The clients of these names, each once. Raises `UsageError` for one that is not known or not here."""
    from swarm.bench.clients import every

    known = every()
    for name in names:
        if name not in known:
            raise click.UsageError(f"no client {name!r}; there are {', '.join(known)}")
        if problem := known[name].missing():
            raise click.UsageError(problem)
    return [known[name] for name in dict.fromkeys(names)]


def show(*, as_json: bool) -> None:
    """Lists the clients: what is found, what is missing, and how to install it."""
    from swarm.bench.clients import every

    width = max(map(len, every()))
    for name, client in every().items():
        problem = client.missing()
        version = "" if problem else client.version()
        if as_json:
            facts = {"version": version or None, "missing": problem, "variant": client.variant}
            record("client", name=name, **facts)
        else:
            only = " (only by its name)" if client.variant else ""
            result(f"{name:{width}}  {problem or version}{only}")
