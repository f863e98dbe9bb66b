"""The handshake of the extension protocol (BEP 10), and what it says about the peer (BEP 21)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from swarm.errors import BencodeError, ProtocolError

from .bencode import decode, encode

HANDSHAKE = 0
"""The extended message id of the handshake itself."""
MAX_CLIENT_LENGTH = 64
MAX_EXTENSIONS = 64
MAX_REQUEST_QUEUE = 2000
DEFAULT_REQUEST_QUEUE = 250
"""What clients accept that do not say (BEP 10)."""
HANDSHAKE_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class ExtendedHandshake:
    """What a peer says of itself. Unknown keys are dropped, nonsense values are read as not said."""

    client: str = ""
    request_queue: int = DEFAULT_REQUEST_QUEUE
    port: int | None = None
    your_ip: str | None = None
    upload_only: bool | None = None
    """It downloads nothing (BEP 21); None where it did not say."""
    extensions: tuple[tuple[str, int], ...] = ()

    def encode(self) -> bytes:
        """The bencoded payload of the message."""
        said: dict[bytes, object] = {
            b"m": {name.encode(): number for name, number in self.extensions},
            b"reqq": self.request_queue,
        }
        if self.upload_only is not None:
            said[b"upload_only"] = int(self.upload_only)
        if self.client:
            said[b"v"] = self.client.encode()
        if self.port:
            said[b"p"] = self.port
        if self.your_ip:
            said[b"yourip"] = ipaddress.ip_address(self.your_ip).packed
        return encode(said)

    @classmethod
    def parse(cls, payload: bytes) -> ExtendedHandshake:
        """Reads a peer's handshake. Raises `ProtocolError` when it is not a dictionary."""
        try:
            said = decode(payload, tokens=HANDSHAKE_TOKENS)
        except BencodeError as error:
            raise ProtocolError(f"extended handshake: {error}") from None
        if not isinstance(said, dict):
            raise ProtocolError("extended handshake: not a dictionary")
        queue = _number(said.get(b"reqq"), 1, 1 << 31)
        client = said.get(b"v")
        names = said.get(b"m")
        return cls(
            client=clean_name(client) if isinstance(client, bytes) else "",
            request_queue=min(queue or DEFAULT_REQUEST_QUEUE, MAX_REQUEST_QUEUE),
            port=_number(said.get(b"p"), 1, 65535),
            your_ip=_address(said.get(b"yourip")),
            upload_only=_flag(said.get(b"upload_only")),
            extensions=_extensions(names) if isinstance(names, dict) else (),
        )


def clean_name(raw: bytes) -> str:
    """A client's name as it may be shown: printable, at most 64 characters."""
    text = raw[: 4 * MAX_CLIENT_LENGTH].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)[:MAX_CLIENT_LENGTH]


def _extensions(names: Mapping[bytes, object]) -> tuple[tuple[str, int], ...]:
    said = []
    for name, number in list(names.items())[:MAX_EXTENSIONS]:
        if isinstance(number, int) and 0 < number < 256 and len(name) <= MAX_CLIENT_LENGTH:
            said.append((name.decode("ascii", "replace"), number))
    return tuple(said)


def _flag(value: object) -> bool | None:
    return value == 1 if isinstance(value, int) and value in (0, 1) else None


def _number(value: object, low: int, high: int) -> int | None:
    return value if isinstance(value, int) and low <= value <= high else None


def _address(value: object) -> str | None:
    if isinstance(value, bytes) and len(value) in (4, 16):
        return str(ipaddress.ip_address(value))
    return None
