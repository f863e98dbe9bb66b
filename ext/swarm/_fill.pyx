"""One piece under way: the memory it goes to, which blocks are here, and which are asked for.

The wires (`swarm._wire`) copy blocks into it; the engine gives it slots and takes full ones. All fills of
one swarm belong to one thread, the event loop's.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

BLOCK_SIZE = BLOCK


cdef class Fill:
    """One piece under way: its slots, which blocks are here, and which are asked for.

    A piece is a row of parts of `part_size` bytes, one slot each, so that memory is bound by what is
    in flight and not by the piece length. `attach` gives the next part its slot; `take_ready` hands
    full parts out in order. Several wires may share a fill.

    The last `padding` bytes of the piece are zeros that nobody has to send (BEP 47): blocks of nothing
    else are here from the start, where their part has other bytes as well.
    """

    def __cinit__(self, uint32_t piece, uint32_t length, uint32_t part_size, uint32_t padding=0):
        if length == 0 or part_size == 0 or (part_size % BLOCK and part_size < length):
            raise ValueError("a part is a whole number of blocks, or the whole piece")
        if padding >= length:
            raise ValueError("a piece is not all padding")
        self.piece = piece
        self.length = length
        self.part_size = part_size
        self.parts = (length - 1) // part_size + 1
        self.blocks = (length - 1) // BLOCK + 1
        self.per_part = (part_size - 1) // BLOCK + 1
        self.missing = self.blocks
        self.contributors = set()
        self.wires = []
        self.slots = [None] * self.parts
        self.last_key = -1
        self.views = <Py_buffer*>calloc(self.parts, sizeof(Py_buffer))
        self.state = <uint8_t*>calloc(self.blocks, 1)
        self.part_missing = <uint32_t*>calloc(self.parts, sizeof(uint32_t))
        if not self.views or not self.state or not self.part_missing:
            raise MemoryError
        cdef uint32_t i
        for i in range(self.parts):
            self.part_missing[i] = min(self.per_part, self.blocks - i * self.per_part)
        cdef uint32_t data = length - padding
        self.padded_part = (data - 1) // part_size
        self.padded_from = (data - 1) // BLOCK + 1
        for i in range(self.padded_from, min((self.padded_part + 1) * self.per_part, self.blocks)):
            self.c_received(i)
        self.to_come = self.missing

    def __dealloc__(self):
        cdef uint32_t i
        if self.views:
            for i in range(self.taken, self.attached):
                PyBuffer_Release(&self.views[i])
        free(self.views)
        free(self.state)
        free(self.part_missing)

    @property
    def wants_slot(self):
        """Whether a part is still without its slot."""
        return self.attached < self.parts

    @property
    def next_offset(self):
        """Where in the piece the next part begins that wants a slot."""
        return self.attached * self.part_size

    @property
    def slot_size(self):
        """Bytes of the next part that wants a slot."""
        return min(self.part_size, self.length - self.attached * self.part_size)

    @property
    def has_free(self):
        """Whether a block with a slot is asked from nobody."""
        return self.c_next() >= 0

    @property
    def done(self):
        """Whether all blocks are here."""
        return self.missing == 0

    @property
    def untouched(self):
        """Whether no block has come yet."""
        return self.missing == self.to_come

    def attach(self, slot):
        """Gives the next part its slot: a writable buffer of at least `slot_size` bytes."""
        if self.attached >= self.parts:
            raise ValueError("every part has its slot")
        cdef uint32_t i = self.attached
        cdef uint32_t size = min(self.part_size, self.length - i * self.part_size)
        cdef uint32_t used
        PyObject_GetBuffer(slot, &self.views[i], PyBUF_SIMPLE | PyBUF_WRITABLE)
        if self.views[i].len < <Py_ssize_t>size:
            PyBuffer_Release(&self.views[i])
            raise ValueError("the slot is too small for its part")
        if i == self.padded_part:
            used = min(size, (self.padded_from - i * self.per_part) * BLOCK)
            memset(<uint8_t*>self.views[i].buf + used, 0, size - used)
        self.slots[i] = slot
        self.attached += 1

    def take_ready(self):
        """Full parts in order, each once: a list of (offset in the piece, slot, length)."""
        ready = []
        cdef uint32_t i = self.taken
        while i < self.attached and self.part_missing[i] == 0:
            offset = i * self.part_size
            ready.append((offset, self.slots[i], min(self.part_size, self.length - offset)))
            # From here on the slot belongs to whoever took it; no block of it is written again.
            PyBuffer_Release(&self.views[i])
            self.slots[i] = None
            i += 1
        self.taken = i
        return ready

    cdef uint32_t c_size(self, uint32_t block) noexcept:
        return min(<uint32_t>BLOCK, self.length - block * BLOCK)

    cdef long c_next(self) noexcept:
        # Invariant: no block below `cursor` is free, so the scan never goes back.
        cdef uint32_t limit = min(self.blocks, self.attached * self.per_part)
        while self.cursor < limit and self.state[self.cursor]:
            self.cursor += 1
        return <long>self.cursor if self.cursor < limit else -1

    cdef void c_release(self, uint32_t block) noexcept:
        if self.state[block] != RECEIVED and self.state[block]:
            self.state[block] -= 1
            if self.state[block] == 0 and block < self.cursor:
                self.cursor = block

    cdef uint8_t* c_target(self, uint32_t block) noexcept:
        # Where the block's payload goes; NULL when it is here already. Invariant: a block that is not
        # RECEIVED keeps its part's `part_missing` above zero, so its view has not been released.
        if self.state[block] == RECEIVED:
            return NULL
        cdef uint32_t part = block // self.per_part
        return <uint8_t*>self.views[part].buf + (block - part * self.per_part) * BLOCK

    cdef bint c_received(self, uint32_t block) noexcept:
        # True when this block completed its part.
        self.state[block] = RECEIVED
        self.missing -= 1
        cdef uint32_t part = block // self.per_part
        self.part_missing[part] -= 1
        return self.part_missing[part] == 0
