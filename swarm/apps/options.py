"""Kinds of option values, and the options that `download` and `seed` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import click

import swarm
from swarm import units

from . import output

F = TypeVar("F", bound=Callable[..., Any])
N = TypeVar("N", int, float)


class Address(NamedTuple):
    """Where to listen or connect: an IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen_address(text: str) -> Address:
    """Reads `IP:PORT`, IPv6 in brackets. Port 0 is any free one."""
    from ipaddress import ip_address

    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ip_address(host[1:-1] if bracketed else host)
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
        if bracketed != (ip.version == 6) or not 0 <= number <= 65_535:
            raise ValueError
    except ValueError:
        message = f"{text!r} is not IP:PORT, like 127.0.0.1:6881 or [::1]:6881"
        raise click.BadParameter(message) from None
    return Address(str(ip), number)


def peer_address(text: str) -> Address:
    """Reads `IP:PORT` of somebody else, whose port is not 0."""
    address = listen_address(text)
    if not address.port:
        raise click.BadParameter("a peer has no port 0")
    return address


def node_host(text: str) -> str:
    """Reads `HOST:PORT`, by name or address."""
    try:
        swarm.Settings(dht_bootstrap=(text,))
    except swarm.ConfigError as error:
        raise click.BadParameter(str(error)) from None
    return text


def quantity(read: Callable[[str], N]) -> Callable[[str], N]:
    """An option's type from one of the readers in `swarm.units`."""

    def convert(text: str) -> N:
        try:
            return read(text)
        except swarm.ConfigError as error:
            raise click.BadParameter(str(error)) from None

    return convert


ADDRESS = "IP:PORT"
DURATION = quantity(units.parse_duration)
RATIO = quantity(units.parse_ratio)


def rate_limit(text: str) -> int:
    """Reads a limit in bytes/s, which is above zero."""
    rate = quantity(units.parse_rate)(text)
    if not rate:
        raise click.BadParameter("nothing would move at 0; without this option there is no limit")
    return rate


quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, only the result and errors.")
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Records on stdout, one JSON object a line."
)
_SWARMING = (
    click.option(
        "--listen",
        type=listen_address,
        metavar=ADDRESS,
        help="Where peers reach us; port 0 is any free one.",
    ),
    click.option(
        "--peer",
        "peers",
        type=peer_address,
        metavar=ADDRESS,
        multiple=True,
        help="A peer to connect to (repeatable).",
    ),
    click.option(
        "--tracker", "trackers", multiple=True, metavar="URL", help="One more tracker (repeatable)."
    ),
    click.option("--ratio", type=RATIO, metavar="RATIO", help="Seed until this ratio, as 1.5."),
    click.option(
        "--seed-for", type=DURATION, metavar="TIME", help="Seed this long, as 90s or 1h30m."
    ),
    click.option(
        "--limit-down", type=rate_limit, metavar="RATE", help="Download this fast at most, as 5MiB."
    ),
    click.option(
        "--limit-up", type=rate_limit, metavar="RATE", help="Upload this fast at most, as 500k."
    ),
    click.option(
        "--no-dht",
        is_flag=True,
        envvar="SWARM_NO_DHT",
        help="Ask trackers and the peers given, not the DHT.",
    ),
    click.option(
        "--dht-bootstrap",
        type=node_host,
        metavar="HOST:PORT",
        multiple=True,
        help="A DHT node to begin with, instead of the public ones (repeatable).",
    ),
    click.option(
        "--no-lsd", is_flag=True, help="Accepted; has no effect yet (no local discovery)."
    ),
    click.option(
        "--state-dir",
        envvar="SWARM_STATE_DIR",
        type=click.Path(file_okay=False),
        help="Where progress is remembered, so that a re-run resumes.",
    ),
    quiet,
    as_json,
)


def which_files(text: str) -> int | range | str:
    """Reads the number of a file, a range of numbers as 2-5, or a glob."""
    first, dash, last = text.partition("-")
    if not all(
        part.isascii() and part.isdigit() and len(part) < 10 for part in (first, last or "0")
    ):
        return text
    if not dash:
        return int(first)
    if not last or int(last) < int(first):
        raise click.BadParameter(f"{text!r} is no range of files")
    return range(int(first), int(last) + 1)


FILES = "GLOB|N|N-M"
_CHOOSING = (
    click.option(
        "-s",
        "--select",
        type=which_files,
        metavar=FILES,
        multiple=True,
        help="Only these files, by glob, folder or number (repeatable).",
    ),
    click.option(
        "--skip", type=which_files, metavar=FILES, multiple=True, help="Not these (repeatable)."
    ),
    click.option(
        "--first",
        type=which_files,
        metavar=FILES,
        multiple=True,
        help="These before all others (repeatable).",
    ),
    click.option(
        "--sequential/--no-sequential",
        default=None,
        help="Pieces in order, the ends of files first; worse for the swarm.",
    ),
)


def choosing(function: F) -> F:
    """Adds the options that say which files are wanted: the fields of `Choosing`."""
    for option in reversed(_CHOOSING):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """Which files are wanted. What was not given is as it was in the last run."""

    select: tuple[int | range | str, ...]
    skip: tuple[int | range | str, ...]
    first: tuple[int | range | str, ...]
    sequential: bool | None

    def extra(self) -> dict[str, Any]:
        """What `Session.add` is to be told."""
        urgent = dict.fromkeys(self.first, swarm.Priority.HIGH)
        skipped = dict.fromkeys(self.skip, swarm.Priority.SKIP)
        return {
            "select": self.select or None,
            "priorities": urgent | skipped,
            "sequential": self.sequential,
        }


def swarming(function: F) -> F:
    """Adds the options of a command that takes part in a swarm: the fields of `Swarming`."""
    for option in reversed(_SWARMING):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarming:
    """What `download` and `seed` were told alike."""

    listen: Address | None
    peers: tuple[Address, ...]
    trackers: tuple[str, ...]
    ratio: float | None
    seed_for: float | None
    limit_down: int | None
    limit_up: int | None
    no_dht: bool
    dht_bootstrap: tuple[str, ...]
    no_lsd: bool
    state_dir: str | None
    quiet: bool
    as_json: bool

    def session(self, **turned: Any) -> swarm.Session:
        """The session they ask for; what was not given keeps the session's own default.

        `turned` are settings.
        """
        turned["dht"] = not self.no_dht
        if self.dht_bootstrap:
            turned["dht_bootstrap"] = self.dht_bootstrap
        turned |= {"download_limit": self.limit_down, "upload_limit": self.limit_up}
        given: dict[str, Any] = {"settings": swarm.Settings(**turned)}
        if self.listen is not None:
            given["listen"] = str(self.listen)
        if self.state_dir is not None:
            given["state_dir"] = self.state_dir
        return swarm.Session(**given)

    def extra(self) -> dict[str, Any]:
        """The peers and trackers to add to the torrent's own."""
        peers = [swarm.PeerAddr(*address) for address in self.peers]
        return {"peers": peers, "trackers": list(self.trackers)}

    def display(self) -> output.Display:
        return output.display(quiet=self.quiet, as_json=self.as_json)

    @property
    def chatty(self) -> bool:
        """May we tell people more than the result?"""
        return not self.quiet and not self.as_json
