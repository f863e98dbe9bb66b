"""What every adapter has in common: one program on one host, headless, with one torrent."""

from __future__ import annotations

import shlex
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

from swarm.bench.host import PORT, Host
from swarm.bench.network import Namespace
from swarm.bench.process import Process, Usage

__all__ = ["DRIVERS", "PORT", "Client", "first_line"]

DRIVERS = Path(__file__).parents[1] / "drivers"


class Client(ABC):
    """A client on `host`. Its data is in `folder/data`, or in `data` if that is given.

    It listens at `ports`. If there are several, it is as many clients in one process, and each of its
    leechers has a folder of its own, `folder/data/0` and up.
    """

    name: ClassVar[str]
    makes_empty_files: ClassVar[bool] = True
    done: ClassVar[Literal["announced", "exit"]] = "announced"
    """How a leecher says that it has everything: it tells the tracker and stays, or it exits."""
    pools: ClassVar[bool] = False
    """Whether one process can be several clients."""
    on_loopback: ClassVar[bool] = True
    """Whether it takes peers whose address is 127.0.0.1."""
    variant: ClassVar[bool] = False
    """Another way to run a client that is listed already: only where it is asked for by name."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        *,
        data: Path | None = None,
        ports: Sequence[int] = (PORT,),
    ) -> None:
        self.host = host
        self.folder = folder
        self.ports = ports
        self.data = data or folder / "data"
        self.folders = [self.data]
        if len(ports) > 1:
            self.folders = [data or self.data / str(n) for n in range(len(ports))]
        for each in (folder, *self.folders):
            each.mkdir(parents=True, exist_ok=True)
        self.process: Process | None = None
        self.told = ""
        """What it was started with, once it was: the command line, and every file that `write` made."""
        self._wrote: dict[str, str] = {}
        self._before = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.ports[0]

    @property
    def endpoints(self) -> list[tuple[str, int]]:
        """Where each client of this process can be reached."""
        return [(self.host.address, port) for port in self.ports]

    @property
    def places(self) -> list[tuple[int, Path]]:
        """The port and the folder of data of each client of this process."""
        return list(zip(self.ports, self.folders, strict=True))

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What to install, in one sentence, if this client is not here."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Which one is here."""

    @abstractmethod
    def command(self, role: str, torrent: Path) -> list[str]:
        """The command that seeds (`role` "seed", the data is complete) or fetches ("leech")."""

    def seed(self, torrent: Path) -> Self:
        """Starts to upload what `data` holds."""
        return self._start("seed", torrent)

    def leech(self, torrent: Path) -> Self:
        """Starts to download into `data`, and stays when it is done."""
        return self._start("leech", torrent)

    def write(self, name: str, text: str) -> Path:
        """A file of settings in its folder, which `told` will show."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._wrote[name] = text
        return path

    def spare_port(self) -> int:
        """A port that is free on its host, for what else it listens at."""
        with self.host.listen() as listener:
            return int(listener.getsockname()[1])

    def _start(self, role: str, torrent: Path) -> Self:
        command = self.command(role, torrent)
        names = {torrent: "TORRENT", self.data: "DATA", self.folder: "FOLDER", DRIVERS: "DRIVERS"}
        self.told = "\n".join(
            [shlex.join(command), *(f"{n}:\n{t}" for n, t in self._wrote.items())]
        )
        for path, name in names.items():
            self.told = self.told.replace(str(path), name)
        self.told = self.told.replace(sys.executable, "python")
        env = {"HOME": str(self.folder), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        env |= self.environment()
        if isinstance(self.host, Namespace):
            self._before = self.host.received()
        inside = self.host.command(*command)
        self.process = Process(inside, self.folder / "log", cwd=self.folder, env=env)
        return self

    def environment(self) -> dict[str, str]:
        """What it needs in its environment, beyond a home of its own."""
        return {}

    @property
    def running(self) -> Process:
        """Its process, once started."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process

    def usage(self) -> Usage:
        """CPU and memory of all its processes until now."""
        return self.running.usage()

    def received(self) -> int:
        """Bytes that have come to it, about: off the network of its own, or else what it has written."""
        if isinstance(self.host, Namespace):
            return self.host.received() - self._before
        return self.running.written()

    def stop(self) -> int:
        """Lets it leave in order, so that everything it holds is in its files."""
        return self.running.stop()

    def kill(self) -> None:
        """Ends it on the spot, if it was started at all."""
        if self.process:
            self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.kill()


def first_line(*command: str) -> str:
    """The first line that a command prints, such as its version; empty if it prints none."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return next(iter((ran.stdout or ran.stderr).splitlines()), "")
