"""A rate limit of a simulated client: the decision of the real one, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from swarm.engine.limit import Limit, Sharing

from .clock import Clock, Timer

K = TypeVar("K")


class Limiting(Generic[K]):
    """One direction. `give(who, blocks)` moves so many blocks at most and returns how many bytes."""

    def __init__(
        self,
        clock: Clock,
        rate: int | None,
        give: Callable[[K, int], int],
        after: Callable[[], None],
    ) -> None:
        self.limit = Limit(rate)
        self._clock = clock
        self._give = give
        self._after = after
        self._sharing: Sharing[K] = Sharing()
        self._timer: Timer | None = None

    def ask(self, who: K) -> None:
        """This one would move something."""
        self._sharing.ask(who, self.limit)
        self._arm(self._sharing.due(self.limit, self._clock.now))

    def drop(self, who: K) -> None:
        """It would not any more."""
        self._sharing.drop(who)

    def _turn(self) -> None:
        self._timer = None
        self._sharing.run(self._clock.now, self._give)
        self._after()
        self._arm(self._sharing.deadline(self._clock.now))

    def _arm(self, at: float) -> None:
        if at < (self._timer.when if self._timer is not None else float("inf")):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._clock.at(at, self._turn)
