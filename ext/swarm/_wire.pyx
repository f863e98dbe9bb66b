"""The peer wire protocol (BEP 3, 6, 10) without I/O: bytes in, bytes out, whole pieces across.

A `Wire` is one connection after its handshake. `receive` walks the frames of one socket read in place,
copies each block's payload once into the slot of its `Fill`, refills the request pipeline, and says with
flags what Python should look at. Nothing here allocates, locks or calls Python per block. There is no
socket and no clock: whoever owns the connection says what time it is and writes what `take_output` returns.

All objects of one swarm belong to one thread, the event loop's.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from swarm._bits cimport Bits, Rarity
from swarm._fill cimport BLOCK, RECEIVED, Fill

from swarm.errors import ProtocolError

EXTENDED_LIMIT = 1 << 20
"""Longest extended message taken, in bytes."""
REQUEST_LIMIT = 1 << 17
"""Longest block served, in bytes (BEP 3 clients close above 128 KiB)."""
ALLOWED_FAST_LIMIT = 100
UNASKED_LIMIT = 16
"""Blocks nobody asked for that a peer may send before it is closed."""
CHOKED_REQUEST_LIMIT = 300
"""Requests that a peer may send long after we choked it."""
NOISE_LIMIT = 2000
"""Messages that move nothing forward, and KiB of messages nobody reads, before `receive` says USELESS."""
WASTE_LIMIT = 16 << 20
"""Bytes of blocks of no use, beyond as many as were of use, before it does."""

# What `receive` saw.
CHOKED = 1
UNCHOKED = 2
INTEREST = 4
HAVE = 8
BITFIELD = 16
PARTS = 32
HUNGRY = 64
REQUESTS = 128
EXTENDED = 256
REJECTED = 512
ALLOWED = 1024
LIMITED = 2048
PORT = 4096
USELESS = 8192

UNLIMITED = 1 << 62
"""The `allowance` of a wire that no limit holds back."""

cdef enum:
    MAX_HOLDERS = 3          # end game asks at most this many peers for one block
    KEEP_DEPTH = 32          # requests a fresh connection may have outstanding
    LEAST_DEPTH = 4          # and any, whatever it keeps us waiting
    BITFIELD_NOISE = 100     # what a bitfield costs that is not the first
    FRESH_BATCH = 16         # blocks read at once for a peer whose speed is not known
    MOST_BATCH = 64          # and for the fastest: 1 MiB
    REFILL = 64              # requests that leave together, if the row of requests is long
    HAVES_PER_WRITE = 64     # this many waiting haves are worth a write of their own
    HEADER = 13              # length, id, piece, begin
    NOISE_MOST = 2000        # twins of the limits above, for C
    WASTE_MOST = 16 << 20

cdef double LONGEST_TRIP = 1.0  # no peer is further away than this many seconds: the rest is a queue

cdef enum:                   # message ids
    M_CHOKE = 0
    M_UNCHOKE = 1
    M_INTERESTED = 2
    M_NOT_INTERESTED = 3
    M_HAVE = 4
    M_BITFIELD = 5
    M_REQUEST = 6
    M_PIECE = 7
    M_CANCEL = 8
    M_PORT = 9
    M_SUGGEST = 13
    M_HAVE_ALL = 14
    M_HAVE_NONE = 15
    M_REJECT = 16
    M_ALLOWED_FAST = 17
    M_EXTENDED = 20

cdef enum:                   # twins of the flags above, for C
    F_CHOKED = 1
    F_UNCHOKED = 2
    F_INTEREST = 4
    F_HAVE = 8
    F_BITFIELD = 16
    F_PARTS = 32
    F_HUNGRY = 64
    F_REQUESTS = 128
    F_EXTENDED = 256
    F_REJECTED = 512
    F_ALLOWED = 1024
    F_LIMITED = 2048
    F_PORT = 4096
    F_USELESS = 8192


cdef struct Asked:           # one request of ours; `fill` is borrowed: Wire.fills keeps it alive
    void* fill
    uint32_t block
    uint32_t at              # milliseconds

cdef struct Wanted:          # one request of the peer's
    uint32_t piece
    uint32_t begin
    uint32_t length


cdef inline uint32_t load32(const uint8_t* p) noexcept:
    # Invariant: the caller has checked that 4 bytes are there.
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline void store32(uint8_t* p, uint32_t value) noexcept:
    # Invariant: the caller has reserved 4 bytes.
    p[0] = value >> 24
    p[1] = (value >> 16) & 255
    p[2] = (value >> 8) & 255
    p[3] = value & 255


cdef class Wire:
    """One peer connection after the handshake, as a pair of byte streams and the state between them.

    `have` is our own bitfield and `rarity` the torrent's availability: both are shared by all wires of a
    torrent. `dirty` is a list onto which the wire puts itself when it has output to be written.
    """

    # Who is behind it.
    cdef public object owner
    cdef readonly long key
    cdef readonly bint fast
    # The protocol's four bits, and what the peer has.
    cdef readonly bint am_choking, am_interested, peer_choking, peer_interested
    cdef readonly Bits bits
    cdef readonly list allowed_fast
    """Pieces that the peer gives us even while it chokes us (BEP 6)."""
    # Counters, in bytes unless said otherwise.
    cdef readonly uint64_t downloaded, uploaded, wasted, received
    cdef readonly uint64_t blocks
    cdef readonly uint32_t noise
    """Messages since `take_noise` that moved nothing forward, and KiB of those that may be long."""
    cdef readonly uint16_t dht_port
    """Where its node of the DHT is (BEP 5); 0 if it did not say."""
    # The request pipeline.
    cdef public uint32_t depth
    """Requests to keep outstanding: one more with each block that came in time, up to `ceiling`, and one less
    with every second block that was waited for longer than two round trips and `head_room`."""
    cdef public uint32_t ceiling
    cdef public uint64_t allowance
    """Blocks that may be requested before a limit lets more through."""
    cdef public double head_room
    """Seconds that a request may lie in the peer's queue."""
    cdef readonly double busy
    """Seconds in which the peer owed us blocks."""
    cdef readonly double round_trip
    """The fewest seconds from a request to the first byte of its block; 0.0 before there was one. It may grow by
    half whenever a request was answered that nothing else was to come before, up to `LONGEST_TRIP`."""
    cdef public bint held
    """No requests for now (the peer rejects them)."""
    cdef public bint choke_settled
    """The choke we sent is old enough for the peer to know."""
    cdef readonly list fills
    cdef public uint32_t batch
    """Blocks to read from the disk for the peer at once."""

    cdef Bits own
    cdef Rarity rarity
    cdef list dirty
    cdef uint32_t pieces, piece_length, last_length, request_queue
    cdef double now
    cdef uint32_t ms
    cdef bint timing, late, eased
    cdef bint is_dirty, saw_bitfield, saw_have
    cdef uint32_t unasked, grace, choked_requests
    cdef Asked* asked
    cdef uint32_t asked_head, asked_tail, asked_room
    cdef Wanted* wanted
    cdef uint32_t wanted_head, wanted_tail, wanted_room
    cdef dict served_fast
    cdef list ready, extended
    # Output.
    cdef uint8_t* out
    cdef size_t out_len, out_room
    cdef uint32_t* haves
    cdef uint32_t haves_len, haves_room
    # Input: a frame that is split over reads waits in `carry`; a block in `rx`, a skipped frame in `skip`.
    cdef uint8_t* carry
    cdef size_t carry_len, carry_room
    cdef Fill rx
    cdef uint32_t rx_block, rx_done, rx_left
    cdef size_t skip
    cdef unsigned int events

    def __cinit__(
        self,
        long key,
        Bits have not None,
        Rarity rarity not None,
        list dirty not None,
        *,
        uint32_t piece_length,
        uint64_t length,
        bint fast=False,
        uint32_t request_queue=2000,
    ):
        self.key = key
        self.own = have
        self.rarity = rarity
        self.dirty = dirty
        self.fast = fast
        self.pieces = have.n
        if not self.pieces or not piece_length or (length - 1) // piece_length + 1 != self.pieces:
            raise ValueError("the bitfield does not fit the torrent")
        self.piece_length = piece_length
        self.last_length = length - <uint64_t>piece_length * (self.pieces - 1)
        self.request_queue = request_queue
        self.bits = Bits(have.n)
        self.am_choking = self.peer_choking = True
        self.fills = []
        self.ready = []
        self.extended = []
        self.allowed_fast = []
        self.served_fast = {}
        self.batch = FRESH_BATCH
        self.depth = KEEP_DEPTH
        self.allowance = UNLIMITED
        self.ceiling = min(request_queue, 512)
        self.head_room = 1.0

    def __dealloc__(self):
        free(self.asked)
        free(self.wanted)
        free(self.out)
        free(self.haves)
        free(self.carry)

    # ---------------------------------------------------------------- time

    def at(self, double now):
        """What time it is, in seconds of a clock that never goes back: before a read, and where it counts."""
        if self.now and self.c_count():
            self.busy += now - self.now
        self.now = now
        self.ms = <uint32_t><uint64_t>(now * 1000)

    cdef uint32_t c_count(self) noexcept:
        return self.asked_tail - self.asked_head + (self.rx is not None)

    # ---------------------------------------------------------------- input

    def receive(self, data):
        """Takes the bytes of one read and returns flags for what happened.

        Raises `ProtocolError` when the peer broke the protocol or a budget; the connection is of no
        further use then.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        self.events = 0
        try:
            self.received += view.len
            self.c_walk(<const uint8_t*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        self.c_refill(True)
        if self.noise > NOISE_MOST or self.wasted > self.downloaded + WASTE_MOST:
            self.events |= F_USELESS
        if not self.allowance and self.c_answers():
            self.events |= F_LIMITED
        if self.c_hungry():
            self.events |= F_HUNGRY
        return self.events

    cdef int c_walk(self, const uint8_t* p, Py_ssize_t n) except -1:
        # Invariant: `p` .. `p + n` is the unread rest of the caller's buffer, held for this call.
        cdef Py_ssize_t used
        cdef size_t need
        while n > 0:
            if self.rx_left:
                used = self.c_payload(p, n)
            elif self.skip:
                used = min(<size_t>n, self.skip)
                self.skip -= used
            elif self.carry_len:
                need = self.c_need(self.carry, self.carry_len)
                used = min(<size_t>n, need - self.carry_len)
                self.c_carry(p, used, need)
                if self.carry_len == need and self.c_need(self.carry, need) == need:
                    self.carry_len = 0
                    self.c_frame(self.carry)
                    if self.carry_room > 65536:  # one long message does not keep its memory
                        free(self.carry)
                        self.carry = NULL
                        self.carry_room = 0
            else:
                need = self.c_need(p, n)
                if need <= <size_t>n:
                    self.c_frame(p)
                    used = need
                else:
                    used = n
                    self.c_carry(p, n, need)
            p += used
            n -= used
        return 0

    cdef size_t c_need(self, const uint8_t* p, size_t n) except 0:
        """Bytes of this frame that must be together before `c_frame` can run, given `n` of them.

        The length is checked against the budget of the message here, before anything is kept of it.
        """
        if n < 4:
            return 4
        cdef uint32_t length = load32(p)
        if length == 0:
            return 4
        if n < 5:
            return 5
        cdef uint32_t kind = p[4]
        cdef uint32_t wanted
        if kind == M_PIECE:
            if length < 9 or length - 9 > REQUEST_LIMIT:
                raise ProtocolError(f"a piece message of {length} bytes")
            return HEADER
        if kind == M_EXTENDED:
            if length < 2 or length > EXTENDED_LIMIT:
                raise ProtocolError(f"an extended message of {length} bytes")
            return 4 + <size_t>length
        if kind == M_BITFIELD:
            wanted = 1 + (self.pieces + 7) // 8
        elif kind == M_HAVE or kind == M_SUGGEST or kind == M_ALLOWED_FAST:
            wanted = 5
        elif kind == M_REQUEST or kind == M_CANCEL or kind == M_REJECT:
            wanted = 13
        elif kind == M_PORT:
            wanted = 3
        elif kind <= M_NOT_INTERESTED or kind == M_HAVE_ALL or kind == M_HAVE_NONE:
            wanted = 1
        else:
            if length > EXTENDED_LIMIT:
                raise ProtocolError(f"an unknown message of {length} bytes")
            return 5  # skipped, not kept
        if length != wanted:
            raise ProtocolError(f"message {kind} of {length} bytes, not {wanted}")
        return 4 + <size_t>length

    cdef int c_carry(self, const uint8_t* p, size_t n, size_t need) except -1:
        # Invariant: carry_len + n <= need, and need passed the budget of its message.
        cdef uint8_t* grown
        if need > self.carry_room:
            grown = <uint8_t*>realloc(self.carry, max(need, <size_t>64))
            if not grown:
                raise MemoryError
            self.carry = grown
            self.carry_room = max(need, <size_t>64)
        memcpy(self.carry + self.carry_len, p, n)
        self.carry_len += n
        return 0

    cdef Py_ssize_t c_payload(self, const uint8_t* p, Py_ssize_t n) except -1:
        """Copies payload to its slot, or drops it where nobody waits for it any more."""
        cdef uint32_t used = <uint32_t>min(n, <Py_ssize_t>self.rx_left)
        cdef uint8_t* target = NULL
        if self.rx is not None:
            target = self.rx.c_target(self.rx_block)
        if target:
            memcpy(target + self.rx_done, p, used)
        self.rx_done += used
        self.rx_left -= used
        if not target:
            self.wasted += used
            if self.rx_left == 0:
                self.rx = None
        elif self.rx_left == 0:
            self.c_block()
        return used

    cdef int c_block(self) except -1:
        """A block is complete in its slot."""
        cdef Fill fill = self.rx
        cdef uint32_t block = self.rx_block
        cdef Wire other
        self.rx = None
        self.blocks += 1
        self.downloaded += self.rx_done
        if not self.late:
            if self.depth < self.ceiling:
                self.depth += 1
        elif self.depth > LEAST_DEPTH:
            self.eased = not self.eased
            self.depth -= self.eased
        if fill.state[block] > 1:
            for other in fill.wires:
                if other is not self:
                    other.c_cancel(fill, block)
        if fill.c_received(block):
            if fill not in self.ready:
                self.ready.append(fill)
            self.events |= F_PARTS
        if fill.missing == 0:
            for other in list(fill.wires):
                other.c_unassign(fill)
        return 0

    cdef int c_frame(self, const uint8_t* p) except -1:
        # Invariant: c_need's bytes are at `p`, and the length fits the message.
        cdef uint32_t length = load32(p)
        if length == 0:
            self.noise += 1
            return 0
        cdef uint32_t kind = p[4]
        cdef Bits bits
        if kind == M_PIECE:
            return self.c_piece(load32(p + 5), load32(p + 9), length - 9)
        if kind == M_HAVE:
            return self.c_have(load32(p + 5))
        if kind == M_REQUEST:
            return self.c_request(load32(p + 5), load32(p + 9), load32(p + 13))
        if kind == M_CHOKE:
            return self.c_choked()
        if kind == M_UNCHOKE:
            self.noise += 1  # flapping makes us ask for everything again
            self.peer_choking = False
            self.held = False
            self.events |= F_UNCHOKED
        elif kind == M_INTERESTED or kind == M_NOT_INTERESTED:
            self.noise += 1
            if self.peer_interested != (kind == M_INTERESTED):
                self.peer_interested = kind == M_INTERESTED
                self.events |= F_INTEREST
        elif kind == M_BITFIELD:
            bits = Bits(self.pieces)
            if not bits.c_load(p + 5, length - 1):
                raise ProtocolError("a bitfield with spare bits set")
            if self.saw_bitfield or self.saw_have:
                # aria2 sends its bitfield anew now and then. It replaces the old one, at a price.
                self.noise += BITFIELD_NOISE
                self.rarity.leave(self.bits)
            self.c_bitfield(bits)
        elif kind == M_CANCEL:
            self.c_cancelled(load32(p + 5), load32(p + 9), load32(p + 13))
        elif kind == M_EXTENDED:
            self.noise += 1 + length // 1024
            self.extended.append((p[5], PyBytes_FromStringAndSize(<const char*>p + 6, length - 2)))
            self.events |= F_EXTENDED
        elif kind == M_PORT:
            self.noise += 1
            self.dht_port = (p[5] << 8) | p[6]
            self.events |= F_PORT
        elif kind in (M_HAVE_ALL, M_HAVE_NONE, M_SUGGEST, M_REJECT, M_ALLOWED_FAST):
            self.c_fast_message(kind, p)
        else:
            self.noise += 1 + length // 1024
            self.skip = length - 1
        return 0

    cdef int c_fast_message(self, uint32_t kind, const uint8_t* p) except -1:
        """BEP 6."""
        if not self.fast:
            raise ProtocolError(f"message {kind} without the fast extension")
        cdef Bits bits
        cdef uint32_t piece
        if kind == M_HAVE_ALL or kind == M_HAVE_NONE:
            bits = Bits(self.pieces)
            if kind == M_HAVE_ALL:
                bits.fill()
            if self.saw_bitfield or self.saw_have:
                raise ProtocolError(f"message {kind} is not the first of its kind")
            return self.c_bitfield(bits)
        piece = load32(p + 5)
        if piece >= self.pieces:
            raise ProtocolError(f"message {kind} for piece {piece} of {self.pieces}")
        if kind == M_REJECT:
            return self.c_rejected(piece, load32(p + 9))
        self.noise += 1
        if kind == M_ALLOWED_FAST and len(self.allowed_fast) < ALLOWED_FAST_LIMIT:
            if piece not in self.allowed_fast:
                self.allowed_fast.append(piece)
                self.events |= F_ALLOWED
        return 0

    cdef int c_piece(self, uint32_t piece, uint32_t begin, uint32_t size) except -1:
        """The header of a block: finds the request that it answers."""
        cdef uint32_t i
        cdef double waited
        cdef Fill fill
        self.rx = None
        self.rx_done = 0
        self.rx_left = size
        for i in range(self.asked_head, self.asked_tail):
            fill = <Fill>self.asked[i].fill
            if fill.piece == piece and self.asked[i].block * BLOCK == begin:
                self.rx_block = self.asked[i].block
                if size != fill.c_size(self.rx_block):
                    raise ProtocolError(f"a block of {size} bytes, not what was requested")
                waited = max(<uint32_t>(self.ms - self.asked[i].at), <uint32_t>1) / 1000.0
                if waited < self.round_trip or not self.round_trip:
                    self.round_trip = min(waited, LONGEST_TRIP)
                elif self.timing:
                    self.round_trip = min(waited, min(1.5 * self.round_trip, LONGEST_TRIP))
                self.timing = False
                self.late = waited > 2 * self.round_trip + self.head_room
                self.c_answered(i)
                self.rx = fill
                if fill.last_key != self.key:
                    fill.contributors.add(self.key)
                    fill.last_key = self.key
                return 0
        if size == 0:
            raise ProtocolError("an empty block")
        # Late answers to what was cancelled, choked or timed out are no offence.
        if self.grace:
            self.grace -= 1
        else:
            self.unasked += 1
            if self.unasked > UNASKED_LIMIT:
                raise ProtocolError("blocks that were never requested")
        return 0

    cdef void c_answered(self, uint32_t i) noexcept:
        # Invariant: asked_head <= i < asked_tail. Answers come in order, so i is nearly always the head.
        if i == self.asked_head:
            self.asked_head += 1
        else:
            memmove(&self.asked[i], &self.asked[i + 1], (self.asked_tail - i - 1) * sizeof(Asked))
            self.asked_tail -= 1
        if self.asked_head == self.asked_tail:
            self.asked_head = self.asked_tail = 0

    cdef int c_have(self, uint32_t piece) except -1:
        if piece >= self.pieces:
            raise ProtocolError(f"have for piece {piece} of {self.pieces}")
        self.saw_have = True
        if self.bits.c_get(piece):
            self.noise += 1
            return 0
        if self.bits.count + 1 == self.bits.n:
            # From now on it counts as a seed: once, not piece by piece.
            self.rarity.leave(self.bits)
            self.bits.c_set(piece)
            self.rarity.join(self.bits)
        else:
            self.bits.c_set(piece)
            self.rarity.c_have(piece)
        if not self.own.c_get(piece):
            self.events |= F_HAVE
        return 0

    cdef int c_bitfield(self, Bits bits) except -1:
        # Invariant: the old bits do not count in the availability any more.
        self.saw_bitfield = True
        self.bits = bits
        self.rarity.join(bits)
        self.events |= F_BITFIELD
        return 0

    cdef int c_choked(self) except -1:
        self.noise += 1
        if self.peer_choking:
            return 0
        self.peer_choking = True
        self.events |= F_CHOKED
        if not self.fast:  # BEP 6 peers reject what they will not answer, one by one
            self.c_release_asked()
        return 0

    cdef int c_rejected(self, uint32_t piece, uint32_t begin) except -1:
        cdef uint32_t i, block
        cdef Fill fill
        for i in range(self.asked_head, self.asked_tail):
            fill = <Fill>self.asked[i].fill
            if fill.piece == piece and self.asked[i].block * BLOCK == begin:
                block = self.asked[i].block
                self.c_answered(i)
                fill.c_release(block)
                # A peer that rejects while it does not choke would only reject again.
                self.held = self.held or not self.peer_choking
                if piece in self.allowed_fast:
                    self.allowed_fast.remove(piece)
                self.events |= F_REJECTED
                return 0
        if self.grace:
            self.grace -= 1
        else:
            self.noise += 1
        return 0

    # ---------------------------------------------------------------- what the peer asks for

    cdef int c_request(self, uint32_t piece, uint32_t begin, uint32_t length) except -1:
        if piece >= self.pieces or length == 0 or length > REQUEST_LIMIT:
            raise ProtocolError(f"a request for {length} bytes of piece {piece}")
        cdef uint64_t size = self.last_length if piece == self.pieces - 1 else self.piece_length
        if <uint64_t>begin + length > size:
            raise ProtocolError(f"a request beyond the end of piece {piece}")
        if self.am_choking and not self.c_serve_choked(piece):
            if self.choke_settled:
                self.choked_requests += 1
                if self.choked_requests > CHOKED_REQUEST_LIMIT:
                    raise ProtocolError("requests while choked")
            return self.c_reject(piece, begin, length)
        if not self.own.c_get(piece):
            self.noise += 1
            return self.c_reject(piece, begin, length)
        cdef uint32_t queued = self.wanted_tail - self.wanted_head
        if queued >= self.request_queue:
            if not self.fast:
                raise ProtocolError(f"more than {self.request_queue} requests")
            self.noise += 1
            return self.c_reject(piece, begin, length)
        cdef Wanted* grown
        if self.wanted_tail == self.wanted_room:
            if self.wanted_head > self.wanted_room // 2:
                memmove(self.wanted, self.wanted + self.wanted_head, queued * sizeof(Wanted))
                self.wanted_head = 0
                self.wanted_tail = queued
            else:
                grown = <Wanted*>realloc(self.wanted, max(self.wanted_room * 2, <uint32_t>32) * sizeof(Wanted))
                if not grown:
                    raise MemoryError
                self.wanted = grown
                self.wanted_room = max(self.wanted_room * 2, <uint32_t>32)
        self.wanted[self.wanted_tail].piece = piece
        self.wanted[self.wanted_tail].begin = begin
        self.wanted[self.wanted_tail].length = length
        self.wanted_tail += 1
        self.events |= F_REQUESTS
        return 0

    cdef bint c_serve_choked(self, uint32_t piece) except -1:
        # Each allowed-fast piece is served three times at most, or it would be a way around the choker.
        if not self.served_fast:
            return False
        left = self.served_fast.get(piece, 0)
        if left:
            self.served_fast[piece] = left - 1
        return left > 0

    cdef int c_reject(self, uint32_t piece, uint32_t begin, uint32_t length) except -1:
        cdef uint8_t* p
        if self.fast:
            p = self.c_put(17)
            store32(p, 13)
            p[4] = M_REJECT
            store32(p + 5, piece)
            store32(p + 9, begin)
            store32(p + 13, length)
        return 0

    cdef int c_cancelled(self, uint32_t piece, uint32_t begin, uint32_t length) except -1:
        cdef uint32_t i
        for i in range(self.wanted_head, self.wanted_tail):
            if (
                self.wanted[i].piece == piece
                and self.wanted[i].begin == begin
                and self.wanted[i].length == length
            ):
                memmove(&self.wanted[i], &self.wanted[i + 1], (self.wanted_tail - i - 1) * sizeof(Wanted))
                self.wanted_tail -= 1
                return self.c_reject(piece, begin, length)
        self.noise += 1
        return 0

    @property
    def wants(self):
        """Requests of the peer's that wait to be served."""
        return self.wanted_tail - self.wanted_head

    def take_requests(self, uint32_t limit):
        """The peer's next requests, at most `limit` blocks of 16 KiB and at least one request.

        Packed as little-endian u32 triples (piece, begin, length).
        """
        cdef uint32_t n = 0
        cdef uint64_t size = 0
        while n < self.wanted_tail - self.wanted_head:
            size += self.wanted[self.wanted_head + n].length
            if n and size > <uint64_t>limit * BLOCK:
                break
            n += 1
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, n * 12)
        cdef uint8_t* p = <uint8_t*>PyBytes_AS_STRING(packed)
        cdef uint32_t i, k, value
        for i in range(n):
            for k in range(3):
                value = (&self.wanted[self.wanted_head + i].piece)[k]
                p[0] = value & 255
                p[1] = (value >> 8) & 255
                p[2] = (value >> 16) & 255
                p[3] = value >> 24
                p += 4
        self.wanted_head += n
        if self.wanted_head == self.wanted_tail:
            self.wanted_head = self.wanted_tail = 0
        return packed

    def sent(self, uint32_t payload, bint at_once):
        """Counts bytes of blocks that were written. What went out at once may be more the next time."""
        self.uploaded += payload
        if at_once:
            self.batch = min(self.batch * 2, <uint32_t>MOST_BATCH)

    def refuse(self, bytes packed not None):
        """Rejects requests that were taken and cannot be served (BEP 6; silence otherwise)."""
        cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(packed)
        cdef uint32_t i, k
        cdef uint32_t[3] values
        for i in range(<uint32_t>(len(packed) // 12)):
            for k in range(3):
                values[k] = p[0] | (<uint32_t>p[1] << 8) | (<uint32_t>p[2] << 16) | (<uint32_t>p[3] << 24)
                p += 4
            self.c_reject(values[0], values[1], values[2])

    # ---------------------------------------------------------------- what we ask for

    def assign(self, Fill fill not None):
        """Fetch this piece from this peer, too."""
        if fill not in self.fills:
            self.fills.append(fill)
            fill.wires.append(self)

    def unassign(self, Fill fill not None):
        """Stop fetching this piece from this peer; what is under way is cancelled."""
        self.c_unassign(fill)

    def awaits(self, Fill fill not None):
        """How many blocks of this piece were asked from this peer and are not here."""
        cdef uint32_t i
        cdef uint32_t count = self.rx is fill
        for i in range(self.asked_head, self.asked_tail):
            count += self.asked[i].fill == <void*>fill
        return count

    def spare(self, Fill fill not None, uint32_t keep):
        """Give back what was asked of this piece, but for what is among the next `keep` blocks to come."""
        self.c_unassign(fill, keep)

    def release(self):
        """Give all blocks back: the peer is gone, or too slow to wait for. Requests are cancelled."""
        cdef Fill fill
        for fill in list(self.fills):
            self.c_unassign(fill)

    def refill(self):
        """Send requests until the pipeline is full or the assigned pieces have no free block left."""
        self.c_refill(False)

    @property
    def hungry(self):
        """Whether the peer would answer more requests than the assigned pieces have blocks for."""
        return self.c_hungry()

    @property
    def outstanding(self):
        """Requests sent and not answered."""
        return self.c_count()

    @property
    def owed(self):
        """Bytes that are to come: what was asked for, and before that what was cancelled and may be sent.

        Each block counts as a whole one, but for the one that comes now.
        """
        return self.rx_left + <uint64_t>(self.asked_tail - self.asked_head + self.c_recalled()) * BLOCK

    cdef uint32_t c_recalled(self) noexcept:
        # Only with BEP 6 is it known what came of a cancel: the block, or a reject.
        return self.grace if self.fast else 0

    @property
    def limited(self):
        """Whether the peer would answer more requests than a limit lets us send."""
        return not self.allowance and self.c_answers()

    cdef bint c_answers(self) except -1:
        """Whether the peer would answer more requests."""
        if self.held or not self.am_interested or self.asked_tail - self.asked_head >= self.depth:
            return False
        return not self.peer_choking or len(self.allowed_fast) > 0

    cdef bint c_hungry(self) except -1:
        if not self.allowance or not self.c_answers():
            return False
        cdef Fill fill
        for fill in self.fills:
            if (not self.peer_choking or fill.piece in self.allowed_fast) and self.c_pick(fill) >= 0:
                return False
        return True

    cdef long c_pick(self, Fill fill) noexcept:
        """A block to ask for: one that nobody was asked for, or in end game one that others are slow with."""
        cdef long block = fill.c_next()
        if block >= 0 or not fill.endgame:
            return block
        cdef uint32_t holders
        cdef long i
        cdef uint32_t limit = min(fill.blocks, fill.attached * fill.per_part)
        for holders in range(1, MAX_HOLDERS):
            for i in range(<long>limit - 1, -1, -1):  # the holder's last ones: those it may not have sent yet
                if fill.state[i] == holders and not self.c_asked(fill, i):
                    return i
        return -1

    cdef bint c_asked(self, Fill fill, uint32_t block) noexcept:
        cdef uint32_t i
        if self.rx is fill and self.rx_block == block:
            return True
        for i in range(self.asked_head, self.asked_tail):
            if self.asked[i].block == block and self.asked[i].fill == <void*>fill:
                return True
        return False

    cdef int c_refill(self, bint batch) except -1:
        """With `batch`, waits until a few requests can leave together: fewer, larger writes."""
        cdef uint32_t count = self.asked_tail - self.asked_head
        cdef Fill fill
        cdef long block
        cdef uint32_t size
        cdef uint8_t* p
        if self.held or count >= self.depth:
            return 0
        if batch and count and self.depth - count < min(self.depth // 4, <uint32_t>REFILL):
            return 0
        for fill in self.fills:
            if self.peer_choking and fill.piece not in self.allowed_fast:
                continue
            while count < self.depth and self.allowance:
                block = self.c_pick(fill)
                if block < 0:
                    break
                self.c_ask(fill, <uint32_t>block)
                count += 1
                self.allowance -= 1
                size = fill.c_size(<uint32_t>block)
                p = self.c_put(17)
                store32(p, 13)
                p[4] = M_REQUEST
                store32(p + 5, fill.piece)
                store32(p + 9, <uint32_t>block * BLOCK)
                store32(p + 13, size)
            if count >= self.depth:
                break
        return 0

    cdef int c_ask(self, Fill fill, uint32_t block) except -1:
        cdef Asked* grown
        cdef uint32_t count = self.asked_tail - self.asked_head
        if self.asked_tail == self.asked_room:
            if self.asked_head:
                memmove(self.asked, self.asked + self.asked_head, count * sizeof(Asked))
                self.asked_head = 0
                self.asked_tail = count
            else:
                grown = <Asked*>realloc(self.asked, max(self.asked_room * 2, <uint32_t>64) * sizeof(Asked))
                if not grown:
                    raise MemoryError
                self.asked = grown
                self.asked_room = max(self.asked_room * 2, <uint32_t>64)
        if not self.c_count():
            self.timing = True
        self.asked[self.asked_tail].fill = <void*>fill
        self.asked[self.asked_tail].block = block
        self.asked[self.asked_tail].at = self.ms
        self.asked_tail += 1
        fill.state[block] += 1
        return 0

    cdef int c_cancel(self, Fill fill, uint32_t block) except -1:
        """Somebody else delivered this block: take the request back."""
        cdef uint32_t i
        if self.rx is fill and self.rx_block == block:
            self.c_drop_rx()
            return 0
        for i in range(self.asked_head, self.asked_tail):
            if self.asked[i].block == block and self.asked[i].fill == <void*>fill:
                self.c_answered(i)
                self.c_send_cancel(fill, block)
                return 0
        return 0

    cdef void c_drop_rx(self) noexcept:
        # The rest of the block that is coming in is dropped as it comes.
        self.rx = None
        self.wasted += self.rx_done

    cdef int c_send_cancel(self, Fill fill, uint32_t block) except -1:
        cdef uint8_t* p = self.c_put(17)
        store32(p, 13)
        p[4] = M_CANCEL
        store32(p + 5, fill.piece)
        store32(p + 9, block * BLOCK)
        store32(p + 13, fill.c_size(block))
        self.grace += 1
        return 0

    cdef int c_unassign(self, Fill fill, uint32_t keep=0) except -1:
        cdef uint32_t i, kept
        cdef uint32_t place = (self.rx_left > 0) + self.c_recalled()  # in the row of what is to come
        cdef uint32_t block
        if self.rx is fill and not keep:
            fill.c_release(self.rx_block)
            self.c_drop_rx()
        kept = self.asked_head
        for i in range(self.asked_head, self.asked_tail):
            if self.asked[i].fill == <void*>fill and place >= keep:
                block = self.asked[i].block
                fill.c_release(block)
                self.c_send_cancel(fill, block)
            else:
                self.asked[kept] = self.asked[i]
                kept += 1
            place += 1
        self.asked_tail = kept
        if self.asked_head == self.asked_tail:
            self.asked_head = self.asked_tail = 0
        if fill in self.fills and not keep:
            self.fills.remove(fill)
            fill.wires.remove(self)
        return 0

    cdef int c_release_asked(self) except -1:
        """A choke drops every request (BEP 3). Their answers may still be on the way."""
        cdef uint32_t i
        for i in range(self.asked_head, self.asked_tail):
            (<Fill>self.asked[i].fill).c_release(self.asked[i].block)
            self.grace += 1
        self.asked_head = self.asked_tail = 0
        return 0

    def take_parts(self):
        """Fills with parts that this read completed."""
        ready = self.ready
        self.ready = []
        return ready

    def take_extended(self):
        """Extended messages (BEP 10) since the last call: a list of (id, payload)."""
        extended = self.extended
        self.extended = []
        return extended

    def take_noise(self):
        """Messages since the last call that moved nothing forward."""
        noise = self.noise
        self.noise = 0
        return noise

    def leave(self):
        """The connection ended: blocks go back, and the peer no longer counts as having its pieces."""
        self.release()
        self.out_len = 0
        self.rarity.leave(self.bits)
        self.bits = Bits(self.pieces)
        self.wanted_head = self.wanted_tail = 0

    # ---------------------------------------------------------------- output

    cdef uint8_t* c_put(self, size_t n) except NULL:
        """Room for `n` bytes of output; marks the wire dirty."""
        cdef uint8_t* grown
        cdef size_t room
        if self.out_len + n > self.out_room:
            room = max(self.out_room * 2, self.out_len + n)
            room = max(room, <size_t>256)
            grown = <uint8_t*>realloc(self.out, room)
            if not grown:
                raise MemoryError
            self.out = grown
            self.out_room = room
        cdef uint8_t* p = self.out + self.out_len
        self.out_len += n
        self.c_mark()
        return p

    cdef int c_mark(self) except -1:
        if not self.is_dirty:
            self.is_dirty = True
            self.dirty.append(self)
        return 0

    def take_output(self):
        """Everything that is to be written, as one bytes object (empty when there is nothing)."""
        cdef uint32_t i
        cdef uint8_t* p
        cdef bytes data
        self.is_dirty = True  # so that c_put does not queue it again
        for i in range(self.haves_len):
            p = self.c_put(9)
            store32(p, 5)
            p[4] = M_HAVE
            store32(p + 5, self.haves[i])
        self.haves_len = 0
        data = PyBytes_FromStringAndSize(<const char*>self.out, self.out_len)
        self.out_len = 0
        self.is_dirty = False
        if self.out_room > 65536:  # a burst does not keep its memory
            free(self.out)
            self.out = NULL
            self.out_room = 0
        return data

    @property
    def pending(self):
        """Bytes of output not yet taken, waiting haves left out."""
        return self.out_len

    cdef int c_flag(self, uint32_t kind) except -1:
        cdef uint8_t* p = self.c_put(5)
        store32(p, 1)
        p[4] = kind
        return 0

    def choke(self, bint choking):
        """Choke or unchoke the peer. Choking drops its queue: rejected by BEP 6, silently by BEP 3."""
        if choking == self.am_choking:
            return
        self.am_choking = choking
        self.choke_settled = False
        self.choked_requests = 0
        self.c_flag(M_CHOKE if choking else M_UNCHOKE)
        cdef uint32_t i
        if choking:
            for i in range(self.wanted_head, self.wanted_tail):
                self.c_reject(self.wanted[i].piece, self.wanted[i].begin, self.wanted[i].length)
            self.wanted_head = self.wanted_tail = 0

    def interested(self, bint interested):
        """Tell the peer whether we want something it has."""
        if interested != self.am_interested:
            self.am_interested = interested
            self.c_flag(M_INTERESTED if interested else M_NOT_INTERESTED)

    def have(self, uint32_t piece):
        """We have this piece now. It waits for the next write, or for `push_haves`."""
        cdef uint32_t* grown
        if piece >= self.pieces:
            raise IndexError(piece)
        if self.bits.c_get(piece):
            return
        if self.haves_len == self.haves_room:
            grown = <uint32_t*>realloc(self.haves, max(self.haves_room * 2, <uint32_t>16) * sizeof(uint32_t))
            if not grown:
                raise MemoryError
            self.haves = grown
            self.haves_room = max(self.haves_room * 2, <uint32_t>16)
        self.haves[self.haves_len] = piece
        self.haves_len += 1
        if self.haves_len >= HAVES_PER_WRITE:
            self.c_mark()

    def push_haves(self):
        """Waiting haves are to be written now."""
        if self.haves_len:
            self.c_mark()

    def send_bitfield(self):
        """What we have, as the first message: a bitfield, or BEP 6's have_all and have_none."""
        cdef uint8_t* p
        cdef size_t size = (self.pieces + 7) // 8
        if self.fast and self.own.count == self.own.n:
            self.c_flag(M_HAVE_ALL)
        elif self.fast and self.own.count == 0:
            self.c_flag(M_HAVE_NONE)
        elif self.own.count:
            p = self.c_put(5 + size)
            store32(p, 1 + size)
            p[4] = M_BITFIELD
            memcpy(p + 5, self.own.data, size)

    def send_allowed_fast(self, pieces):
        """Pieces that the peer may request while we choke it (BEP 6), each three times at most."""
        cdef uint8_t* p
        cdef uint32_t piece
        if not self.fast:
            return
        for piece in pieces:
            if piece >= self.pieces:
                raise IndexError(piece)
            p = self.c_put(9)
            store32(p, 5)
            p[4] = M_ALLOWED_FAST
            store32(p + 5, piece)
            self.served_fast[piece] = 3 * ((self.piece_length - 1) // BLOCK + 1)

    def send_extended(self, uint8_t kind, bytes payload not None):
        """An extended message (BEP 10) of `kind`, 0 being its handshake."""
        cdef size_t size = len(payload)
        if size + 2 > EXTENDED_LIMIT:
            raise ValueError(f"an extended message of {size} bytes")
        cdef uint8_t* p = self.c_put(6 + size)
        store32(p, 2 + size)
        p[4] = M_EXTENDED
        p[5] = kind
        memcpy(p + 6, PyBytes_AS_STRING(payload), size)

    def send_port(self, uint16_t port):
        """Where our node of the DHT is, beside this connection's address (BEP 5)."""
        cdef uint8_t* p = self.c_put(7)
        store32(p, 3)
        p[4] = M_PORT
        p[5] = port >> 8
        p[6] = port & 255

    def keepalive(self):
        """An empty message, so that the peer does not think we are gone."""
        store32(self.c_put(4), 0)
