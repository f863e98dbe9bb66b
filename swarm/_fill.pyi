from typing import Any, Final

from typing_extensions import Buffer

from ._wire import Wire

BLOCK_SIZE: Final[int]

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
    def __new__(cls, piece: int, length: int, part_size: int, padding: int = 0) -> Fill: ...
    @property
    def wants_slot(self) -> bool: ...
    @property
    def slot_size(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def has_free(self) -> bool: ...
    @property
    def done(self) -> bool: ...
    @property
    def untouched(self) -> bool: ...
    def attach(self, slot: Buffer) -> None: ...
    def take_ready(self) -> list[tuple[int, Any, int]]: ...
