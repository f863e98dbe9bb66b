"""What reading any part of a torrent takes: its budget, and values of a known kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.errors import MetainfoError

from . import bencode


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that one torrent may ask for. Raise a number where a real one exceeds it."""

    metainfo_size: int = 64 * 2**20
    """Bytes of the .torrent file."""
    tokens: int = bencode.TOKENS
    """Bencode values and keys in it."""
    pieces: int = 2**21
    piece_length: int = 512 * 2**20
    """Bytes."""
    files: int = 250_000
    path_depth: int = 100
    trackers: int = 200
    """Those beyond it are left out, like web seeds, with a warning."""
    web_seeds: int = 50
    url_length: int = 2048
    """Characters."""

    def check(self, name: str, value: int, key: str) -> None:
        """Raises `MetainfoError` naming the limit if `value` is over the budget called `name`."""
        limit = getattr(self, name)
        if value > limit:
            raise MetainfoError(f"{value:,} is over the budget {name} of {limit:,}", key)


DEFAULT_BUDGET = Budget()
_NAMES = {dict: "a dictionary", list: "a list", int: "an integer", bytes: "a string"}


def typed(holder: dict[bytes, Any], key: bytes, kind: type, default: Any = None) -> Any:
    """The value under `key`, which must be there (unless it has a default) and of this kind."""
    value = holder.get(key, default)
    if type(value) is not kind:
        problem = "is missing" if value is None else f"is not {_NAMES[kind]}"
        raise MetainfoError(f"`{key.decode()}` {problem}", key.decode())
    return value


def text(raw: bytes) -> str:
    """UTF-8, with an underscore for what is not, as other clients have it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="replace").replace("\N{REPLACEMENT CHARACTER}", "_")


def note(holder: dict[bytes, Any], key: bytes, warnings: list[str]) -> str | None:
    """Text that nothing depends on; of the wrong kind, it is left out."""
    value = holder.get(key + b".utf-8", holder.get(key))
    if value is None or type(value) is bytes:
        return None if value is None else text(value)
    warnings.append(f"`{key.decode()}` is not a string")
    return None


def date(root: dict[bytes, Any], warnings: list[str]) -> int | None:
    """Seconds since 1970 of `creation date`; what is no time is left out."""
    value = root.get(b"creation date")
    if type(value) is int and value >= 0:
        return value
    if value is not None:
        warnings.append("`creation date` is not a time")
    return None
