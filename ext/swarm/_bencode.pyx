"""Bencode (BEP 3): one parser and one encoder, over raw bytes.

The parser recurses once per nested container, at most DEPTH times: its C stack is bounded.
Invariant of every function that takes a `Cursor`: 0 <= pos <= end, `data` has `end` readable bytes
that outlive the call, and nothing is read or sliced before its length was compared with `end`.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Size
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memcmp, memcpy

from swarm.errors import BencodeError

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    int PyGC_Disable()
    int PyGC_Enable()
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

cdef enum:
    MAX_DEPTH = 100  # nested containers; also what bounds the recursion
    MAX_TOKENS = 3_000_000  # values and keys: each is an object, of up to 200 bytes
    MAX_DIGITS = 1000  # of an integer, and only when the caller asks for more than 64 bits
    INT64_DIGITS = 19
    MAX_NOTES = 16  # irregularities that a Document tells of
    KEY_SLOTS = 256
    KEY_LENGTH = 16

DEPTH = MAX_DEPTH
TOKENS = MAX_TOKENS
DIGITS = MAX_DIGITS

cdef struct Cursor:
    const unsigned char *data
    Py_ssize_t pos
    Py_ssize_t end
    Py_ssize_t tokens  # values and keys that may still come
    int depth  # containers that may still be opened
    int digits
    bint collecting  # whether the garbage collector was on
    int notes
    Py_ssize_t unsorted[MAX_NOTES]  # offsets of keys that are not above the one before them

# Keys repeat: each slot owns the last short key that fell into it, with its hash computed.
cdef PyObject *_keys[KEY_SLOTS]


cdef object _fail(str message, Py_ssize_t offset):
    raise BencodeError(message, offset)


cdef object _value(Cursor *c):
    """The value at `pos`; leaves `pos` behind it."""
    cdef unsigned char kind
    if c.pos >= c.end:
        _fail("the data ends where a value should start", c.pos)
    c.tokens -= 1
    if c.tokens < 0:
        _fail("more values than the token budget", c.pos)
    kind = c.data[c.pos]
    if c'0' <= kind <= c'9':
        return _string(c)
    if kind == c'i':
        return _integer(c)
    if kind == c'l' or kind == c'd':
        c.depth -= 1
        if c.depth < 0:
            _fail("nested deeper than the depth budget", c.pos)
        value = _dict(c) if kind == c'd' else _list(c)
        c.depth += 1
        return value
    _fail("no value starts with this byte", c.pos)


cdef Py_ssize_t _length(Cursor *c) except -1:
    """A string's length at `pos`; leaves `pos` on its first byte, with all of it below `end`."""
    cdef Py_ssize_t start = c.pos, pos = c.pos, n = 0, end = c.end
    cdef unsigned int digit
    while True:
        if pos >= end:
            _fail("the data ends inside of a string's length", pos)
        digit = <unsigned int>c.data[pos] - c'0'
        if digit > 9:
            break
        n = n * 10 + digit
        if n > end:  # also keeps the product from overflowing
            _fail("a string is longer than the data", start)
        pos += 1
    if pos == start or c.data[pos] != c':':
        _fail("a string's length is decimal digits and a colon", pos)
    if c.data[start] == c'0' and pos - start > 1:
        _fail("a string's length has a leading zero", start)
    pos += 1
    if n > end - pos:
        _fail("a string is longer than the data", start)
    c.pos = pos
    return n


cdef bytes _string(Cursor *c):
    cdef Py_ssize_t n = _length(c)
    cdef const char *start = <const char *>c.data + c.pos
    c.pos += n
    return PyBytes_FromStringAndSize(start, n)


