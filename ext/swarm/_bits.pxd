"""Sets of pieces as bits, for C callers: `from swarm._bits cimport Bits, Rarity`."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    CLASSES = 16  # rarity classes
    RANKS = 7  # 0: not to be handed out; the others by urgency, the last one first
    ROWS = CLASSES + RANKS
    BLOCK_WORDS = 8  # 64-bit words that are scanned together: 512 bits, one cache line

cdef class Bits:
    cdef uint8_t* data  # wire order, 8 * `words` bytes; every bit from `n` on is zero
    cdef readonly Py_ssize_t n  # bits
    cdef readonly Py_ssize_t count  # bits that are set; written by the methods only, as is `data`
    cdef Py_ssize_t words  # 64-bit words of storage, a multiple of BLOCK_WORDS
    cdef uint64_t* blocks  # summary: bit b is set if block b is not empty
    cdef void* memory  # what was allocated; `data` and `blocks` point into it

    # The three below do not check: the caller holds 0 <= i < n.

    cdef inline int c_get(self, Py_ssize_t i) noexcept:
        return (self.data[i >> 3] >> (7 - (i & 7))) & 1

    cdef inline int c_set(self, Py_ssize_t i) noexcept:
        """Returns 1 when the bit was clear."""
        cdef uint8_t bit = <uint8_t>(0x80 >> (i & 7))
        if self.data[i >> 3] & bit:
            return 0
        self.data[i >> 3] |= bit
        self.blocks[i >> 15] |= (<uint64_t>1) << ((i >> 9) & 63)
        self.count += 1
        return 1

    cdef inline int c_clear(self, Py_ssize_t i) noexcept:
        """Returns 1 when the bit was set."""
        cdef uint8_t bit = <uint8_t>(0x80 >> (i & 7))
        if not self.data[i >> 3] & bit:
            return 0
        self.data[i >> 3] &= <uint8_t>(~bit)
        self.count -= 1
        cdef const uint64_t* block = <const uint64_t*>self.data + (i >> 9) * BLOCK_WORDS
        if not (block[0] | block[1] | block[2] | block[3]
                | block[4] | block[5] | block[6] | block[7]):
            self.blocks[i >> 15] &= ~((<uint64_t>1) << ((i >> 9) & 63))
        return 1

    cdef void _summarise(self) noexcept
    cdef Py_ssize_t _index(self, Py_ssize_t i) except -1

    # Replaces all bits by a wire bitfield of `size` bytes at `raw` (readable for that long).
    # Returns 0, and changes nothing, when the size is wrong or a spare bit is set.
    cdef int c_load(self, const uint8_t* raw, Py_ssize_t size) noexcept

cdef class Rarity:
    cdef readonly Py_ssize_t n  # pieces
    cdef readonly Py_ssize_t seeds  # peers that are counted once instead of in every piece
    cdef readonly Bits wanted  # free pieces of rank 1 and above
    cdef void* memory  # what was allocated; the four below point into it
    cdef uint64_t* rows  # ROWS bitsets of `words` words, laid out like `Bits`: classes, then ranks
    cdef uint64_t* summary  # ROWS bitsets of `summary_words` words: bit b: block b is not empty
    cdef uint16_t* counts  # per piece, seeds not included
    cdef uint8_t* ranks  # per piece, free or not
    cdef Py_ssize_t words
    cdef Py_ssize_t summary_words
    cdef Py_ssize_t sizes[ROWS]  # pieces in each row

    # One more peer has this piece. Not checked: the caller holds 0 <= piece < n, and that this
    # peer had not counted for this piece before (`Bits.c_set` returned 1).
    cdef void c_have(self, uint32_t piece) noexcept

    cdef void _enter(self, int row, Py_ssize_t piece) noexcept
    cdef void _exit(self, int row, Py_ssize_t piece) noexcept
    cdef void _settle(self, int row, Py_ssize_t block) noexcept
    cdef bint _idle(self, Py_ssize_t piece) noexcept
    cdef void _want(self, Py_ssize_t piece) noexcept
    cdef void _unwant(self, Py_ssize_t piece) noexcept
    cdef void _move(self, int old, int new, Py_ssize_t word, uint64_t mask) noexcept
    cdef void _count(self, Py_ssize_t word, uint64_t mask, int step) noexcept
    cdef void _count_all(self, int step) noexcept
    cdef int _check(self, Py_ssize_t piece) except -1
    cdef int _break_seed(self) except -1
    cdef Py_ssize_t _scan(self, int cls, int rank, Bits bits, uint64_t seed) noexcept
    cdef Py_ssize_t _compare(self, int rank, Bits bits, uint64_t seed) noexcept
    cdef Py_ssize_t _rarest(self, int rank, Bits bits, uint64_t seed) noexcept
    cdef Py_ssize_t _first(self, int rank, Bits bits) noexcept
