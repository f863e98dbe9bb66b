"""The codec against its grammar, its budgets, a slow decoder, and a foreign one."""

import importlib.util
import json
import random
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarm.errors import BencodeError, SwarmError
from swarm.proto import bencode

_spec = importlib.util.spec_from_file_location(
    "reference_bencode", Path(__file__).parents[1] / "reference" / "bencode.py"
)
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

integers = st.integers(INT64_MIN, INT64_MAX)
values = st.recursive(
    integers | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=20), inner, max_size=5)
    ),
    max_leaves=25,
)

small = integers | st.binary(max_size=9) | st.lists(integers, max_size=2)
REJECTED = object()
# Every line of the strictness table of the decoders in use, as the inputs that it stands for.
STRICTNESS = {
    "unsorted-keys": (b"d1:bi1e1:ai2ee", {b"b": 1, b"a": 2}),
    "unsorted-keys-nested": (b"d1:ad1:zi1e1:yi2eee", {b"a": {b"z": 1, b"y": 2}}),
    "duplicate-keys": (b"d1:ai1e1:ai2ee", REJECTED),
    "duplicate-keys-apart": (b"d1:ai1e1:bi2e1:ai3ee", REJECTED),
    "integer-leading-zero": (b"i01e", REJECTED),
    "integer-minus-zero": (b"i-0e", REJECTED),
    "integer-minus-leading-zero": (b"i-01e", REJECTED),
    "integer-plus": (b"i+1e", REJECTED),
    "integer-underscore": (b"i1_0e", REJECTED),
    "integer-spaces": (b"i 1 e", REJECTED),
    "integer-empty": (b"ie", REJECTED),
    "integer-minus-only": (b"i-e", REJECTED),
    "string-leading-zero": (b"03:abc", REJECTED),
    "string-underscore": (b"1_0:aaaaaaaaaa", REJECTED),
    "string-truncated": (b"5:abc", REJECTED),
    "string-negative": (b"-1:a", REJECTED),
    "string-no-colon": (b"3abc", REJECTED),
    "trailing-bytes": (b"i1ei2e", REJECTED),
    "trailing-newline": (b"i1e\n", REJECTED),
    "key-without-value": (b"d1:ae", REJECTED),
    "key-not-a-string": (b"di1ei2ee", REJECTED),
    "key-negative-length": (b"d1:a1:b-6:", REJECTED),
    "integer-int64-max": (b"i9223372036854775807e", INT64_MAX),
    "integer-over-int64": (b"i9223372036854775808e", REJECTED),
    "integer-under-int64": (b"i-9223372036854775809e", REJECTED),
    "integer-5000-digits": (b"i" + b"9" * 5000 + b"e", REJECTED),
    "nested-100": (b"l" * 100 + b"e" * 100, None),
    "nested-5000": (b"l" * 5000 + b"e" * 5000, REJECTED),
    "nested-100000": (b"l" * 100_000 + b"e" * 100_000, REJECTED),
}


@pytest.mark.parametrize("name", STRICTNESS)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("read", ["decode", "parse"])
def test_strictness(name, kind, read):
    data, expected = STRICTNESS[name]

    def run():
        if read == "decode":
            return bencode.decode(kind(data))
        return bencode.parse(kind(data)).value

    if expected is REJECTED:
        with pytest.raises(BencodeError) as caught:
            run()
        assert 0 <= caught.value.offset <= len(data)
    elif expected is None:
        assert bencode.encode(run()) == data
    else:
        assert run() == expected


def test_strictness_table_is_whole():
    assert len(STRICTNESS) == 29


FOREIGN = """
import bencodepy, json, sys
codec = bencodepy.Bencode()
said = []
for line in sys.stdin:
    try:
        said.append(repr(codec.decode(bytes.fromhex(line))))
    except Exception:
        said.append(None)
print(json.dumps(said))
"""


