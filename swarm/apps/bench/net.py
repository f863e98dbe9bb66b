"""`swarm bench net`: the network between two hosts, by transfers in both directions."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import swarm
from swarm.apps.exits import line_of
from swarm.apps.options import Address, listen_address
from swarm.apps.output import Step, note, result
from swarm.apps.run import die
from swarm.units import format_size

from .asked import Asked, Measuring, asking, count, folder, size

if TYPE_CHECKING:
    from swarm.bench.report import Sample
    from swarm.bench.round import Failure

PORT = 6880
"""Where the listening host is asked; what is sent goes through the next one."""
ANYWHERE = f"0.0.0.0:{PORT}"
_ADDRESS = re.compile(
    r"(?P<bare>[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*)"  # IPv6 without a port
    r"|(?:\[(?P<bracketed>[^][]+)\]|(?P<name>[^][:/\s]+))(?::(?P<port>[0-9]{1,5}))?"
)


def address(text: str) -> Address:
    """Reads `HOST`, `HOST:PORT` or `[IPv6]:PORT`; a name is as good as an address."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"] or PORT) if match else -1
    if not match or not 0 <= port < 65_535:
        raise click.BadParameter(f"{text!r} is not HOST or HOST:PORT")
    return Address(match["bare"] or match["bracketed"] or match["name"], port)


def listening(text: str) -> Address:
    """The same, of an IP address."""
    return listen_address(str(address(text)))


@click.command("net", cls=Measuring)
@click.argument("host", type=address, required=False)
@click.option(
    "--listen",
    type=listening,
    is_flag=False,
    flag_value=ANYWHERE,
    metavar="[IP[:PORT]]",
    help=f"Be the other host, until Ctrl-C.  [default: {ANYWHERE}; data comes through the next port]",
)
@click.option("--once", is_flag=True, help="With --listen: leave when somebody has measured.")
@size("--most", default="4GiB", text="With --listen: the largest payload that others may ask for.")
@click.option("--reverse", is_flag=True, help="Measure the other direction too, in turns.")
@size("--size", default="1GiB", text="Of the payload.")
@size("--piece", default="1MiB", text="Length of a piece.")
@count("--files", most=100_000, text="Files of equal size that it is in.")
@folder
@asking
def command(
    host: Address | None,
    listen: Address | None,
    once: bool,
    most: int,
    reverse: bool,
    size: int,
    piece: int,
    files: int,
    folder: Path,
    **options: Any,
) -> None:
    """Measure the network to HOST, on which `swarm bench net --listen` runs.

    Fetches a payload from there (`down`), and with --reverse has it fetch one from here (`up`). Both
    hosts make the same payload, so nothing has to be copied. All connections are made from here.

    Who can reach a listening host can make it write as much as --most says; it is not for the internet.
    """
    if (host is None) == (listen is None):
        raise click.UsageError("give a HOST to measure, or --listen to be measured, and not both")
    if listen:
        return serve(listen, folder.absolute(), most, once=once)
    assert host is not None
    return measure(Asked(**options), host, size, piece, files, folder.absolute(), both=reverse)


def serve(at: Address, folder: Path, most: int, *, once: bool) -> None:
    """Listens until a signal ends it, or until somebody has measured."""
    from swarm.bench.net import Listener

    from .conduct import signals

    listener = Listener(at.host, at.port, folder=folder, most=most, tell=note)
    with closing(listener), signals() as caught:
        try:
            result(str(Address(at.host, listener.port)))
            at_port = f":{listener.port}" if listener.port != PORT else ""
            note(f"on the other host: swarm bench net THIS-HOST{at_port}")
            while not (listener.serve() and once):
                pass
        except KeyboardInterrupt:
            note("stopped")
    if caught:
        die(caught[0])


def measure(
    asked: Asked, host: Address, size: int, piece: int, files: int, folder: Path, *, both: bool
) -> None:
    """Measures, and shows what was found."""
    from swarm.bench import net
    from swarm.bench.machine import Machine
    from swarm.bench.round import Failure, Told

    from .conduct import Steps, begin, conduct

    netting = net.Netting(host.host, host.port, size, piece, files, folder)
    names = ["down", "up"] if both else ["down"]
    work = {"size": size, "piece": piece, "files": files, "over": f"a network to {host.host}"}
    report = begin(asked, "net", work, folder=folder)
    total = asked.rounds * len(names)

    def job(show: Steps) -> Generator[Sample | Failure]:
        def on_event(direction: str, number: int, arrived: int) -> None:
            share = 0.95 * min(arrived / size, 1.0)  # what is left is for comparing it
            show(
                Step(
                    name="bench net",
                    state="measuring",
                    progress=(len(report.samples) + share) / total,
                    details=(
                        f"{direction}, round {number}" if number else direction,
                        format_size(arrived),
                    ),
                )
            )

        found = netting.measure(asked.rounds, both=both, on_event=on_event)
        with closing(found):
            try:
                for each in found:
                    if isinstance(each, Machine):
                        note(f"the other host: {each.lines()[0]}")
                        report.told["the other host"] = {"which is": "\n".join(each.lines())}
                    else:
                        yield each
            except (swarm.SwarmError, OSError) as error:
                if not report.samples:
                    raise
                number, at = divmod(len(report.samples), len(names))
                yield Failure(names[at], number + 1, line_of(error), Told())

    conduct(asked, report, job, total)
