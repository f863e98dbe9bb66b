"""Sizes, rates, durations and ratios as people write them: `10MiB`, `2MB/s`, `1h30m`, `1.5`.

With an `i` (`KiB`) or without a `B` (`k`, `512M`) a prefix counts in powers of 1024; with a `B`
alone (`kB`, `MB`) in powers of 1000. Case does not matter. Sizes never go through floats.
"""

from __future__ import annotations

import re

from .errors import ConfigError

MAX_BYTES = 2**63 - 1
MAX_SECONDS = 10 * 365 * 86_400
MAX_RATIO = 1_000_000.0
MAX_TEXT = 32
"""The longest quantity we read, in characters."""

_PREFIXES = "kmgtp"
_SIZE = re.compile(r"([0-9]+)(?:\.([0-9]+))?\s*(?:([kmgtp])(i?b)?|b)?", re.IGNORECASE)
_DURATION = re.compile(
    r"(?:([0-9.]+)d)?(?:([0-9.]+)h)?(?:([0-9.]+)m)?(?:([0-9.]+)s?)?", re.IGNORECASE
)
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_UNIT_SECONDS = (86_400, 3_600, 60, 1)


def parse_size(text: str) -> int:
    """A number of bytes: `4096`, `512k`, `10MiB`, `1.5GB`. A part of a byte is dropped.

    Raises `ConfigError` when it is not a size, or above 2**63 - 1.
    """
    text = text.strip()
    match = _SIZE.fullmatch(text) if len(text) <= MAX_TEXT else None
    if match is None:
        raise ConfigError(f"not a size: {text[:MAX_TEXT]!r} (write it like 4096, 512k, 10MiB)")
    whole, fraction, prefix, suffix = match.groups(default="")
    base = 1000 if suffix.lower() == "b" else 1024
    factor = base ** (_PREFIXES.index(prefix.lower()) + 1) if prefix else 1
    size: int = int(whole + fraction) * factor // 10 ** len(fraction)
    if size > MAX_BYTES:
        raise ConfigError(f"too large: {text!r}")
    return size


def parse_rate(text: str) -> int:
    """Bytes in a second: a size, with or without `/s`. Raises `ConfigError`."""
    text = text.strip()
    try:
        return parse_size(text[:-2] if text.lower().endswith("/s") else text)
    except ConfigError:
        raise ConfigError(
            f"not a rate: {text[:MAX_TEXT]!r} (write it like 500k, 2MB/s, 10MiB/s)"
        ) from None


def parse_duration(text: str) -> float:
    """Seconds: `90`, `90s`, `10m`, `1h30m`, `2d`, `1.5h`. Raises `ConfigError`."""
    text = text.strip()
    match = _DURATION.fullmatch(text) if text and len(text) <= MAX_TEXT else None
    parts = match.groups() if match else ()
    if not match or any(part and not _DECIMAL.fullmatch(part) for part in parts):
        raise ConfigError(f"not a duration: {text[:MAX_TEXT]!r} (write it like 90s, 10m, 1h30m)")
    seconds = sum(
        float(part) * unit for part, unit in zip(parts, _UNIT_SECONDS, strict=True) if part
    )
    if seconds > MAX_SECONDS:
        raise ConfigError(f"too long: {text!r}")
    return seconds


def parse_ratio(text: str) -> float:
    """Bytes uploaded for each byte of the torrent: `1`, `1.5`. Raises `ConfigError`."""
    text = text.strip()
    if len(text) > MAX_TEXT or not _DECIMAL.fullmatch(text) or float(text) > MAX_RATIO:
        raise ConfigError(f"not a ratio: {text[:MAX_TEXT]!r} (write it like 1.5)")
    return float(text)


def format_size(size: float) -> str:
    """`512 B`, `1.5 KiB`, `256.0 MiB`: one decimal, in powers of 1024."""
    if round(size) < 1024:
        return f"{round(size)} B"
    power = 0
    while power < len(_PREFIXES) and (power == 0 or round(size, 1) >= 1024):  # never "1024.0"
        size, power = size / 1024, power + 1
    return f"{size:.1f} {_PREFIXES[power - 1].upper()}iB"


def format_rate(rate: float) -> str:
    """Bytes in a second as `2.0 MiB/s`."""
    return f"{format_size(rate)}/s"


def format_duration(seconds: float) -> str:
    """The two largest units that say something: `0.4s`, `42s`, `2m05s`, `1h30m`, `3d04h`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    left = round(seconds)
    if left < 60:
        return f"{left}s"
    if left < 3_600:
        return f"{left // 60}m{left % 60:02}s"
    left //= 60
    if left < 24 * 60:
        return f"{left // 60}h{left % 60:02}m"
    left //= 60
    return f"{left // 24}d{left % 24:02}h"