def test_foreign_decoder_agrees():
    """On canonical input bencode.py reads the same; where it rejects, so do we.

    It runs in a process with a time-out, without the input on which it hangs: `d1:a1:b-6:`.
    """
    rng = random.Random(5)
    inputs = [data for name, (data, _) in STRICTNESS.items() if name != "key-negative-length"]
    for _ in range(200):
        whole = bencode.encode(
            {b"a": rng.randrange(-99, 10**12), b"bc": [b"x" * rng.randrange(12)]}
        )
        cut = bytearray(whole)
        cut[rng.randrange(len(cut))] = rng.choice(b"0123456789:ilde")
        inputs += [whole, bytes(cut)]
    inputs = [data for data in inputs if b"-" not in data.replace(b"i-", b"")]
    ran = subprocess.run(
        [sys.executable, "-c", FOREIGN],
        input="\n".join(data.hex() for data in inputs),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    agreed = 0
    for data, theirs in zip(inputs, json.loads(ran.stdout), strict=True):
        try:
            ours = repr(bencode.decode(data))
        except BencodeError:
            continue  # it accepts much that is not bencode
        agreed += 1
        assert ours == theirs, data
    assert agreed > 200


@given(values)
def test_round_trip(value):
    data = bencode.encode(value)
    assert bencode.decode(data) == value
    assert reference.decode(data) == value
    assert bencode.encode(bencode.decode(data)) == data
    document = bencode.parse(data)
    assert document.value == value
    assert document.warnings == ()
    assert document.raw == data


@given(
    values,
    st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from(b"0123456789:-ilde\x00")), max_size=4
    ),
)
@example([0], [(2, ord("-"))])
def test_mutated_input_reads_as_the_reference_reads_it(value, mutations):
    data = bytearray(bencode.encode(value))
    for where, byte in mutations:
        data[where % len(data)] = byte
    agree(bytes(data))


@given(
    st.lists(
        st.sampled_from(
            [b"d", b"l", b"e", b"i", b"1", b"0", b"-", b":", b"a", b"1:a", b"i1e", b"0:"]
        )
    )
)
def test_any_tokens_read_as_the_reference_reads_them(tokens):
    agree(b"".join(tokens))


def agree(data: bytes) -> None:
    try:
        theirs = reference.decode(data)
    except ValueError:
        theirs = REJECTED
    try:
        ours = bencode.decode(data)
    except BencodeError:
        ours = REJECTED
    if theirs is REJECTED or ours is REJECTED:
        assert ours is theirs
    else:
        assert ours == theirs


@given(values)
def test_mi08_truncated_at_every_offset(value):
    data = bencode.encode(value)
    for length in range(len(data)):
        with pytest.raises(BencodeError) as caught:
            bencode.decode(data[:length])
        assert caught.value.offset <= length


@given(values, st.binary(min_size=1, max_size=8))
def test_mi07_trailing_bytes(value, tail):
    data = bencode.encode(value)
    assert bencode.decode_prefix(data + tail) == (value, len(data))
    for read in (bencode.decode, bencode.parse):
        with pytest.raises(BencodeError) as caught:
            read(data + tail)
        assert caught.value.offset == len(data)


