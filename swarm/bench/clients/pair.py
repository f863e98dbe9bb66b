"""One client at one end and another at the other, measured like one client with itself."""

from __future__ import annotations

from dataclasses import dataclass

from .client import Client


@dataclass(frozen=True)
class Pair:
    """Who seeds and who leeches."""

    seeder: type[Client]
    leecher: type[Client]

    @classmethod
    def of(cls, client: type[Client] | Pair) -> Pair:
        """A pair as it is, or a client with itself."""
        return client if isinstance(client, Pair) else cls(client, client)

    @property
    def name(self) -> str:
        """As "swarm", or "swarm to aria2"."""
        if self.seeder is self.leecher:
            return self.seeder.name
        return f"{self.seeder.name} to {self.leecher.name}"

    @property
    def both(self) -> tuple[type[Client], type[Client]]:
        """The seeder, then the leecher."""
        return self.seeder, self.leecher

    def missing(self) -> str | None:
        """What to install, in one sentence, if one of them is not here."""
        return self.seeder.missing() or self.leecher.missing()
