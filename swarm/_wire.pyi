from typing import Any, Final

from typing_extensions import Buffer

from ._bits import Bits, Rarity

BLOCK_SIZE: Final[int]
EXTENDED_LIMIT: Final[int]
REQUEST_LIMIT: Final[int]
ALLOWED_FAST_LIMIT: Final[int]
UNASKED_LIMIT: Final[int]
CHOKED_REQUEST_LIMIT: Final[int]
CHOKED: Final[int]
UNCHOKED: Final[int]
INTEREST: Final[int]
HAVE: Final[int]
BITFIELD: Final[int]
PARTS: Final[int]
HUNGRY: Final[int]
REQUESTS: Final[int]
EXTENDED: Final[int]
REJECTED: Final[int]
ALLOWED: Final[int]

class Fill:
    piece: Final[int]
    length: Final[int]
    part_size: Final[int]
    parts: Final[int]
    blocks: Final[int]
    missing: Final[int]
    contributors: Final[set[int]]
    wires: Final[list[Wire]]
    endgame: bool
    exclusive: bool
    def __new__(cls, piece: int, length: int, part_size: int) -> Fill: ...
    @property
    def wants_slot(self) -> bool: ...
    @property
    def slot_size(self) -> int: ...
    @property
    def has_free(self) -> bool: ...
    @property
    def done(self) -> bool: ...
    def attach(self, slot: Buffer) -> None: ...
    def take_ready(self) -> list[tuple[int, Any, int]]: ...

class Wire:
    owner: Any
    key: Final[int]
    fast: Final[bool]
    am_choking: Final[bool]
    am_interested: Final[bool]
    peer_choking: Final[bool]
    peer_interested: Final[bool]
    bits: Final[Bits]
    allowed_fast: Final[list[int]]
    downloaded: Final[int]
    wasted: Final[int]
    received: Final[int]
    uploaded: int
    blocks: Final[int]
    noise: Final[int]
    depth: int
    ceiling: int
    held: bool
    choke_settled: bool
    fills: Final[list[Fill]]
    def __new__(
        cls,
        key: int,
        have: Bits,
        rarity: Rarity,
        dirty: list[Wire],
        *,
        piece_length: int,
        length: int,
        fast: bool = False,
        request_queue: int = 2000,
    ) -> Wire: ...
    def receive(self, data: Buffer) -> int: ...
    @property
    def wants(self) -> int: ...
    def take_requests(self, limit: int) -> bytes: ...
    def refuse(self, packed: bytes) -> None: ...
    def assign(self, fill: Fill) -> None: ...
    def unassign(self, fill: Fill) -> None: ...
    def release(self) -> None: ...
    def refill(self) -> None: ...
    @property
    def hungry(self) -> bool: ...
    @property
    def outstanding(self) -> int: ...
    def take_parts(self) -> list[Fill]: ...
    def take_extended(self) -> list[tuple[int, bytes]]: ...
    def take_noise(self) -> int: ...
    def leave(self) -> None: ...
    def take_output(self) -> bytes: ...
    @property
    def pending(self) -> int: ...
    def choke(self, choking: bool) -> None: ...
    def interested(self, interested: bool) -> None: ...
    def have(self, piece: int) -> None: ...
    def push_haves(self) -> None: ...
    def send_bitfield(self) -> None: ...
    def send_allowed_fast(self, pieces: list[int]) -> None: ...
    def send_extended(self, kind: int, payload: bytes) -> None: ...
    def keepalive(self) -> None: ...
