"""What every adapter has in common: one program on one host, headless, with one torrent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from swarm.bench.network import Host
from swarm.bench.process import Process, Usage

PORT = 6881
"""Where every client listens, each on a host of its own."""


class Client(ABC):
    """A client on `host`. Its data is in `folder/data`, or in `data` if that is given."""

    name: ClassVar[str]
    makes_empty_files: ClassVar[bool] = True

    def __init__(self, host: Host, folder: Path, *, data: Path | None = None) -> None:
        self.host = host
        self.folder = folder
        self.data = data or folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.process: Process | None = None

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What to install, in one sentence, if this client is not here."""

    @abstractmethod
    def command(self, role: str, torrent: Path) -> list[str]:
        """The command that seeds (`role` "seed", the data is complete) or fetches ("leech")."""

    def seed(self, torrent: Path) -> Self:
        """Starts to upload what `data` holds."""
        return self._start("seed", torrent)

    def leech(self, torrent: Path) -> Self:
        """Starts to download into `data`, and stays when it is done."""
        return self._start("leech", torrent)

    def _start(self, role: str, torrent: Path) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.host.command(*self.command(role, torrent))
        env = {"HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}
        self.process = Process(command, self.folder / "log", cwd=self.folder, env=env)
        return self

    @property
    def running(self) -> Process:
        """Its process, once started."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process

    def usage(self) -> Usage:
        """CPU and memory of all its processes until now."""
        return self.running.usage()

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
