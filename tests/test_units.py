"""Quantities as people write them, and exactly."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm import units
from swarm.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("7b", 7),
        ("7 B", 7),
        ("512k", 512 * 1024),
        ("512K", 512 * 1024),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("1kB", 1000),
        ("1KB", 1000),
        ("10MiB", 10 * 2**20),
        ("10 MB", 10_000_000),
        ("1.5GiB", 3 * 2**29),
        ("0.1kB", 100),
        ("1.1k", 1126),  # 1126.4: a part of a byte is dropped
        ("2T", 2 * 2**40),
        ("1PB", 10**15),
        ("9223372036854775807", 2**63 - 1),
        (" 5m ", 5 * 2**20),
    ],
)
def test_size(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MiB",
        "-1",
        "+1",
        "1e6",
        "1.",
        ".5k",
        "1.2.3",
        "10 MiBs",
        "10MiB/s",
        "1ki",
        "0x10",
        "1_000",
        "9223372036854775808",
        "99999P",
        "٣",
        "1\n2",
        "1" * 1000,
        "nan",
        "inf",
    ],
)
def test_not_a_size(text: str) -> None:
    with pytest.raises(ConfigError):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("2MB/s", 2_000_000), ("2MiB/S", 2 * 2**20), ("500k", 512_000), ("10 MiB / s", None)],
)
def test_rate(text: str, rate: int | None) -> None:
    if rate is None:
        with pytest.raises(ConfigError, match="not a rate"):
            units.parse_rate(text)
    else:
        assert units.parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("1.5s", 1.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("1H30M5S", 5405),
        ("2d", 172_800),
        ("1.5h", 5400),
        ("1d12h", 129_600),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "m10", "30m1h", "1h1h", "-5s", "1..5s", "1.s", "5 s m", "99999d", "ms", "5x"]
)
def test_not_a_duration(text: str) -> None:
    with pytest.raises(ConfigError):
        units.parse_duration(text)


@pytest.mark.parametrize(("text", "ratio"), [("0", 0.0), ("1", 1.0), ("2.25", 2.25)])
def test_ratio(text: str, ratio: float) -> None:
    assert units.parse_ratio(text) == ratio


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e3", "2:1", "9" * 20])
def test_not_a_ratio(text: str) -> None:
    with pytest.raises(ConfigError):
        units.parse_ratio(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1023.6, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (256 * 2**20, "256.0 MiB"),
        (5 * 2**50, "5.0 PiB"),
        (2**63 - 1, "8192.0 PiB"),
    ],
)
def test_format_size(size: float, text: str) -> None:
    assert units.format_size(size) == text


def test_format_rate() -> None:
    assert units.format_rate(2.5 * 2**20) == "2.5 MiB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.42, "0.4s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (125, "2m05s"),
        (5400, "1h30m"),
        (3 * 86400 + 4 * 3600, "3d04h"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@given(st.integers(0, 2**63 - 1))
def test_plain_bytes_are_exact(size: int) -> None:
    assert units.parse_size(str(size)) == size
    assert units.parse_size(f"{size}B") == size


@given(st.integers(0, 2**62))
def test_what_we_print_we_read(size: int) -> None:
    read = units.parse_size(units.format_size(size))
    assert abs(read - size) <= size * 0.05  # one decimal: 1.0 KiB stands for up to 1.05


@given(st.floats(10, units.MAX_SECONDS))
def test_durations_we_print_we_read(seconds: float) -> None:
    read = units.parse_duration(units.format_duration(seconds))
    assert abs(read - seconds) <= max(0.5, seconds * 0.05)


@given(st.text(max_size=40))
def test_any_text_is_a_number_or_a_config_error(text: str) -> None:
    for parse in (units.parse_size, units.parse_rate, units.parse_duration, units.parse_ratio):
        with contextlib.suppress(ConfigError):
            assert parse(text) >= 0
