from typing_extensions import Buffer

from swarm.proto.bencode import Value

DEPTH: int
TOKENS: int
DIGITS: int

def decode(data: Buffer, *, depth: int = 100, tokens: int = 3_000_000, digits: int = 0) -> Value:
    """The value that `data` holds, all of it: trailing bytes are an error.

    `depth` bounds nested containers, `tokens` values and keys together. Integers are signed 64-bit,
    or have at most `digits` decimal digits. Raises `BencodeError` with the offset of what is wrong.
    """

def decode_prefix(
    data: Buffer, *, depth: int = 100, tokens: int = 3_000_000, digits: int = 0
) -> tuple[Value, int]:
    """The value that `data` starts with, and where it ends (in BEP 9 payload follows one)."""

def parse(data: Buffer, *, depth: int = 100, tokens: int = 3_000_000, digits: int = 0) -> Document:
    """Like `decode`, keeping the bytes for `Document.span` and noting what is not canonical."""

def encode(value: object) -> bytes:
    """The canonical bencode of 64-bit ints, bytes, str (as UTF-8), lists, tuples, dicts, `Raw`.

    Dictionaries come out in the order of their raw keys. Raises `TypeError` for any other type, and
    for a key that is there both as bytes and as str; `BencodeError` for an int of more than 64 bits
    or for nesting deeper than `DEPTH`.
    """

class Document:
    """A parsed value, its bytes, and what was irregular about them."""

    @property
    def raw(self) -> bytes: ...
    @property
    def value(self) -> Value: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    def span(self, *keys: bytes) -> tuple[int, int]:
        """Where in `raw` the value under `keys` (one per nested dictionary) starts and ends.

        A hash over a part of the document is over these bytes, never over a re-encoding (BEP 3).
        Raises `KeyError` if it is not there.
        """

class Raw(bytes):
    """Bytes that are bencode already: `encode` splices them in as they are."""