cdef bytes _key(const unsigned char *start, Py_ssize_t n):
    """The bytes object of `n` readable bytes, shared with other dictionaries when it is short."""
    cdef unsigned int slot
    cdef PyObject *known
    cdef bytes key
    if n == 0 or n > KEY_LENGTH:
        return PyBytes_FromStringAndSize(<const char *>start, n)
    slot = (start[0] * 33 + start[n >> 1] * 17 + start[n - 1] * 7 + <unsigned int>n) % KEY_SLOTS
    known = _keys[slot]
    if (
        known != NULL
        and PyBytes_GET_SIZE(<object>known) == n
        and memcmp(PyBytes_AS_STRING(<object>known), start, n) == 0
    ):
        return <bytes>known
    key = PyBytes_FromStringAndSize(<const char *>start, n)
    Py_INCREF(key)
    _keys[slot] = <PyObject *>key
    Py_XDECREF(known)
    return key


cdef object _integer(Cursor *c):
    """`i`, an optional minus, digits without a leading zero, `e`. No minus zero."""
    cdef Py_ssize_t start = c.pos, pos = c.pos + 1, first, digits
    cdef unsigned long long n = 0, top
    cdef unsigned int digit
    cdef bint negative = pos < c.end and c.data[pos] == c'-'
    pos += negative
    first = pos
    while True:
        if pos >= c.end:
            _fail("the data ends inside of an integer", pos)
        digit = <unsigned int>c.data[pos] - c'0'
        if digit > 9:
            break
        n = n * 10 + digit  # wraps for more digits than INT64_DIGITS, and is not used then
        pos += 1
    digits = pos - first
    if digits == 0 or c.data[pos] != c'e':
        _fail("an integer is decimal digits and an e", pos)
    if c.data[first] == c'0' and (digits > 1 or negative):
        _fail("an integer has a leading zero or a minus before zero", start)
    c.pos = pos + 1
    top = (<unsigned long long>1 << 63) - 1 + negative
    if digits < INT64_DIGITS or (digits == INT64_DIGITS and n <= top):
        if not negative:
            return <long long>n
        return -1 - <long long>(n - 1)
    if digits > c.digits:
        _fail("an integer does not fit", start)
    return int(PyBytes_FromStringAndSize(<const char *>c.data + start + 1, pos - start - 1))


cdef list _list(Cursor *c):
    cdef list items = []
    c.pos += 1
    while True:
        if c.pos >= c.end:
            _fail("the data ends inside of a list", c.pos)
        if c.data[c.pos] == c'e':
            c.pos += 1
            return items
        items.append(_value(c))


cdef dict _dict(Cursor *c):
    cdef dict items = {}
    cdef bytes key
    cdef const unsigned char *start
    cdef const unsigned char *before = NULL
    cdef Py_ssize_t at, n, before_n = 0, count = 0
    cdef int order
    c.pos += 1
    while True:
        if c.pos >= c.end:
            _fail("the data ends inside of a dictionary", c.pos)
        if c.data[c.pos] == c'e':
            c.pos += 1
            return items
        at = c.pos
        c.tokens -= 1  # compared with zero when the key's value comes
        n = _length(c)
        start = c.data + c.pos
        c.pos += n
        if before != NULL:
            order = memcmp(before, start, min(n, before_n))
            if (order > 0 or (order == 0 and before_n >= n)) and c.notes < MAX_NOTES:
                c.unsorted[c.notes] = at
                c.notes += 1
        before, before_n = start, n
        key = _key(start, n)
        items[key] = _value(c)
        count += 1
        if PyDict_Size(items) != count:
            _fail("a dictionary has the same key twice", at)


cdef object _open(
    Cursor *c, object data, Py_buffer *view, int depth, Py_ssize_t tokens, int digits
):
    """Points a cursor at the bytes of `data`; `view` holds them until the caller releases it."""
    if not 0 <= depth <= MAX_DEPTH:
        raise ValueError(f"depth must be from 0 to {MAX_DEPTH}")
    if not 0 <= digits <= MAX_DIGITS:
        raise ValueError(f"digits must be from 0 to {MAX_DIGITS}")
    PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    c.data = <const unsigned char *>view.buf
    c.pos = 0
    c.end = view.len
    c.tokens = tokens
    c.depth = depth
    c.digits = digits
    c.notes = 0
    # Nothing made here can be garbage: looking for some among a million values doubles their cost.
    c.collecting = PyGC_Disable()


