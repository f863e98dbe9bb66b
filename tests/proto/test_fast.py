"""The allowed-fast set of BEP 6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.proto.fast import SET_SIZE, allowed_fast_set

INFOHASH = b"\xaa" * 20
SEVEN = [1059, 431, 808, 1217, 287, 376, 1188]


def test_the_example_of_bep_6() -> None:
    assert allowed_fast_set(INFOHASH, "80.4.4.200", 1313, 7) == SEVEN
    assert allowed_fast_set(INFOHASH, "80.4.4.200", 1313, 9) == [*SEVEN, 353, 508]


def test_only_the_first_three_bytes_of_the_address_count() -> None:
    assert allowed_fast_set(INFOHASH, "80.4.4.1", 1313, 7) == SEVEN
    assert allowed_fast_set(INFOHASH, "80.4.5.200", 1313, 7) != SEVEN
    assert allowed_fast_set(b"\xab" * 20, "80.4.4.200", 1313, 7) != SEVEN


@given(st.binary(min_size=20, max_size=20), st.ip_addresses(v=4), st.integers(0, 5000))
def test_distinct_pieces_that_exist(infohash: bytes, host: object, pieces: int) -> None:
    chosen = allowed_fast_set(infohash, str(host), pieces)
    assert len(chosen) == len(set(chosen)) == (SET_SIZE if pieces > SET_SIZE else 0)
    assert all(0 <= piece < pieces for piece in chosen)


@pytest.mark.parametrize("size", [1, 10, 1312])
def test_a_set_of_nearly_everything(size: int) -> None:
    assert len(allowed_fast_set(INFOHASH, "80.4.4.200", 1313, size)) == size


@pytest.mark.parametrize("host", ["::1", "2001:db8::1", "::ffff:1.2.3.4"])
def test_none_for_ipv6(host: str) -> None:
    assert allowed_fast_set(INFOHASH, host, 1313) == []


def test_none_for_a_small_torrent() -> None:
    assert allowed_fast_set(INFOHASH, "80.4.4.200", 7, 7) == []


def test_a_host_is_an_address() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        allowed_fast_set(INFOHASH, "example.org", 1313)
