"""`swarm bench compare`: the same work through every client that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from swarm.apps.output import note, record, result

from .asked import Measuring, asking
from .transfers import shape_of, shaping, transfer

if TYPE_CHECKING:
    from swarm.bench.clients import Client
    from swarm.bench.clients.pair import Pair


@click.command("compare", cls=Measuring)
@click.option(
    "--client",
    "names",
    multiple=True,
    metavar="NAME",
    help="Measure this one; as SEEDER:LEECHER, two with each other (repeatable)."
    "  [default: all that are installed]",
)
@click.option("--mixed", is_flag=True, help="Also swarm with each of the others, both ways.")
@click.option("--list", "listing", is_flag=True, help="Only show which clients there are.")
@shaping
@asking
def command(names: tuple[str, ...], mixed: bool, listing: bool, **options: Any) -> None:
    """Do the same work with every client that is installed, in turns.

    Seeders and leechers are of one kind in each round, but for those that are asked for as pairs. What
    each was told to do is in the foot of the table, and in full with -v or --json. A client that fails
    is reported, with the end of its log.
    """
    from swarm.bench.clients import Swarm, installed
    from swarm.bench.clients.pair import Pair

    asked, shape = shape_of(options)
    if listing:
        return show(as_json=asked.as_json is not None)
    pairs = [chosen(name) for name in dict.fromkeys(names)] or [
        Pair.of(each) for each in installed()
    ]
    if len(pairs) == 1 and not names:
        note("no other client is installed; --list says how to get them")
    if mixed:
        others = [pair.seeder for pair in pairs if not any(map(is_ours, pair.both))]
        pairs += [pair for each in others for pair in (Pair(Swarm, each), Pair(each, Swarm))]
    rivals = [pair.name for pair in pairs if not any(map(is_ours, pair.both))]
    return transfer(asked, "compare", shape, pairs, rivals)


def is_ours(client: type[Client]) -> bool:
    """Is it swarm, in whatever variant?"""
    from swarm.bench.clients import Swarm

    return issubclass(client, Swarm)


def chosen(name: str) -> Pair:
    """The clients of this name. Raises `UsageError` for one that is not known, or not here."""
    from swarm.bench.clients import every
    from swarm.bench.clients.pair import Pair

    known = every()
    both = name.split(":") if name.count(":") == 1 else [name, name]
    for each in both:
        if each not in known:
            raise click.UsageError(f"no client {each!r}; there are {', '.join(known)}")
        if problem := known[each].missing():
            raise click.UsageError(problem)
    return Pair(known[both[0]], known[both[1]])


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