cdef void _close(Cursor *c, Py_buffer *view) noexcept:
    if c.collecting:
        PyGC_Enable()
    PyBuffer_Release(view)


def decode(data, *, int depth=MAX_DEPTH, Py_ssize_t tokens=MAX_TOKENS, int digits=0):
    """The value that all of `data` is; BencodeError tells where it is not bencode."""
    cdef Cursor c
    cdef Py_buffer view
    _open(&c, data, &view, depth, tokens, digits)
    try:
        value = _value(&c)
        if c.pos != c.end:
            _fail("bytes follow the value", c.pos)
        return value
    finally:
        _close(&c, &view)


def decode_prefix(data, *, int depth=MAX_DEPTH, Py_ssize_t tokens=MAX_TOKENS, int digits=0):
    """The value that `data` starts with, and the offset where it ends."""
    cdef Cursor c
    cdef Py_buffer view
    _open(&c, data, &view, depth, tokens, digits)
    try:
        return _value(&c), c.pos
    finally:
        _close(&c, &view)


def parse(data, *, int depth=MAX_DEPTH, Py_ssize_t tokens=MAX_TOKENS, int digits=0):
    """Like `decode`, as a Document that knows raw spans and what is not canonical."""
    cdef Cursor c
    cdef Py_buffer view
    cdef Document document = Document.__new__(Document)
    cdef int i
    document.raw = data if type(data) is bytes else memoryview(data).tobytes()
    _open(&c, document.raw, &view, depth, tokens, digits)
    try:
        document.value = _value(&c)
        if c.pos != c.end:
            _fail("bytes follow the value", c.pos)
    finally:
        _close(&c, &view)
    document.warnings = tuple(
        [f"a key is out of order at byte {c.unsorted[i]}" for i in range(c.notes)]
    )
    return document


cdef class Document:
    """A parsed value, its bytes, and what was irregular about them."""

    cdef readonly bytes raw
    cdef readonly object value
    cdef readonly tuple warnings

    def __init__(self):
        raise TypeError("parse() makes these")

    def span(self, *keys):
        """Where in `raw` the value under `keys` starts and ends; KeyError if it is not there."""
        if self.raw is None:
            raise TypeError("parse() makes these")
        # `raw` was parsed whole, so it is well-formed and each walk below stays inside of it.
        cdef Cursor c
        cdef bytes key
        c.data = <const unsigned char *>PyBytes_AS_STRING(self.raw)
        c.pos = 0
        c.end = PyBytes_GET_SIZE(self.raw)
        for key in keys:
            if key is None or not _find(&c, key):
                raise KeyError(key)
        start = c.pos
        _skip(&c)
        return start, c.pos


cdef bint _find(Cursor *c, bytes key) except -1:
    """Moves from a well-formed dictionary to the value of `key` in it, if it is one and has it."""
    cdef Py_ssize_t n
    cdef const unsigned char *start
    if c.data[c.pos] != c'd':
        return False
    c.pos += 1
    while c.data[c.pos] != c'e':
        n = _length(c)
        start = c.data + c.pos
        c.pos += n
        if n == PyBytes_GET_SIZE(key) and memcmp(start, PyBytes_AS_STRING(key), n) == 0:
            return True
        _skip(c)
    return False


cdef int _skip(Cursor *c) except -1:
    """Moves behind one well-formed value, without recursion: only the depth matters."""
    cdef Py_ssize_t depth = 0, n
    cdef unsigned char kind
    while True:
        kind = c.data[c.pos]
        if kind == c'i':
            while c.data[c.pos] != c'e':
                c.pos += 1
            c.pos += 1
        elif kind == c'l' or kind == c'd':
            depth += 1
            c.pos += 1
        elif kind == c'e':
            depth -= 1
            c.pos += 1
        else:
            n = _length(c)
            c.pos += n
        if depth == 0:
            return 0


class Raw(bytes):
    """Bytes that are bencode already: `encode` splices them in as they are."""

    __slots__ = ()


