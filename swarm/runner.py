"""One running torrent: where its decisions, its connections and its files meet. Wiring, no policy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from errno import ECANCELED
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._bits import Bits
from .announcing import Announcing
from .claims import Claims
from .engine.peer import Peer
from .engine.torrent import Torrent as Engine
from .errors import StorageError, SwarmError, TorrentFailed, TorrentRemoved
from .events import (
    PeerAddr,
    PieceFailed,
    PieceVerified,
    TorrentDone,
    TorrentStopped,
)
from .net.peer import Frames
from .peering import Peering
from .proto.metainfo import Metainfo
from .report import Report, report
from .store.disk import Storage, Verdict

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
        self.dest = dest
        self.tiers = trackers
        self.handle: Torrent
        self.state = "paused"
        self.error: StorageError | None = None
        self.removed = False
        self.checked = 0.0
        """How much of the check is done, 0 to 1, while `state` is "checking"."""
        self.changed = asyncio.Event()
        """Set, and replaced, whenever `state` changes."""
        self.have = Bits(meta.piece_count)
        self.engine: Engine | None = None
        self.found: Report | None = None
        """What the last full check found."""
        self.turn: asyncio.Task[None] | None = None
        """The last opening or closing."""
        self._past = (0, 0, 0)
        self._verify = verify
        self._only_check = False
        self._known = False  # whether `have` tells what is on the disk
        self._claims = Claims(session.state_dir, meta, dest)
        self.storage: Storage | None = None
        self.peering = Peering(self)
        self.announcing = Announcing(self)
        self._peers_given: list[tuple[str, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._rechecking: asyncio.Task[Report] | None = None
        self._commits = 0  # under way
        self._settled: asyncio.Future[None] | None = None

    # ------------------------------------------------------------ states

    def _set_state(self, state: str) -> None:
        self.state = state
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    @property
    def complete(self) -> bool:
        return self.have.full

    @property
    def totals(self) -> tuple[int, int, int]:
        """Bytes of payload downloaded, uploaded and wasted in this session."""
        if self.engine is None:
            return self._past
        down, up, wasted = self.engine.totals()
        return self._past[0] + down, self._past[1] + up, self._past[2] + wasted

    @property
    def done(self) -> int:
        """Verified bytes."""
        meta = self.meta
        last = meta.piece_count - 1
        short = meta.piece_length - meta.piece_size(last) if self.have[last] else 0
        return self.have.count * meta.piece_length - short

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
            self._opening = self._take_turn(self._open)

    def _take_turn(self, step: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Opening and closing never overlap: each waits for the one before."""
        before = self.turn

        async def run() -> None:
            if before is not None:
                await _through(asyncio.wait([before]))
            await step()

        self.turn = asyncio.get_running_loop().create_task(run())
        return self.turn

    async def _open(self) -> None:
        self._known = False
        try:
            await _through(asyncio.to_thread(self._claims.acquire))
            self.storage = self.session.disk.open(self.meta, self.dest, writable=True)
            await self._establish()
        except StorageError as error:
            self._fail(error)
            return
        self._known = True
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
        )
        self._set_state("seeding" if self.complete else "downloading")
        self.engine.candidates.add(self._peers_given, "user", now)
        self.engine.start(now)
        self._spawn(self._claim_regularly())
        self._wake()

    async def _establish(self) -> None:
        """Finds out which pieces are here: claimed ones are trusted, doubtful ones are hashed."""
        assert self.storage is not None
        self.have.zero()
        if self._verify is False:
            self.have.fill()
        elif self._verify is True:
            await _through(asyncio.to_thread(self._claims.forget))
            await self._check(None)
            self.found = await asyncio.to_thread(report, self.meta, bytes(self.have), self.dest)
        else:
            trusted, doubtful = await asyncio.to_thread(self._claims.load)
            self._adopt(trusted)
            if any(doubtful):
                await self._check(doubtful)
        self._verify = None

    async def _check(self, todo: bytes | None) -> None:
        assert self.storage is not None

        def progress(done: int, total: int) -> None:
            self.checked = done / total if total else 1.0

        self.checked = 0.0
        self._adopt(await self.storage.check(todo, progress))

    def _adopt(self, good: bytes) -> None:
        found = Bits(self.meta.piece_count, good)
        for piece in range(self.meta.piece_count):
            if found[piece]:
                self.have.set(piece)

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
        engine = self.engine
        running = engine is not None and engine.running
        self._stop_engine()
        if engine is not None and running:
            self.announcing.say_goodbye(engine)
        if self.state != "failed":
            self._set_state("paused")
        return self._take_turn(self._close)

    def _stop_engine(self) -> None:
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
        storage = self.storage
        try:
            if self._commits:  # or what is written after the claim would make it worthless
                self._settled = asyncio.get_running_loop().create_future()
                await self._settled
            if self._known and self.state != "failed":
                await self._claim(clean=True)
        except StorageError as error:
            self._fail(error)
        finally:
            self._past, self.engine = self.totals, None
            self.storage, self._known = None, False
            try:
                if storage is not None:
                    await storage.close()
            finally:
                self._claims.release()

    def _fail(self, error: StorageError) -> None:
        """The disk said no: everything of this torrent stops, nothing that was claimed is lost."""
        if self.state == "failed":
            return
        self.error = error
        self._stop_engine()
        self._set_state("failed")
        self.session.bus.publish(TorrentStopped(self.handle, error))
        self._take_turn(self._close)

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
        self._verify, self.found = True, None
        await asyncio.wait([self._halt()])
        self.start()
        self._only_check = only_check
        assert self._opening is not None
        await asyncio.wait([self._opening])
        if self.error is not None:
            raise TorrentFailed(self.handle, str(self.error)) from self.error
        assert self.found is not None
        return self.found

    def abandon(self) -> set[asyncio.Task[Any]]:
        """No longer in a session: whoever waits is told. What had to end by now is cancelled."""
        ends = (task for task in (self.turn, self._rechecking) if task is not None)
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

    async def forget(self) -> None:
        """Removed by the user: nothing is claimed any more."""
        await asyncio.to_thread(self._claims.forget)
        self.removed = True
        self._set_state("paused")

    # ------------------------------------------------------------ claims

    async def _claim(self, *, clean: bool) -> None:
        """Data first, then the claim."""
        if self.storage is None:
            return
        pieces = bytes(self.have)
        await self.storage.sync()
        downloaded, uploaded, _ = self.totals
        save = partial(
            self._claims.save, pieces, clean=clean, uploaded=uploaded, downloaded=downloaded
        )
        await _through(asyncio.to_thread(save))

    async def _claim_regularly(self) -> None:
        """Claims what was found at the start, then what came since, until nothing is missing."""
        claimed = -1
        try:
            while True:
                if self.have.count != claimed:
                    claimed = self.have.count
                    await self._claim(clean=False)
                if claimed == self.meta.piece_count:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.session.settings.resume_interval):
                        await self.changed.wait()
        except StorageError as error:
            self._fail(error)

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
            self._spawn(self.announcing.announce(self.engine, announce))
        room = self.session.room_to_dial()
        room = min(room, self.session.settings.max_peers_per_torrent - self.peering.dialling)
        for addr in self.engine.dials(now, room):
            self._spawn(self.peering.dial(addr))

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

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ------------------------------------------------------------ peers

    @property
    def infohash(self) -> bytes:
        infohash = self.meta.infohash.v1
        assert infohash is not None
        return infohash

    def add_peer(self, addr: tuple[str, int]) -> None:
        """Try this address, now or once the torrent runs."""
        if addr not in self._peers_given:
            self._peers_given.append(addr)
        if self.engine is not None:
            self.engine.candidates.add([addr], "user", asyncio.get_running_loop().time())
            self.work()

    # ------------------------------------------------------------ what the engine asks for (Host)

    def checkout(self, size: int) -> Any | None:
        return self.session.pool.checkout(size)

    def commit(self, piece: int, offset: int, slot: Any, length: int, last: bool) -> None:
        assert self.storage is not None
        digest = self.meta.piece_hash(piece) if last else None
        self.storage.commit(piece, offset, slot, length, digest, partial(self._on_commit, piece))
        self._commits += 1

    def _on_commit(self, piece: int, verdict: Verdict | StorageError) -> None:
        self._commits -= 1
        if not self._commits and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        if self.engine is None:
            return
        now = asyncio.get_running_loop().time()
        if isinstance(verdict, StorageError) and verdict.errno == ECANCELED:
            self.engine.on_written(now)  # the piece was given up meanwhile
        elif isinstance(verdict, StorageError):
            self.engine.on_storage_error(piece)
            self._fail(verdict)
        elif verdict is Verdict.WRITTEN:
            self.engine.on_written(now)
        else:
            self.engine.on_verdict(piece, verdict is Verdict.VERIFIED, now)
            self.arm()
        self.session.settle_soon()

    def read(self, requests: bytes, done: Frames) -> None:
        """Reads blocks for a peer. A disk that cannot give what we claim stops the torrent."""

        def finish(frames: Any, size: int) -> None:
            done(frames, size)
            if isinstance(frames, StorageError) and frames.errno != ECANCELED:
                self._fail(frames)

        assert self.storage is not None
        self.storage.read(requests, finish)

    def forget_piece(self, piece: int) -> None:
        if self.storage is not None:
            self.storage.forget(piece)

    def close(self, peer: Peer, reason: str) -> None:
        connection = self.session.connections.get(peer.key)
        if connection is not None:
            connection.close(reason)

    def serve(self, peer: Peer) -> None:
        connection = self.session.connections.get(peer.key)
        if connection is not None:
            connection.serve()

    def completed(self) -> None:
        assert self.engine is not None
        self.peering.announce_upload_only()
        self._set_state("seeding" if self.engine.running else self.state)
        self.session.bus.publish(TorrentDone(self.handle))

    def verified(self, piece: int) -> None:
        if self.session.bus.wanted(PieceVerified):
            self.session.bus.publish(PieceVerified(self.handle, piece))

    def corrupt(self, piece: int, suspects: list[Peer]) -> None:
        addrs = tuple(PeerAddr(*peer.addr) for peer in suspects)
        self.session.bus.publish(PieceFailed(self.handle, piece, addrs))


async def _through(work: Coroutine[Any, Any, object]) -> None:
    """Awaits what cannot be called off, such as the work of a thread: a cancel waits for its end."""
    job = asyncio.ensure_future(work)
    try:
        await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        job.exception()  # of no interest any more, whatever it is
        raise
