//! Completions on their way to the event loop: pushed by any thread, drained by one.

use std::io;
use std::sync::Mutex;

use crate::files::Fault;
use crate::notify::Wake;
use crate::slot::Slot;
use crate::workers::locked;

pub(crate) struct Completion {
    pub(crate) job: u64,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// A part of a piece is written; more parts follow.
    Written {
        piece: u32,
        offset: u32,
    },
    /// A whole piece is right, and written.
    Verified {
        piece: u32,
    },
    /// A whole piece has the wrong hash.
    Failed {
        piece: u32,
    },
    Read {
        slot: Slot,
    },
    /// Which of `count` pieces from `first` on are right (wire bit order).
    Checked {
        first: u32,
        bits: Vec<u8>,
        count: u32,
    },
    CheckDone,
    Synced,
    Changed,
    /// Bytes of files that are being copied, so far and in all.
    Moved {
        moved: u64,
        total: u64,
    },
    Error(Fault),
}

pub(crate) struct Ring {
    waiting: Mutex<Vec<Completion>>,
    wake: Wake,
}

impl Ring {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            waiting: Mutex::default(),
            wake: Wake::new()?,
        })
    }

    /// The descriptor that is readable while completions wait.
    pub(crate) fn handle(&self) -> u64 {
        self.wake.handle()
    }

    /// Wakes the loop only if it has nothing to drain yet: one wake-up for each batch.
    pub(crate) fn push(&self, job: u64, outcome: Outcome) {
        let mut waiting = locked(&self.waiting);
        waiting.push(Completion { job, outcome });
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            self.wake.signal();
        }
    }

    /// Makes the descriptor readable although nothing is waiting.
    pub(crate) fn nudge(&self) {
        self.wake.signal();
    }

    pub(crate) fn drain(&self) -> Vec<Completion> {
        // In this order: what is pushed after the swap finds the ring empty, and signals again.
        self.wake.clear();
        std::mem::take(&mut *locked(&self.waiting))
    }
}