# Invariant: `data` is NULL or has `room` bytes of ours, of which `size` <= `room` are written.
cdef struct Sink:
    char *data
    Py_ssize_t size
    Py_ssize_t room


cdef int _grow(Sink *sink, Py_ssize_t n) except -1:
    """Makes room for `n` more bytes."""
    cdef Py_ssize_t room = 2 * (sink.size + n) + 256
    cdef char *grown = <char *>PyMem_Realloc(sink.data, room)
    if grown == NULL:
        raise MemoryError
    sink.data = grown
    sink.room = room
    return 0


cdef inline int _put(Sink *sink, const char *data, Py_ssize_t n) except -1:
    """Appends `n` readable bytes."""
    if n > sink.room - sink.size:
        _grow(sink, n)
    memcpy(sink.data + sink.size, data, n)
    sink.size += n
    return 0


cdef inline int _put_byte(Sink *sink, char byte) except -1:
    if sink.size == sink.room:
        _grow(sink, 1)
    sink.data[sink.size] = byte
    sink.size += 1
    return 0


cdef int _put_digits(Sink *sink, unsigned long long n) except -1:
    cdef char text[20]  # enough for 2**64 - 1
    cdef int at = 20
    while True:
        at -= 1
        text[at] = <char>(c'0' + n % 10)
        n //= 10
        if n == 0:
            return _put(sink, text + at, 20 - at)


cdef int _put_string(Sink *sink, const char *data, Py_ssize_t n) except -1:
    _put_digits(sink, <unsigned long long>n)
    _put_byte(sink, c':')
    return _put(sink, data, n)


cdef int _put_int(Sink *sink, object value) except -1:
    cdef int overflow = 0
    cdef long long n = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        _fail("an integer needs more than 64 bits", sink.size)
    _put_byte(sink, c'i')
    if n < 0:
        _put_byte(sink, c'-')
        _put_digits(sink, 0 - <unsigned long long>n)
    else:
        _put_digits(sink, <unsigned long long>n)
    return _put_byte(sink, c'e')


cdef int _put_dict(Sink *sink, dict items, int depth) except -1:
    cdef list keys = list(items)
    cdef dict plain
    for key in keys:
        if not isinstance(key, bytes):
            plain = {}
            for key in keys:
                if isinstance(key, str):
                    plain[key.encode()] = items[key]
                elif isinstance(key, bytes):
                    plain[bytes(key)] = items[key]
                else:
                    raise TypeError(f"a bencode key is bytes or str, not {type(key).__name__}")
            if len(plain) != len(keys):
                raise TypeError("a key is there both as bytes and as str")
            return _put_dict(sink, plain, depth)
    keys.sort()
    _put_byte(sink, c'd')
    for key in keys:
        _put_string(sink, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        _put_value(sink, items[key], depth)
    return _put_byte(sink, c'e')


cdef int _put_value(Sink *sink, object value, int depth) except -1:
    cdef Py_ssize_t n = 0
    cdef const char *text
    if isinstance(value, bytes):
        if type(value) is not bytes and isinstance(value, Raw):
            return _put(sink, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        return _put_string(sink, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return _put_int(sink, value)
    if isinstance(value, str):
        text = PyUnicode_AsUTF8AndSize(value, &n)
        return _put_string(sink, text, n)
    if isinstance(value, (dict, list, tuple)):
        if depth == 0:
            _fail("nested deeper than the depth budget", sink.size)
        if isinstance(value, dict):
            return _put_dict(sink, value, depth - 1)
        _put_byte(sink, c'l')
        for item in value:
            _put_value(sink, item, depth - 1)
        return _put_byte(sink, c'e')
    raise TypeError(f"bencode has no {type(value).__name__}")


def encode(value):
    """The canonical bencode of a value; TypeError for types that bencode does not have."""
    cdef Sink sink
    sink.data = NULL
    sink.size = 0
    sink.room = 0
    try:
        _put_value(&sink, value, MAX_DEPTH)
        return PyBytes_FromStringAndSize(sink.data, sink.size)
    finally:
        PyMem_Free(sink.data)
