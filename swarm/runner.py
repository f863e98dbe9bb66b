"""One running torrent: where its decisions, its connections and its files meet. Wiring, no policy."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .announcing import Announcing
from .engine.limit import Limit
from .engine.peer import Peer
from .engine.selection import Selection
from .engine.torrent import Torrent as Engine
from .errors import StorageError, SwarmError, TorrentFailed, TorrentRemoved
from .events import (
    MoveFailed,
    PeerAddr,
    PieceFailed,
    PieceVerified,
    ResumeDoubted,
    ResumeNotSaved,
    TorrentDone,
    TorrentMoved,
    TorrentStopped,
)
from .peering import Peering
from .proto.metainfo import Metainfo
from .report import Report
from .selecting import Selecting
from .store.names import Where
from .store.storage import Verdict
from .storing import Storing
from .turns import Turns

if TYPE_CHECKING:
    from .session import Session
    from .torrent import Torrent


class Runner:
    """Runs one torrent of a session. `Torrent` is its handle, which users hold."""

    def __init__(
        self,
        session: Session,
        meta: Metainfo,
        dest: Path,
        *,
        trackers: tuple[tuple[str, ...], ...],
        verify: bool | None,
    ) -> None:
        self.session = session
        self.meta = meta
        self.tiers = trackers
        self.handle: Torrent
        self.state = "paused"
        self.error: StorageError | None = None
        self.removed = False
        self.changed = asyncio.Event()
        """Set, and replaced, whenever `state` changes."""
        self.down = Limit(above=session.down.whole)
        self.up = Limit(above=session.up.whole)
        self.selection = Selection(meta)
        self.selecting = Selecting(self)
        self.storing = Storing(self, dest)
        self.have = self.storing.have
        self.engine: Engine | None = None
        self._past = (0, 0, 0)
        self._verify = verify
        self._only_check = False
        self.peering = Peering(self)
        self.announcing = Announcing(self)
        self._peers_given: list[tuple[str, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._waiting = False  # a start waits for its turn: what fails until then failed before it
        self._rechecking: asyncio.Task[Report] | None = None
        self._turns = Turns()  # openings and closings never overlap

    # ------------------------------------------------------------ states

    def _set_state(self, state: str) -> None:
        self.state = state
        self.tell()

    def tell(self) -> None:
        """Whoever waits for a change looks again."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    @property
    def complete(self) -> bool:
        """Whether every piece is here."""
        return self.have.full

    @property
    def totals(self) -> tuple[int, int, int]:
        """Bytes of payload downloaded, uploaded and wasted in this session."""
        if self.engine is None:
            return self._past
        down, up, wasted = self.engine.totals()
        return self._past[0] + down, self._past[1] + up, self._past[2] + wasted

    def start(self) -> None:
        """Check what is there and begin to trade, in the background. Idempotent while it runs.

        Raises `TorrentRemoved`.
        """
        if self.removed:
            raise TorrentRemoved(f"{self.meta.name}: removed, or its session was closed")
        self._only_check = False
        if self.state in ("paused", "failed"):
            self.announcing.call_off()
            self.error = None
            self._set_state("checking")
            self._waiting = True
            self._opening = self._turns.take(self._open)

    async def _open(self) -> None:
        self._waiting = False
        try:
            await self.storing.open(self._verify)
            if not self._only_check:
                await self.storing.make_room()
        except StorageError as error:
            self.fail(error)
            return
        self._verify = None
        if self._only_check:
            self._set_state("paused")
            await self._close()
        else:
            self._trade()

    def _trade(self) -> None:
        now = asyncio.get_running_loop().time()
        self.engine = Engine(
            self.meta,
            self.have,
            self,
            tiers=self.tiers,
            settings=self.session.settings,
            rng=self.session.rng,
            padding=self.meta.padding,
            down=self.down,
        )
        self.selecting.arrange(self.engine)
        self._set_state("seeding" if self.selecting.finished else "downloading")
        self.engine.candidates.add(self._peers_given, "user", now)
        self.engine.start(now)
        self.session.finding.add(self)
        self.spawn(self.storing.claim_regularly())
        if self.storing.moving.under_way:
            self.spawn(self.storing.moving.go_on())
        self._wake()

    async def stop(self) -> None:
        """Close the connections, make what is here durable and claim it, and tell the trackers.

        Returns before the trackers have answered. Giving up the wait leaves nothing half done.
        """
        await asyncio.shield(self.halt())

    def halt(self) -> asyncio.Task[None]:
        """The same, without a wait: peers go at once, the task makes what is here durable."""
        if self._rechecking is not None:
            self._rechecking.cancel()
        return self._halt()

    def _halt(self) -> asyncio.Task[None]:
        if self._opening is not None:
            self._opening.cancel()
            self._waiting = False
        engine = self.engine
        running = engine is not None and engine.running
        self._stop_engine()
        if engine is not None and running:
            self.announcing.say_goodbye(engine)
        if self.state != "failed":
            self._set_state("paused")
        return self._turns.take(self._close)

    def _stop_engine(self) -> None:
        self.session.finding.remove(self)
        if self.engine is not None and self.engine.running:
            self.engine.stop(asyncio.get_running_loop().time())
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, float("inf")

    async def _close(self) -> None:
        """Data first, then the claim, then others may have the files."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            await self.storing.settle()
            if self.storing.known and self.state != "failed":
                await self.storing.claim(clean=True)
            else:
                await self.storing.remember()
        except StorageError as error:
            self.fail(error)
        finally:
            self._past, self.engine = self.totals, None
            await self.storing.close()

    def fail(self, error: StorageError) -> None:
        """The disk said no: everything of this torrent stops, nothing that was claimed is lost."""
        if self.state == "failed" or self._waiting:
            return
        self.error = error
        self._stop_engine()
        self._set_state("failed")
        self.session.bus.publish(TorrentStopped(self.handle, error))
        self._turns.take(self._close)

    def not_saved(self, error: StorageError) -> None:
        """Progress could not be remembered. That alone stops nothing."""
        self.session.bus.publish(ResumeNotSaved(self.handle, error))

    def doubted(self, reason: str) -> None:
        """What was remembered could not be used."""
        self.session.bus.publish(ResumeDoubted(self.handle, reason))

    async def move(self, to: Where) -> None:
        """Moves the files, in any state; giving up the wait does not call it off.

        Raises `StorageError`, and `TorrentRemoved`.
        """
        if self.removed:
            raise TorrentRemoved(f"{self.meta.name}: removed, or its session was closed")
        if self._opening is not None and not self._opening.done():
            await asyncio.wait([self._opening])
        await asyncio.shield(self.storing.moving.begin(to, self._turns))

    def moved(self) -> None:
        """All files are where they were to go."""
        self.session.bus.publish(TorrentMoved(self.handle, self.handle.path))

    def not_moved(self, error: StorageError) -> None:
        """A move of an earlier run could not be ended. That alone stops nothing."""
        self.session.bus.publish(MoveFailed(self.handle, error))

    async def recheck(self) -> Report:
        """Hash everything again and tell what was found; go on from there, unless it was paused.

        Raises `TorrentRemoved`, `TorrentFailed`, and `SwarmError` when it is stopped meanwhile.
        """
        if self._rechecking is None or self._rechecking.done():
            self._rechecking = asyncio.get_running_loop().create_task(self._recheck())
            self._rechecking.add_done_callback(lambda task: task.cancelled() or task.exception())
        rechecking = self._rechecking
        await asyncio.wait([rechecking])  # giving up the wait does not call it off
        if rechecking.cancelled():
            raise SwarmError(f"{self.meta.name}: stopped before everything was checked")
        return rechecking.result()

    async def _recheck(self) -> Report:
        only_check = self.state == "paused"
        self._verify = True
        await asyncio.wait([self._halt()])
        self.start()
        self._only_check = only_check
        assert self._opening is not None
        await asyncio.wait([self._opening])
        if self.error is not None:
            raise TorrentFailed(self.handle, str(self.error)) from self.error
        assert self.storing.found is not None
        return self.storing.found

    def abandon(self) -> set[asyncio.Task[Any]]:
        """No longer in a session: whoever waits is told. What had to end by now is cancelled."""
        ends = (task for task in (self._turns.last, self._rechecking) if task is not None)
        left = {
            *self._tasks,
            *self.announcing.farewells,
            *(task for task in ends if not task.done()),
        }
        for task in left:
            task.cancel()
        self.removed = True
        self._set_state("failed" if self.error is not None else "paused")
        return left

    def remove(self, *, delete_data: bool) -> asyncio.Task[None]:
        """Stops, takes the data away if that is meant, too, claims nothing more, leaves the session."""
        again, self.removed = self.removed, True
        self.halt()
        removing = self._turns.take(partial(self._remove, delete_data, again))
        removing.add_done_callback(lambda task: task.cancelled() or task.exception())
        return removing

    async def _remove(self, delete_data: bool, again: bool) -> None:
        try:
            if delete_data:
                await self.storing.delete(self.session.shared(self))
        finally:
            self.session.discard(self)
            if not again:  # or else it is another torrent's, added meanwhile, that is remembered
                await self.storing.forget()
            self._set_state("paused")

    # ------------------------------------------------------------ time

    def _wake(self) -> None:
        """Do what the engine says is due."""
        self._timer, self._timer_at = None, float("inf")
        if self.engine is None:
            return
        now = asyncio.get_running_loop().time()
        self.engine.tick(now)
        self.work()
        self.session.settle()
        self.arm()

    def work(self) -> None:
        """Announces and dials that are due."""
        if self.engine is None:
            return
        now = asyncio.get_running_loop().time()
        for announce in self.engine.announces(now):
            self.spawn(self.announcing.announce(self.engine, announce))
        room = self.session.room_to_dial()
        room = min(room, self.session.settings.max_peers_per_torrent - self.peering.dialling)
        for addr in self.engine.dials(now, room):
            self.spawn(self.peering.dial(addr))

    def arm(self) -> None:
        """Sets the timer to the engine's next deadline."""
        if self.engine is None:
            return
        at = self.engine.deadline()
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_at(at, self._wake)

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """Runs this until it ends, or the torrent stops."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ------------------------------------------------------------ peers

    @property
    def infohash(self) -> bytes:
        """What names the torrent to peers and trackers."""
        return self.meta.infohash.wire

    def limits_changed(self) -> None:
        """A limit of this torrent or of the session is another one from now on."""
        if self.engine is not None and self.engine.running:
            self.engine.on_limit()
            self.peering.limit_uploads()
            self.session.settle_soon()
        self.session.down.changed()
        self.session.up.changed()

    def add_peer(self, addr: tuple[str, int]) -> None:
        """Try this address, now or once the torrent runs."""
        if addr not in self._peers_given:
            self._peers_given.append(addr)
        if self.engine is not None:
            self.engine.candidates.add([addr], "user", asyncio.get_running_loop().time())
            self.work()

    # ------------------------------------------------------------ what the engine asks for (Host)

    def checkout(self, size: int) -> Any | None:
        slot = self.session.pool.checkout(size)
        if slot is None:
            self.session.disk.hurry()
        return slot

    def align(self, slot: Any, piece: int, offset: int) -> None:
        self.storing.align(slot, piece, offset)

    def commit(
        self, piece: int, offset: int, slot: Any, length: int, *, last: bool, patient: bool
    ) -> None:
        self.storing.commit(piece, offset, slot, length, last=last, patient=patient)

    def on_commit(self, piece: int, verdict: Verdict | StorageError) -> None:
        """A part was written, or a piece hashed, or neither."""
        if self.engine is None:
            return
        now = asyncio.get_running_loop().time()
        if isinstance(verdict, StorageError):
            self.engine.on_storage_error(piece)
            self.fail(verdict)
        elif verdict is Verdict.WRITTEN:
            self.engine.on_written(now)
        else:
            self.engine.on_verdict(piece, verdict is Verdict.VERIFIED, now)
            self.arm()
        self.session.settle_soon()

    def forget_piece(self, piece: int) -> None:
        self.storing.forget_piece(piece)

    def close(self, peer: Peer, reason: str) -> None:
        connection = self.session.connections.get(peer.key)
        if connection is not None:
            connection.close(reason)

    def serve(self, peer: Peer) -> None:
        connection = self.session.connections.get(peer.key)
        if connection is not None:
            connection.serve()

    def ask(self, peer: Peer) -> None:
        connection = self.session.connections.get(peer.key)
        if connection is not None:
            self.session.down.ask(connection, self.down)

    def unread(self, peer: Peer) -> int:
        connection = self.session.connections.get(peer.key)
        return connection.unread if connection is not None else 0

    def upload_only(self, only: bool) -> None:
        assert self.engine is not None
        self.peering.announce_upload_only()
        if self.engine.running:
            self._set_state("seeding" if only else "downloading")
        if only:
            self.session.bus.publish(TorrentDone(self.handle))

    def verified(self, piece: int) -> None:
        if self.session.bus.wanted(PieceVerified):
            self.session.bus.publish(PieceVerified(self.handle, piece))

    def corrupt(self, piece: int, suspects: list[Peer]) -> None:
        addrs = tuple(PeerAddr(*peer.addr) for peer in suspects)
        self.session.bus.publish(PieceFailed(self.handle, piece, addrs))
