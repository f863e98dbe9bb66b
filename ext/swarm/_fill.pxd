"""One piece under way, for C callers: `from swarm._fill cimport BLOCK, RECEIVED, Fill`."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    BLOCK = 16384    # bytes of a block, the last one of a piece excepted
    RECEIVED = 255   # the state of a block that is here

cdef class Fill:
    cdef readonly uint32_t piece
    cdef readonly uint32_t length
    cdef readonly uint32_t part_size
    cdef readonly uint32_t parts
    cdef readonly uint32_t blocks
    cdef readonly uint32_t missing  # Blocks that are not here yet.
    cdef readonly set contributors  # Keys of the wires whose bytes went into it.
    cdef readonly list wires  # The wires that fetch it now.
    cdef public bint endgame  # Blocks may be asked from several peers at once.
    cdef public bint exclusive  # One peer only: it is on parole, or it is to be found out.
    cdef long last_key
    cdef uint32_t cursor, attached, taken, per_part
    cdef uint32_t padded_part, padded_from  # the part where padding begins, and its first block of it
    cdef uint32_t to_come  # blocks that were missing at the start
    cdef list slots
    cdef Py_buffer* views
    cdef uint8_t* state      # per block: wires asking for it, or RECEIVED
    cdef uint32_t* part_missing

    cdef uint32_t c_size(self, uint32_t block) noexcept
    cdef long c_next(self) noexcept
    cdef void c_release(self, uint32_t block) noexcept
    cdef uint8_t* c_target(self, uint32_t block) noexcept
    cdef bint c_received(self, uint32_t block) noexcept
