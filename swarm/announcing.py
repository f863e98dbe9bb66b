"""How one torrent speaks with its trackers: the announces that are due, and goodbye."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .engine.announce import Announce
from .engine.torrent import Torrent as Engine
from .errors import TrackerError
from .events import TrackerAnswered, TrackerFailed
from .proto.tracker import AnnounceRequest, redact

if TYPE_CHECKING:
    from .runner import Runner


class Announcing:
    """The announces of one torrent."""

    def __init__(self, runner: Runner) -> None:
        self.farewells: set[asyncio.Task[None]] = set()
        """Announces of `stopped` under way."""
        self._runner = runner
        self._session = runner.session

    def say_goodbye(self, engine: Engine) -> None:
        """Tells the trackers that the torrent has stopped, in the background."""
        loop = asyncio.get_running_loop()
        for announce in engine.announces(loop.time()):
            farewell = loop.create_task(self._say_goodbye(engine, announce))
            self.farewells.add(farewell)
            farewell.add_done_callback(self.farewells.discard)

    async def _say_goodbye(self, engine: Engine, announce: Announce) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._session.settings.stop_timeout):
                await self.announce(engine, announce)

    def call_off(self) -> None:
        """The torrent runs again: no tracker is to hear goodbye after its return."""
        for farewell in self.farewells:
            farewell.cancel()

    async def announce(self, engine: Engine, announce: Announce) -> None:
        """Makes one announce, and tells the engine and whoever listens what came of it."""
        runner, publish = self._runner, self._session.bus.publish
        loop, url = asyncio.get_running_loop(), redact(announce.url)
        request = self._request(engine, announce)
        try:
            reply = await self._session.trackers.announce(announce.url, request)
        except TrackerError as error:
            engine.on_tracker_error(announce.url, error.retry_in, str(error), loop.time())
            publish(TrackerFailed(runner.handle, url, error))
            return
        engine.on_tracker_reply(announce.url, reply, loop.time())
        count = len(reply.peers)
        publish(
            TrackerAnswered(runner.handle, url, count, reply.seeds, reply.leechers, reply.warning)
        )
        if engine.running:
            runner.work()

    def _request(self, engine: Engine, announce: Announce) -> AnnounceRequest:
        downloaded, uploaded, _ = engine.totals()
        everything, have = self._runner.selecting.everything, self._runner.have
        return AnnounceRequest(
            infohash=self._runner.infohash,
            peer_id=self._session.peer_id,
            port=self._session.port,
            uploaded=uploaded,
            downloaded=downloaded,
            left=everything.length - everything.done(have),
            event=announce.event,
            numwant=announce.numwant,
            key=self._session.tracker_key,
            tracker_id=announce.tracker_id,
        )
