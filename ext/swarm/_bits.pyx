"""Sets of pieces: `Bits` in wire order, and `Rarity`, which knows the rarest piece of any set.

Bits are stored as they travel (BEP 3: the first piece is the high bit of the first byte), and are
read 64 at a time in the machine's own order, so bit b of word w is piece 64 * w + (b ^ FLIP).
Storage is padded to whole blocks of 512 bits that are never partly outside; spare bits are zero.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(_MSC_VER)
    #include <intrin.h>
    static inline int bits_lowest(uint64_t word) {
        unsigned long at;
        _BitScanForward64(&at, word);
        return (int)at;
    }
    #else
    #define bits_lowest(word) __builtin_ctzll(word)
    #endif

    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define BITS_FLIP 63
    #else
    #define BITS_FLIP 7
    #endif

    static inline int bits_population(uint64_t x) {
        x -= (x >> 1) & 0x5555555555555555u;
        x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
        return (int)((((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u) >> 56);
    }

    /* Both point at eight words. */
    static inline uint64_t bits_meet(const uint64_t *a, const uint64_t *b) {
        return (a[0] & b[0]) | (a[1] & b[1]) | (a[2] & b[2]) | (a[3] & b[3])
             | (a[4] & b[4]) | (a[5] & b[5]) | (a[6] & b[6]) | (a[7] & b[7]);
    }
    static inline uint64_t bits_meet3(const uint64_t *a, const uint64_t *b, const uint64_t *c) {
        return (a[0] & b[0] & c[0]) | (a[1] & b[1] & c[1])
             | (a[2] & b[2] & c[2]) | (a[3] & b[3] & c[3])
             | (a[4] & b[4] & c[4]) | (a[5] & b[5] & c[5])
             | (a[6] & b[6] & c[6]) | (a[7] & b[7] & c[7]);
    }
    static inline uint64_t bits_beyond(const uint64_t *a, const uint64_t *b) {
        return (a[0] & ~b[0]) | (a[1] & ~b[1]) | (a[2] & ~b[2]) | (a[3] & ~b[3])
             | (a[4] & ~b[4]) | (a[5] & ~b[5]) | (a[6] & ~b[6]) | (a[7] & ~b[7]);
    }
    """
    int FLIP "BITS_FLIP"
    int lowest "bits_lowest"(uint64_t word) noexcept nogil  # word is not 0
    int population "bits_population"(uint64_t word) noexcept nogil
    uint64_t meet "bits_meet"(const uint64_t* a, const uint64_t* b) noexcept nogil
    uint64_t meet3 "bits_meet3"(
        const uint64_t* a, const uint64_t* b, const uint64_t* c
    ) noexcept nogil
    uint64_t beyond "bits_beyond"(const uint64_t* a, const uint64_t* b) noexcept nogil


MAX_PIECES = 1 << 26  # 8 MiB a peer; 64 TiB at 1 MiB a piece
cdef Py_ssize_t LIMIT = MAX_PIECES
cdef int FEW = 64  # pieces in common that are always compared one by one
cdef int SOME = 1024  # the same, where one of the two sets is known to be no larger
cdef int TOP = 65535

# The class of each count: 0, 1, 2, 3, then steps of about one half.
cdef uint8_t CLASS_OF[65536]
CLASS_EDGES = (0, 1, 2, 3, 4, 6, 9, 14, 21, 31, 47, 70, 105, 158, 237, 356)


cdef void fill_classes() noexcept:
    cdef int cls = -1
    cdef int count
    for count in range(65536):
        if cls + 1 < CLASSES and count == CLASS_EDGES[cls + 1]:
            cls += 1
        CLASS_OF[count] = <uint8_t>cls


fill_classes()


