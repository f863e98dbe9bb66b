"""What `loopback` and `compare` do alike: a payload on its way through clients, in a swarm of any shape."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from swarm import units
from swarm.apps.options import quantity
from swarm.apps.output import Step, note
from swarm.units import format_rate

from .asked import Asked, count, folder, size

if TYPE_CHECKING:
    from swarm.bench.clients.pair import Pair
    from swarm.bench.report import Report, Sample
    from swarm.bench.round import Failure, Progress
    from swarm.bench.work import Where, Work

F = TypeVar("F", bound=Callable[..., Any])
SHARE = {"making": 0.0, "warming": 0.02, "seeding": 0.1, "leeching": 0.12, "comparing": 0.95}
"""How much of a round is behind us when a phase begins, more or less."""

_SHAPING = (
    size("--size", default="1GiB", text="Of the payload."),
    size("--piece", default="1MiB", text="Length of a piece."),
    count("--files", most=1_000_000, text="Files of equal size that it is in."),
    count("--seeders", most=1000, text="Clients that have it."),
    count("--leechers", most=1000, text="Clients that fetch it."),
    click.option(
        "--mesh/--no-mesh", default=True, help="Do leechers hear of each other?  [default: mesh]"
    ),
    click.option(
        "--pooled",
        is_flag=True,
        help="All seeders in one process, and all leechers in one, for clients that can do that.",
    ),
    click.option(
        "--delay",
        type=click.FloatRange(0, 10_000),
        default=0,
        metavar="MS",
        help="Milliseconds that each packet takes, each way.",
    ),
    click.option(
        "--loss",
        type=click.FloatRange(0, 100, max_open=True),
        default=0,
        metavar="PCT",
        help="Packets that never arrive, in per cent.",
    ),
    click.option(
        "--rate",
        type=quantity(units.parse_rate),
        metavar="RATE",
        help="The most that leaves a host, as 125MB/s.",
    ),
    click.option(
        "--where",
        type=click.Choice(["namespaces", "loopback"]),
        help="Each client on a host of its own (needs root), or all on 127.0.0.1."
        "  [default: namespaces where they can be made]",
    ),
    folder,
)


def shaping(function: F) -> F:
    """Adds the options that are the fields of `Shape`."""
    for option in reversed(_SHAPING):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is to be transferred, and where: the options of a swarm."""

    size: int
    piece: int
    files: int
    seeders: int
    leechers: int
    mesh: bool
    pooled: bool
    delay: float
    loss: float
    rate: int | None
    where: Where | None
    folder: Path

    def work(self) -> Work:
        """The work. Says why it is on loopback, if nobody asked for that."""
        from swarm.bench import network, work

        place = self.where or work.where()
        if not self.where and place == "loopback":
            note(f"on loopback, since {network.missing()}")
        return work.Work(
            where=place,
            size=self.size,
            piece_length=self.piece,
            files=self.files,
            seeders=self.seeders,
            leechers=self.leechers,
            mesh=self.mesh,
            pooled=self.pooled,
            delay=self.delay / 1000,
            loss=self.loss / 100,
            rate=self.rate,
        )


def shape_of(options: dict[str, Any]) -> tuple[Asked, Shape]:
    """The options of a command, told apart."""
    mine = {name: options.pop(name) for name in Shape.__dataclass_fields__}
    return Asked(**options), Shape(**mine)


def transfer(
    asked: Asked, bench: str, shape: Shape, clients: Sequence[Pair], rivals: Sequence[str]
) -> None:
    """Measures it with these clients, and shows what was found."""
    from swarm.bench.report import Sample
    from swarm.bench.round import Round
    from swarm.bench.run import measure

    from .conduct import Steps, begin, conduct

    work = shape.work()
    versions = {pair.name: version_of(pair) for pair in clients}
    report = begin(asked, bench, facts(work), folder=shape.folder, versions=versions, rivals=rivals)
    total = asked.rounds * len(clients)

    def job(show: Steps) -> Generator[Sample | Failure]:
        done = 0
        rounds = measure(
            work,
            clients,
            asked.rounds,
            folder=shape.folder.absolute(),
            on_event=lambda progress: show(step(report, progress, done, total)),
        )
        with closing(rounds):
            for found in rounds:
                done += 1
                report.told[found.client] = {
                    "seeder": found.told.seeder,
                    "leecher": found.told.leecher,
                }
                yield Sample.of(found) if isinstance(found, Round) else found

    conduct(asked, report, job, total)


def version_of(pair: Pair) -> str:
    """Of both of its clients, once if they are one."""
    return " to ".join(dict.fromkeys(client.version() for client in pair.both))


def facts(work: Work) -> dict[str, int | float | str]:
    """The shape of the work, as a report keeps it; what is as usual is left out."""
    pair = work.pooled or work.seeders + work.leechers == 2
    joint = "TUN lines" if work.line else "a veth pair" if pair else "a bridge"
    found: dict[str, int | float | str] = {
        "size": work.size,
        "piece": work.piece_length,
        "files": work.files,
        "seeders": work.seeders,
        "leechers": work.leechers,
        "over": "loopback" if work.where == "loopback" else f"{joint} between network namespaces",
    }
    found |= {"delay": work.delay} if work.delay else {}
    found |= {"loss": work.loss} if work.loss else {}
    found |= {"rate limit": work.rate} if work.rate else {}
    found |= {"leechers know": "seeders only"} if not work.mesh else {}
    found |= {"processes": "one a side"} if work.pooled else {}
    return found


def step(report: Report, progress: Progress, done: int, total: int) -> Step:
    """Where a measurement is: `done` of `total` transfers, and this one."""
    share = SHARE[progress.phase]
    details: tuple[str, ...] = (progress.phase,)
    if progress.client:
        details = (f"{progress.client}, round {progress.number}", *details)
    if progress.phase == "leeching":
        arrived = min(progress.received / progress.size, 1.0)
        share += arrived * (SHARE["comparing"] - share)
        if progress.seconds > 0:
            details = (details[0], format_rate(progress.received / progress.seconds))
    return Step(
        name=f"bench {report.bench}",
        state="measuring",
        progress=min((done + share) / total, 1.0),
        details=details,
    )