@pytest.mark.parametrize("data", [b"l" * 25_000, b"d1:a" * 200_000, b"l" * 26_000_000])
def test_mi01_nesting_bomb(data):
    """Rejected on a thread with the smallest stack too: the depth bounds the recursion."""
    caught = []

    def run():
        try:
            bencode.decode(data)
        except BencodeError as error:
            caught.append(error.offset)

    old = threading.stack_size(128 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(old)
    thread.join()
    assert caught == [data.index(b"l") + 100 if data[0] == ord("l") else 400]


def test_mi02_token_bomb():
    data = b"l" + b"i0e" * 3_400_000 + b"e"
    tracemalloc.start()
    try:
        with pytest.raises(BencodeError, match="token budget"):
            bencode.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tokens", [0, 1, 4])
def test_token_budget_counts_values_and_keys(tokens):
    data = b"d1:ali1ei2eee"  # the dictionary, its key, the list, two integers
    with pytest.raises(BencodeError, match="token"):
        bencode.decode(data, tokens=tokens)
    assert bencode.decode(data, tokens=5) == {b"a": [1, 2]}


def test_depth_budget():
    assert bencode.decode(b"llee", depth=2) == [[]]
    assert bencode.decode(b"i1e", depth=0) == 1
    with pytest.raises(BencodeError, match="depth"):
        bencode.decode(b"llee", depth=1)
    for depth in (-1, bencode.DEPTH + 1):
        with pytest.raises(ValueError, match="depth must be"):
            bencode.decode(b"i1e", depth=depth)


@pytest.mark.parametrize(
    "data", [b"999999999999:", b"99999999999999999999999999:a", b"18446744073709551617:a", b"2:a"]
)
def test_mi03_string_longer_than_the_data(data):
    tracemalloc.start()
    try:
        with pytest.raises(BencodeError) as caught:
            bencode.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.offset == 0


@pytest.mark.parametrize("data", [b"05:hello", b"i-0e", b"i03e", b"00:"])
def test_mi04_leading_zero(data):
    with pytest.raises(BencodeError):
        bencode.parse(data)


@pytest.mark.parametrize("number", [INT64_MIN, INT64_MIN + 1, -1, 0, 1, 10**18, INT64_MAX])
def test_mi05_int64_is_exact(number):
    data = bencode.encode(number)
    assert data == b"i%de" % number
    assert bencode.decode(data) == number


@pytest.mark.parametrize("number", [INT64_MIN - 1, INT64_MAX + 1, 10**19, 2**64, 10**400])
def test_mi05_more_than_64_bits(number):
    data = b"i%de" % number
    with pytest.raises(BencodeError):
        bencode.decode(data)
    with pytest.raises(BencodeError):
        bencode.encode([number])
    assert bencode.decode(data, digits=401) == number
    with pytest.raises(BencodeError):
        bencode.decode(data, digits=len(str(abs(number))) - 1)


def test_mi06_key_order():
    data = b"d1:ci1e1:bi2e1:ai3e1:di4ee"
    assert bencode.decode(data) == {b"c": 1, b"b": 2, b"a": 3, b"d": 4}
    document = bencode.parse(data)
    assert document.warnings == (
        "a key is out of order at byte 7",
        "a key is out of order at byte 13",
    )
    start, end = document.span()
    assert data[start:end] == data
    assert (
        len(
            bencode.parse(
                b"d" + b"".join(b"3:%03di1e" % i for i in range(999, 0, -1)) + b"e"
            ).warnings
        )
        == 16
    )


@given(st.dictionaries(st.binary(max_size=4), small, min_size=1, max_size=6), st.randoms())
def test_mi06_duplicates_are_found_in_any_order(items, rng):
    pairs = [*items.items(), (next(iter(items)), 0)]
    rng.shuffle(pairs)
    data = b"".join(bencode.encode(key) + bencode.encode(value) for key, value in pairs)
    with pytest.raises(BencodeError, match="twice"):
        bencode.decode(b"d" + data + b"e")


@given(
    st.dictionaries(
        st.binary(max_size=6), st.dictionaries(st.binary(max_size=6), small, max_size=4), max_size=4
    )
)
def test_span_of_every_nested_value(value):
    document = bencode.parse(memoryview(bencode.encode(value)))
    for outer, inner in value.items():
        for keys, part in [((outer,), inner), *(((outer, key), inner[key]) for key in inner)]:
            start, end = document.span(*keys)
            assert bencode.decode(document.raw[start:end]) == part
    with pytest.raises(KeyError):
        document.span(b"longer than any key")


def test_span_of_what_has_no_keys():
    document = bencode.parse(b"d1:ai1e1:bl1:aee")
    for keys in ((b"a", b"x"), (b"b", b"a")):
        with pytest.raises(KeyError):
            document.span(*keys)
    with pytest.raises(TypeError):
        document.span("a")
    with pytest.raises(TypeError):
        bencode.Document()
    with pytest.raises(TypeError):
        bencode.Document.__new__(bencode.Document).span()


def test_document_keeps_its_own_bytes():
    data = bytearray(b"d1:ai1ee")
    document = bencode.parse(data)
    data[:] = b"x" * 100
    assert document.span(b"a") == (4, 7)


def test_encode_takes_text_and_splices():
    assert bencode.encode({"b": "é", b"a": (1, [])}) == b"d1:ali1elee1:b2:\xc3\xa9e"
    assert bencode.encode({"info": bencode.Raw(b"d1:xi01ee")}) == b"d4:infod1:xi01eee"
    assert bencode.encode({"z": 1, "Z": 2, "é": 3}) == b"d1:Zi2e1:zi1e2:\xc3\xa9i3ee"


@pytest.mark.parametrize(
    "value", [True, None, 1.0, {1: 2}, [object()], {"a": False}, {b"a": 1, "a": 2}]
)
def test_encode_rejects_types(value):
    with pytest.raises(TypeError):
        bencode.encode(value)


def test_encode_rejects_endless_nesting():
    endless: list = []
    endless.append(endless)
    with pytest.raises(BencodeError, match="deeper"):
        bencode.encode(endless)


@pytest.mark.parametrize("data", ["i1e", 5, None, [105]])
def test_decode_takes_only_bytes(data):
    for read in (bencode.decode, bencode.decode_prefix, bencode.parse):
        with pytest.raises(TypeError):
            read(data)


def test_errors_are_typed():
    with pytest.raises(SwarmError) as caught:
        bencode.decode(b"li1ex")
    assert isinstance(caught.value, ValueError)
    assert caught.value.offset == 4
    assert str(caught.value) == "no value starts with this byte at byte 4"


def test_shared_keys_stay_right():
    """Keys that fall into one slot of the cache must never be taken for each other."""
    rng = random.Random(1)
    for _ in range(300):
        items = {rng.randbytes(rng.randrange(20)): i for i in range(40)}
        assert bencode.decode(bencode.encode(items)) == items