cdef inline Py_ssize_t words_for(Py_ssize_t n) noexcept:
    """Storage for n bits: whole blocks, and at least one."""
    return max((n + 511) // 512, 1) * BLOCK_WORDS


cdef inline Py_ssize_t summary_for(Py_ssize_t words) noexcept:
    """Words of a summary: a bit for each block."""
    return (words // BLOCK_WORDS + 63) // 64


cdef inline void* line_up(void* memory) noexcept:
    """The next cache line (64 more bytes were asked for), so that no block straddles two."""
    return <void*>((<size_t>memory + 63) & ~<size_t>63)


cdef inline uint64_t bit_of(Py_ssize_t i) noexcept:
    return (<uint64_t>1) << ((i & 63) ^ FLIP)


cdef inline uint64_t mix(uint64_t x) noexcept:
    """Spreads a seed over all bits (the finaliser of SplitMix64)."""
    x = (x + 0x9E3779B97F4A7C15u)
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu
    return x ^ (x >> 31)


cdef Py_ssize_t choose(
    const uint64_t* a, const uint64_t* b, const uint64_t* c, Py_ssize_t block, uint64_t seed
) noexcept:
    """One of the bits that a, b and c share in this block, by chance.

    Invariant: `block` is inside all three, and they share a bit there.
    """
    cdef Py_ssize_t first = block * BLOCK_WORDS
    cdef Py_ssize_t w
    cdef uint64_t word
    cdef uint64_t k
    cdef int shared = 0
    for w in range(first, first + BLOCK_WORDS):
        shared += population(a[w] & b[w] & c[w])
    k = seed % <uint64_t>shared
    for w in range(first, first + BLOCK_WORDS):
        word = a[w] & b[w] & c[w]
        shared = population(word)
        if k >= <uint64_t>shared:
            k -= shared
            continue
        while k:
            word &= word - 1
            k -= 1
        return w * 64 + (lowest(word) ^ FLIP)
    return -1


cdef class Bits:
    """A set of pieces out of `n`, in wire order (BEP 3 bitfield).

    `raw` is a bitfield from the wire. Raises ValueError for a size above MAX_PIECES, a bitfield of
    the wrong length, or spare bits that are set.
    """

    def __cinit__(self, Py_ssize_t n, raw=None):
        if not 0 <= n <= LIMIT:
            raise ValueError(f"a set of {n} pieces is outside of 0..{LIMIT}")
        self.n = n
        self.words = words_for(n)
        self.memory = PyMem_Calloc((self.words + summary_for(self.words)) * 8 + 64, 1)
        if self.memory == NULL:
            raise MemoryError
        self.data = <uint8_t*>line_up(self.memory)
        self.blocks = <uint64_t*>self.data + self.words

    def __init__(self, n, raw=None):
        cdef const uint8_t[::1] view
        if raw is None:
            return
        view = raw
        if not self.c_load(&view[0] if view.shape[0] else NULL, view.shape[0]):
            raise ValueError(f"{view.shape[0]} bytes are not a bitfield of {self.n} pieces")

    def __dealloc__(self):
        PyMem_Free(self.memory)

    cdef int c_load(self, const uint8_t* raw, Py_ssize_t size) noexcept:
        if size != (self.n + 7) // 8:
            return 0
        if self.n & 7 and raw[size - 1] & (0xFF >> (self.n & 7)):
            return 0
        if size:
            memcpy(self.data, raw, size)  # size <= 8 * words
        self._summarise()
        return 1

    cdef void _summarise(self) noexcept:
        """Counts `data` anew."""
        cdef Py_ssize_t w
        cdef const uint64_t* words = <const uint64_t*>self.data
        memset(self.blocks, 0, summary_for(self.words) * 8)
        self.count = 0
        for w in range(self.words):
            if words[w]:
                self.count += population(words[w])
                self.blocks[w >> 9] |= (<uint64_t>1) << ((w >> 3) & 63)

    cdef inline Py_ssize_t _index(self, Py_ssize_t i) except -1:
        if not 0 <= i < self.n:
            raise IndexError(f"piece {i} of {self.n}")
        return i

    def __len__(self):
        return self.n

    def __getitem__(self, Py_ssize_t i):
        return self.c_get(self._index(i)) == 1

    def set(self, Py_ssize_t i):
        """Adds piece i; whether it was missing."""
        return self.c_set(self._index(i)) == 1

    def clear(self, Py_ssize_t i):
        """Removes piece i; whether it was there."""
        return self.c_clear(self._index(i)) == 1

    def fill(self):
        """Adds every piece."""
        memset(self.data, 0xFF, self.n >> 3)
        if self.n & 7:
            self.data[self.n >> 3] = <uint8_t>(0xFF00 >> (self.n & 7))
        self._summarise()

    def zero(self):
        """Removes every piece."""
        memset(self.data, 0, self.words * 8)
        self._summarise()

    @property
    def full(self):
        """Whether no piece is missing."""
        return self.count == self.n

    def offers(self, Bits wanted not None):
        """Whether any piece is in both sets. ValueError when they differ in size."""
        cdef Py_ssize_t w
        cdef Py_ssize_t s
        cdef uint64_t left
        cdef const uint64_t* a = <const uint64_t*>self.data
        cdef const uint64_t* b = <const uint64_t*>wanted.data
        same_size(self.n, wanted.n)
        for s in range(summary_for(self.words)):
            left = self.blocks[s] & wanted.blocks[s]
            while left:
                w = (s * 64 + lowest(left)) * BLOCK_WORDS
                left &= left - 1
                if meet(a + w, b + w):
                    return True
        return False

    def exceeds(self, Bits other not None):
        """Whether any piece is here and not in the other set. ValueError when they differ in size."""
        cdef Py_ssize_t w
        cdef Py_ssize_t s
        cdef uint64_t left
        cdef const uint64_t* a = <const uint64_t*>self.data
        cdef const uint64_t* b = <const uint64_t*>other.data
        same_size(self.n, other.n)
        if self.count > other.count:
            return True
        for s in range(summary_for(self.words)):
            left = self.blocks[s]
            while left:
                w = (s * 64 + lowest(left)) * BLOCK_WORDS
                left &= left - 1
                if beyond(a + w, b + w):
                    return True
        return False

    def count_in(self, Py_ssize_t first, Py_ssize_t end):
        """How many of the pieces first..end-1 are here. IndexError for a range that is not inside."""
        cdef Py_ssize_t total = 0
        cdef const uint64_t* words = <const uint64_t*>self.data
        if not 0 <= first <= end <= self.n:
            raise IndexError(f"pieces {first} to {end} of {self.n}")
        while first < end and first & 63:
            total += self.c_get(first)
            first += 1
        while end - first >= 64:
            total += population(words[first >> 6])
            first += 64
        while first < end:
            total += self.c_get(first)
            first += 1
        return total

    def copy(self):
        """An independent set of the same pieces."""
        cdef Bits twin = Bits.__new__(Bits, self.n)
        memcpy(twin.data, self.data, self.words * 8)
        memcpy(twin.blocks, self.blocks, summary_for(self.words) * 8)
        twin.count = self.count
        return twin

    def __bytes__(self):
        return (<char*>self.data)[: (self.n + 7) // 8]

    def __eq__(self, other):
        if not isinstance(other, Bits):
            return NotImplemented
        return self.n == (<Bits>other).n and bytes(self) == bytes(other)

    __hash__ = None

    def __repr__(self):
        return f"<Bits {self.count}/{self.n}>"


cdef int same_size(Py_ssize_t a, Py_ssize_t b) except -1:
    if a != b:
        raise ValueError(f"sets of {a} and of {b} pieces")
    return 0


cdef class Rarity:
    """How many peers have each piece, and the wanted pieces sorted roughly by that.

    A piece is free or taken. Free ones lie in one bitset per rank, and those that are wanted (of any
    rank but 0) also in one per class of counts (0, 1, 2, 3, 4-5, 6-8, 9-13, ...), so most HAVEs
    change a number and nothing else. A new one ranks every piece 1, and none is free. A peer that
    joins with everything is counted once, in `seeds`: it makes no piece rarer than another. The
    number of peers that have a piece is always `counts[piece] + seeds`. Holds up to 65,535 peers;
    about 6.1 bytes a piece.
    """

    def __cinit__(self, Py_ssize_t n):
        self.wanted = Bits(n)
        self.n = n
        self.words = self.wanted.words
        self.summary_words = summary_for(self.words)
        cdef size_t bitsets = ROWS * (self.words + self.summary_words) * 8
        self.memory = PyMem_Calloc(bitsets + self.words * 64 * 3 + 64, 1)
        if self.memory == NULL:
            raise MemoryError
        self.rows = <uint64_t*>line_up(self.memory)
        self.summary = self.rows + ROWS * self.words
        self.counts = <uint16_t*>(self.summary + ROWS * self.summary_words)
        self.ranks = <uint8_t*>(self.counts + self.words * 64)
        memset(self.ranks, 1, n)

    def __dealloc__(self):
        PyMem_Free(self.memory)

    # Below, `row` is 0..ROWS-1, `cls` one below CLASSES and `rank` one from there on; `piece` is
    # 0..n-1 and `word` is 0..words-1: held by the callers.

    cdef inline void _enter(self, int row, Py_ssize_t piece) noexcept:
        cdef Py_ssize_t block = piece >> 9
        self.rows[row * self.words + (piece >> 6)] |= bit_of(piece)
        self.summary[row * self.summary_words + (block >> 6)] |= (<uint64_t>1) << (block & 63)
        self.sizes[row] += 1

    cdef inline void _exit(self, int row, Py_ssize_t piece) noexcept:
        self.rows[row * self.words + (piece >> 6)] &= ~bit_of(piece)
        self.sizes[row] -= 1
        self._settle(row, piece >> 9)

    cdef inline void _settle(self, int row, Py_ssize_t block) noexcept:
        """Clears a block's summary bit if nothing is left in it."""
        cdef uint64_t* at = self.rows + row * self.words + block * BLOCK_WORDS
        if not meet(at, at):
            self.summary[row * self.summary_words + (block >> 6)] &= ~((<uint64_t>1) << (block & 63))

    cdef inline bint _idle(self, Py_ssize_t piece) noexcept:
        """Whether it is free, and of rank 0."""
        return self.rows[CLASSES * self.words + (piece >> 6)] & bit_of(piece) != 0

    cdef inline void _move(self, int old, int new, Py_ssize_t word, uint64_t mask) noexcept:
        """Moves the pieces of a mask, all of them wanted and in class `old`."""
        cdef Py_ssize_t block = word // BLOCK_WORDS
        cdef int moved = population(mask)
        self.rows[old * self.words + word] &= ~mask
        self.rows[new * self.words + word] |= mask
        self.sizes[old] -= moved
        self.sizes[new] += moved
        self.summary[new * self.summary_words + (block >> 6)] |= (<uint64_t>1) << (block & 63)
        self._settle(old, block)

    cdef void c_have(self, uint32_t piece) noexcept:
        cdef uint16_t count = self.counts[piece]
        if count == TOP:
            return
        self.counts[piece] = count + 1
        cdef int old = CLASS_OF[count]
        cdef int new = CLASS_OF[count + 1]
        if old != new and self.wanted.c_get(piece):
            self._exit(old, piece)
            self._enter(new, piece)

    cdef void _count(self, Py_ssize_t word, uint64_t mask, int step) noexcept:
        """Adds step (1 or -1) to the counts of the pieces of a mask. None may be 0 if step is -1."""
        cdef uint64_t crossing[CLASSES]
        cdef uint64_t bit
        cdef uint64_t wanted = (<uint64_t*>self.wanted.data)[word]
        cdef uint16_t* counts = self.counts + word * 64
        cdef unsigned int classes = 0
        cdef unsigned int crossed
        cdef int old
        cdef int at
        cdef uint16_t count
        cdef uint16_t after
        memset(crossing, 0, sizeof(crossing))
        while mask:  # no branch that depends on the counts: they cannot be predicted
            at = lowest(mask)
            bit = mask & (~mask + 1)
            mask ^= bit
            at ^= FLIP
            count = counts[at]
            after = <uint16_t>(count + step)
            if step > 0 and count == TOP:
                after = count
            counts[at] = after
            old = CLASS_OF[count]
            crossed = old != CLASS_OF[after]
            crossing[old] |= bit & wanted & (~(<uint64_t>crossed) + 1)
            classes |= crossed << old
        while classes:
            old = lowest(classes)
            classes &= classes - 1
            if crossing[old]:
                self._move(old, old + step, word, crossing[old])  # one step crosses one edge

    cdef void _count_all(self, int step) noexcept:
        cdef Py_ssize_t word
        cdef Py_ssize_t i
        cdef uint64_t last = 0
        for word in range(self.n >> 6):
            self._count(word, ~(<uint64_t>0), step)
        for i in range(self.n & ~63, self.n):
            last |= bit_of(i)
        if last:
            self._count(self.n >> 6, last, step)

    cdef inline int _check(self, Py_ssize_t piece) except -1:
        if not 0 <= piece < self.n:
            raise IndexError(f"piece {piece} of {self.n}")
        return 0

    def have(self, Py_ssize_t piece):
        """One more peer has this piece."""
        self._check(piece)
        self.c_have(<uint32_t>piece)

    def lost(self, Py_ssize_t piece):
        """One peer fewer has this piece. ValueError when none had it."""
        self._check(piece)
        if self.counts[piece] == 0:
            self._break_seed()
        self._count(piece >> 6, bit_of(piece), -1)

    cdef int _break_seed(self) except -1:
        """Counts one seed in every piece instead, so that it can lose some of them."""
        if self.seeds == 0:
            raise ValueError("fewer peers have this piece than are leaving it")
        self.seeds -= 1
        self._count_all(1)
        return 0

    def join(self, Bits bits not None):
        """A peer comes with these pieces."""
        cdef Py_ssize_t word
        cdef uint64_t* theirs = <uint64_t*>bits.data
        same_size(bits.n, self.n)
        if bits.count == bits.n:
            self.seeds += 1
        elif bits.count:
            for word in range(self.words):
                if theirs[word]:
                    self._count(word, theirs[word], 1)

    def leave(self, Bits bits not None):
        """A peer that has these pieces by now goes. ValueError when it cannot have been counted."""
        cdef Py_ssize_t word
        cdef uint64_t mask
        cdef uint64_t* theirs = <uint64_t*>bits.data
        same_size(bits.n, self.n)
        if bits.count == 0:
            return
        if bits.count == bits.n and self.seeds:
            self.seeds -= 1  # it, or another: the sums are the same
            return
        for word in range(self.words):
            mask = theirs[word]
            while mask:
                if self.counts[word * 64 + (lowest(mask) ^ FLIP)] == 0:
                    self._break_seed()
                    break
                mask &= mask - 1
            if mask:
                break
        for word in range(self.words):
            if theirs[word]:
                self._count(word, theirs[word], -1)

    def availability(self, Py_ssize_t piece):
        """How many peers have this piece, seeds included."""
        self._check(piece)
        return self.counts[piece] + self.seeds

    @property
    def wanted_count(self):
        """How many free pieces are of rank 1 and above."""
        return self.wanted.count

    @property
    def idle_count(self):
        """How many free pieces are of rank 0."""
        return self.sizes[CLASSES]

    cdef inline void _want(self, Py_ssize_t piece) noexcept:
        if self.ranks[piece] == 0:
            if not self._idle(piece):
                self._enter(CLASSES, piece)
        elif self.wanted.c_set(piece):
            self._enter(CLASS_OF[self.counts[piece]], piece)
            self._enter(CLASSES + self.ranks[piece], piece)

    cdef inline void _unwant(self, Py_ssize_t piece) noexcept:
        if self.ranks[piece] == 0:
            if self._idle(piece):
                self._exit(CLASSES, piece)
        elif self.wanted.c_clear(piece):
            self._exit(CLASS_OF[self.counts[piece]], piece)
            self._exit(CLASSES + self.ranks[piece], piece)

    def want(self, Py_ssize_t piece):
        """Frees a piece: `rarest`, `any` and `first` may return it, unless its rank is 0."""
        self._check(piece)
        self._want(piece)

    def want_missing(self, Bits have not None):
        """Frees every piece that is not in `have`."""
        cdef Py_ssize_t piece
        same_size(have.n, self.n)
        for piece in range(self.n):
            if not have.c_get(piece):
                self._want(piece)

    def unwant(self, Py_ssize_t piece):
        """Takes a piece, so that it is not returned any more."""
        self._check(piece)
        self._unwant(piece)

    def rank(self, Py_ssize_t piece):
        """The rank of this piece, free or taken."""
        self._check(piece)
        return self.ranks[piece]

    def arrange(self, ranks):
        """Ranks the pieces anew: a byte for each. ValueError for another size or for no rank."""
        cdef const uint8_t[::1] view = ranks
        cdef Py_ssize_t piece
        cdef bint free
        same_size(view.shape[0], self.n)
        for piece in range(self.n):
            if view[piece] >= RANKS:
                raise ValueError(f"piece {piece} has the rank {view[piece]}, above {RANKS - 1}")
        for piece in range(self.n):
            if self.ranks[piece] == view[piece]:
                continue
            free = self.wanted.c_get(piece) or self._idle(piece)
            if free:
                self._unwant(piece)
            self.ranks[piece] = view[piece]
            if free:
                self._want(piece)

    def lacking(self, Bits have not None):
        """The pieces of rank 1 and above, free or taken, that are not in `have`."""
        cdef Bits found = Bits.__new__(Bits, self.n)
        cdef Py_ssize_t piece
        same_size(have.n, self.n)
        for piece in range(self.n):
            if self.ranks[piece] and not have.c_get(piece):
                found.c_set(piece)
        return found

    cdef Py_ssize_t _scan(self, int cls, int rank, Bits bits, uint64_t seed) noexcept:
        """A free piece in bits that is in both rows, a class and a rank; -1 without any."""
        cdef Py_ssize_t start = <Py_ssize_t>((seed >> 32) % <uint64_t>(self.words // BLOCK_WORDS))
        cdef Py_ssize_t s = start >> 6
        cdef Py_ssize_t block
        cdef Py_ssize_t at
        cdef Py_ssize_t turn
        cdef uint64_t left
        cdef const uint64_t* summary = self.summary + cls * self.summary_words
        cdef const uint64_t* urgent_summary = self.summary + rank * self.summary_words
        cdef const uint64_t* ours = self.rows + cls * self.words
        cdef const uint64_t* urgent = self.rows + rank * self.words
        cdef const uint64_t* theirs = <const uint64_t*>bits.data
        # Once round; the word that holds the start is looked at twice, from it on and up to it.
        for turn in range(self.summary_words + 1):
            left = summary[s] & urgent_summary[s] & bits.blocks[s]
            if turn == 0:
                left &= ~(<uint64_t>0) << (start & 63)
            elif turn == self.summary_words:
                left &= ~(~(<uint64_t>0) << (start & 63))
            while left:
                block = s * 64 + lowest(left)
                left &= left - 1
                at = block * BLOCK_WORDS
                if meet3(ours + at, urgent + at, theirs + at):
                    return choose(ours, urgent, theirs, block, seed & 0xFFFFFFFF)
            s = s + 1 if s + 1 < self.summary_words else 0
        return -1

    cdef Py_ssize_t _compare(self, int rank, Bits bits, uint64_t seed) noexcept:
        """The rarest free piece of this rank in bits if they have few in common, -1 without any.

        -2 when there are more: then they are found sooner by class.
        """
        cdef const uint64_t* summary = self.summary + rank * self.summary_words
        cdef const uint64_t* ours = self.rows + rank * self.words
        cdef const uint64_t* theirs = <const uint64_t*>bits.data
        cdef uint64_t left
        cdef uint64_t word
        cdef Py_ssize_t s
        cdef Py_ssize_t w
        cdef Py_ssize_t first
        cdef Py_ssize_t piece
        cdef Py_ssize_t best = -1
        cdef int best_class = CLASSES
        cdef int cls
        cdef int seen = 0
        cdef int most = SOME if min(bits.count, self.sizes[rank]) <= SOME else FEW
        cdef uint64_t ties = 0
        for s in range(self.summary_words):
            left = summary[s] & bits.blocks[s]
            while left:
                first = (s * 64 + lowest(left)) * BLOCK_WORDS
                left &= left - 1
                if not meet(ours + first, theirs + first):
                    continue
                for w in range(first, first + BLOCK_WORDS):
                    word = ours[w] & theirs[w]
                    while word:
                        piece = w * 64 + (lowest(word) ^ FLIP)
                        word &= word - 1
                        seen += 1
                        cls = CLASS_OF[self.counts[piece]]
                        if cls < best_class:
                            best_class = cls
                            best = piece
                            ties = 1
                        elif cls == best_class:
                            ties += 1
                            seed = seed * 6364136223846793005u + 1442695040888963407u
                            if (seed >> 32) * ties >> 32 == 0:  # one time in `ties`
                                best = piece
                    if seen > most:
                        return -2
        return best

    cdef Py_ssize_t _rarest(self, int rank, Bits bits, uint64_t seed) noexcept:
        """A free piece of this rank in bits, of the rarest class there is, or -1."""
        cdef Py_ssize_t piece
        cdef int cls = 0
        cdef bint graded = self.sizes[rank] != self.wanted.count  # or a class is of this rank anyway
        while cls < CLASSES - 1 and self.sizes[cls] == 0:
            cls += 1
        if not graded:
            piece = self._scan(cls, cls, bits, seed)  # mostly there is one
            if piece >= 0:
                return piece
        piece = self._compare(rank, bits, seed)  # or they have little in common
        if piece > -2:
            return piece
        for cls in range(cls if graded else cls + 1, CLASSES):
            if self.sizes[cls]:
                piece = self._scan(cls, rank if graded else cls, bits, seed)
                if piece >= 0:
                    return piece
        return -1

    cdef Py_ssize_t _first(self, int rank, Bits bits) noexcept:
        """The first free piece of this rank in bits, or -1."""
        cdef const uint64_t* summary = self.summary + rank * self.summary_words
        cdef const uint64_t* ours = self.rows + rank * self.words
        cdef const uint64_t* theirs = <const uint64_t*>bits.data
        cdef uint64_t left
        cdef uint64_t word
        cdef Py_ssize_t s
        cdef Py_ssize_t w
        cdef Py_ssize_t first
        cdef Py_ssize_t piece
        for s in range(self.summary_words):
            left = summary[s] & bits.blocks[s]
            while left:
                first = (s * 64 + lowest(left)) * BLOCK_WORDS
                left &= left - 1
                for w in range(first, first + BLOCK_WORDS):
                    word = ours[w] & theirs[w]
                    if word:
                        piece = w * 64
                        while not word & bit_of(piece):
                            piece += 1
                        return piece
        return -1

    def rarest(self, Bits bits not None, uint64_t seed):
        """A wanted piece in bits of the highest rank, and of the rarest class of that, or -1.

        Ties go by the 64-bit seed.
        """
        cdef Py_ssize_t piece
        cdef int rank
        same_size(bits.n, self.n)
        if bits.count:
            seed = mix(seed)
            for rank in range(ROWS - 1, CLASSES, -1):
                if self.sizes[rank]:
                    piece = self._rarest(rank, bits, seed)
                    if piece >= 0:
                        return piece
        return -1

    def any(self, Bits bits not None, uint64_t seed):
        """A wanted piece in bits of the highest rank, whatever its rarity, or -1.

        The 64-bit seed says which.
        """
        cdef Py_ssize_t piece
        cdef int rank
        same_size(bits.n, self.n)
        if bits.count:
            seed = mix(seed)
            for rank in range(ROWS - 1, CLASSES, -1):
                if self.sizes[rank]:
                    piece = self._scan(rank, rank, bits, seed)
                    if piece >= 0:
                        return piece
        return -1

    def first(self, Bits bits not None):
        """The wanted piece in bits of the highest rank with the lowest index, or -1."""
        cdef Py_ssize_t piece
        cdef int rank
        same_size(bits.n, self.n)
        if bits.count:
            for rank in range(ROWS - 1, CLASSES, -1):
                if self.sizes[rank]:
                    piece = self._first(rank, bits)
                    if piece >= 0:
                        return piece
        return -1

    def __sizeof__(self):
        cdef Py_ssize_t bitsets = (ROWS * (self.words + self.summary_words) + self.words) * 8
        return object.__sizeof__(self) + bitsets + self.words * 64 * 3
