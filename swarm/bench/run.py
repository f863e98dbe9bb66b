"""The same work through several clients, round by round, each with its turn."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import swarm

from .clients import Client, Pair
from .payload import Payload
from .round import Failure, Progress, Round
from .transfer import Refused, Transfer
from .work import Work


def measure(
    work: Work,
    clients: Sequence[type[Client] | Pair],
    rounds: int,
    *,
    folder: Path,
    on_event: Callable[[Progress], object] = lambda progress: None,
) -> Generator[Round | Failure]:
    """Lets each client, with itself or as a pair, do `work`, then each once more, `rounds` times: A B A B.

    All data is in a new folder in `folder`, which should be on a real disk, and is gone at the end, as
    are all processes, however this ends. A client that fails yields its Failure and has no further
    round. `on_event` is called a few times a second, in this thread. `swarm.ConfigError` if nothing
    can be written there, or there is not enough room.
    """
    pairs = [Pair.of(client) for client in clients]
    failed: set[Pair] = set()
    scratch = _room(folder, work.size + 2 * work.total)
    try:
        with work.place() as place, place.hosts[0].listen() as listener:
            address, port = listener.getsockname()
            url = f"http://{address}:{port}/announce"
            on_event(Progress("", 0, "making", 0, work.total, 0.0))
            payload = Payload.make(work, scratch, url)
            for number in range(1, rounds + 1):
                for pair in pairs:
                    if pair in failed:
                        continue
                    transfer = Transfer(pair, work, payload, number, on_event)
                    try:
                        problem = pair.missing()
                        if problem:
                            raise Refused(problem)
                        made = Path(tempfile.mkdtemp(dir=scratch))
                        yield transfer.run(place.hosts, listener, made)
                    except Refused as error:
                        failed.add(pair)
                        yield Failure(pair.name, number, str(error), transfer.told)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _room(folder: Path, needed: int) -> Path:
    try:
        free = shutil.disk_usage(folder).free
        if free >= needed:
            return Path(tempfile.mkdtemp(prefix="swarm-bench-", dir=folder))
    except OSError as error:
        raise swarm.ConfigError(f"nothing can be made in {folder}: {error.strerror}") from error
    raise swarm.ConfigError(f"{folder} has {free:,} bytes free of the {needed:,} that it takes")
