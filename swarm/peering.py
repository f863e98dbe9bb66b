"""How connections become peers of one torrent: dialling, handshakes, and what peers say of themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from swarm._wire import EXTENDED, PORT, Wire
from swarm.engine.candidates import Addr, normalise
from swarm.engine.peer import Peer
from swarm.errors import ConfigError, ProtocolError
from swarm.events import PeerAddr, PeerJoined, PeerLeft
from swarm.net.listen import dial
from swarm.net.peer import Connection
from swarm.proto.extension import HANDSHAKE, ExtendedHandshake
from swarm.proto.fast import allowed_fast_set
from swarm.proto.handshake import Handshake

if TYPE_CHECKING:
    from .runner import Runner

CLIENT = "swarm 0.1"
MOST_HANDSHAKES = 16
"""Extended handshakes in one read, before any is looked at: a read holds tens of thousands."""


def address_of(given: Any) -> Addr:
    """The IP address and port that a caller gave for a peer. Raises `ConfigError` for anything else."""
    try:
        host, port = given
        addr = normalise((host, port))
    except (TypeError, ValueError):
        addr = None
    if addr is None:
        told = str(given) if isinstance(given, PeerAddr) else repr(given)
        raise ConfigError(f"not where a peer can be: {told} (an IP address and a port are needed)")
    return addr


class Peering:
    """The connections of one torrent."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.session = runner.session
        self.dialling = 0
        self._finding = runner.session.finding if runner.session.finding.serves(runner) else None
        dht = self._finding is not None
        self._opening = Handshake(runner.infohash, runner.session.peer_id, dht=dht)

    @property
    def infohash(self) -> bytes:
        return self.runner.infohash

    # ------------------------------------------------------------ dialling

    async def dial(self, addr: tuple[str, int]) -> None:
        """Connects to `addr`; what comes of it is told to the engine."""
        session, settings = self.session, self.session.settings

        def factory() -> Connection:
            connection = Connection(session, settings.handshake_timeout, self._opening)
            connection.dialled = (self, addr)
            session.greeting.add(connection)
            return connection

        self.dialling += 1
        session.dialling += 1
        try:
            await dial(factory, addr, source=session.host, timeout=settings.connect_timeout)
        except (OSError, TimeoutError):
            self.on_unreachable(addr)
        finally:
            self.dialling -= 1
            session.dialling -= 1

    def on_unreachable(self, addr: tuple[str, int]) -> None:
        """A dial failed, or its connection ended before the handshake did."""
        if self.runner.engine is not None:
            self.runner.engine.candidates.failed(addr, _now())

    # ------------------------------------------------------------ handshakes

    def on_handshake(self, connection: Connection, theirs: Handshake) -> None:
        """Takes a connection in, or raises `ProtocolError` with the reason not to."""
        engine, session, meta = self.runner.engine, self.session, self.runner.meta
        if engine is None:
            raise ProtocolError("not running")
        refusal = engine.refusal(
            theirs.peer_id, connection.addr, outgoing=connection.outgoing, our_id=session.peer_id
        )
        if refusal is not None:
            if theirs.peer_id == session.peer_id and not connection.outgoing:
                connection.greet(self._opening)  # so that our other end knows its own voice
            raise ProtocolError(refusal)
        if not connection.outgoing:
            connection.greet(self._opening)
        wire = Wire(
            session.next_key(),
            self.runner.have,
            engine.picker.rarity,
            session.dirty,
            piece_length=meta.piece_length,
            length=meta.length,
            fast=theirs.fast,
            request_queue=session.settings.request_queue,
        )
        peer = Peer(
            wire,
            addr=connection.addr,
            peer_id=theirs.peer_id,
            outgoing=connection.outgoing,
            now=_now(),
        )
        wire.owner = peer
        peer.extended = theirs.extended
        session.connections[wire.key] = connection
        timeout = session.settings.stall_timeout
        connection.attach(self, wire, peer, self.runner.storing.read, timeout)
        connection.limited = self.runner.up.lowest is not None
        engine.join(peer, _now())
        self._introduce(peer)
        if theirs.dht and self._finding is not None and (port := self._finding.port) is not None:
            peer.wire.send_port(port)
        session.bus.publish(PeerJoined(self.runner.handle, PeerAddr(*peer.addr), peer.outgoing))

    def _introduce(self, peer: Peer) -> None:
        """What follows the bitfield: the extended handshake, and what it may fetch at once."""
        self._send_extended(peer)
        if self.runner.complete:
            count = self.runner.meta.piece_count
            peer.wire.send_allowed_fast(allowed_fast_set(self.infohash, peer.addr[0], count))

    def _send_extended(self, peer: Peer) -> None:
        if not peer.extended:
            return
        said = ExtendedHandshake(
            client=CLIENT,
            request_queue=self.session.settings.request_queue,
            port=self.session.port,
            your_ip=peer.addr[0],
            upload_only=self.runner.selecting.finished,
        )
        peer.wire.send_extended(HANDSHAKE, said.encode())

    def announce_upload_only(self) -> None:
        """Tell everyone whether we download anything (BEP 21)."""
        assert self.runner.engine is not None
        for peer in self.runner.engine.peers.values():
            self._send_extended(peer)

    # ------------------------------------------------------------ traffic

    def on_wire(self, connection: Connection, events: int) -> None:
        """A connection of ours received something."""
        engine, peer = self.runner.engine, connection.peer
        if engine is None or not engine.running:
            return
        if events & EXTENDED:
            messages = peer.wire.take_extended()
            if sum(kind == HANDSHAKE for kind, _ in messages) > MOST_HANDSHAKES:
                raise ProtocolError("a flood of extended handshakes")
            for kind, payload in messages:
                if kind == HANDSHAKE and not connection.closed:
                    self._on_extended(peer, ExtendedHandshake.parse(payload))
        if events & PORT and self._finding is not None:
            self._finding.met((peer.addr[0], peer.wire.dht_port))
        if not connection.closed:
            engine.on_wire(peer, events, _now())
        self.runner.arm()

    def _on_extended(self, peer: Peer, said: ExtendedHandshake) -> None:
        engine = self.runner.engine
        assert engine is not None
        peer.client = said.client
        peer.request_queue = said.request_queue
        if said.port:
            engine.set_address(peer, said.port, _now())
        if said.upload_only is not None:
            engine.set_upload_only(peer, said.upload_only)

    def request(self, peer: Peer, blocks: int) -> int:
        """A limit lets so many blocks through; how many bytes were requested."""
        engine = self.runner.engine
        return engine.grant(peer, blocks) if engine is not None and engine.running else 0

    def limit_uploads(self) -> None:
        """Whether there is a limit of the upload may have changed."""
        for connection in list(self.session.connections.values()):
            if connection.owner is self:
                connection.limited = self.runner.up.lowest is not None
                connection.serve()

    def on_lost(self, peer: Peer, reason: str) -> None:
        """A connection of ours has ended."""
        engine, banned = self.runner.engine, False
        if engine is not None:
            engine.leave(peer, _now())
            banned = engine.candidates.is_banned(peer.addr[0])
            self.runner.arm()
        left = PeerLeft(self.runner.handle, PeerAddr(*peer.addr), reason, banned)
        self.session.bus.publish(left)


def _now() -> float:
    return asyncio.get_running_loop().time()
