//! Read: requests become one slot of ready-to-send frames.

use std::sync::Arc;

use crate::files::Fault;
use crate::frames::{self, Request};
use crate::platform::Errno;
use crate::ring::Outcome;
use crate::slot::{NoMemory, Slot};
use crate::storage::Storage;
use crate::workers::guarded;

pub(crate) struct Read {
    pub(crate) job: u64,
    pub(crate) storage: Arc<Storage>,
    pub(crate) requests: Vec<Request>,
}

impl Read {
    /// How large a slot the answer takes.
    pub(crate) fn size(&self) -> usize {
        frames::size(&self.requests)
    }

    pub(crate) fn run(&self, slot: Result<Slot, NoMemory>) -> Outcome {
        let done = guarded(|| {
            let mut slot = slot.map_err(|NoMemory| Fault::of(Errno(libc::ENOMEM), "allocate"))?;
            self.storage.fill(&self.requests, &mut slot, false)?;
            Ok(Outcome::Read { slot })
        });
        done.unwrap_or_else(Outcome::Error)
    }
}

impl Storage {
    /// The answer without waiting for the disk, a thread or memory; `None` if that cannot be.
    pub(crate) fn read_cached(&self, requests: &[Request]) -> Option<Slot> {
        if self.engine.reads_waiting() {
            return None;
        }
        let pool = &self.engine.read_pool;
        let mut slot = pool.checkout(frames::size(requests)).ok()??;
        self.fill(requests, &mut slot, true).ok()?;
        Some(slot)
    }

    /// Writes the frames into `slot`, which has exactly their size.
    fn fill(&self, requests: &[Request], slot: &mut Slot, cached: bool) -> Result<(), Fault> {
        let bytes = slot.bytes_mut();
        frames::write_headers(requests, bytes);
        let layout = &self.files.layout;
        let mut chunks = frames::chunks(requests, layout);
        chunks.retain(|chunk| {
            let into = &mut bytes[chunk.target..][..chunk.length];
            !self.recent.copy(chunk.source, into)
        });
        let start = bytes.as_mut_ptr();
        let end = bytes.len();
        for run in frames::runs(&chunks) {
            let buffers = run
                .iter()
                .map(|chunk| {
                    assert!(chunk.target + chunk.length <= end);
                    // SAFETY: within the slot, which is ours alone; each chunk is the payload of
                    // another frame, so no two of them overlap.
                    unsafe { std::slice::from_raw_parts_mut(start.add(chunk.target), chunk.length) }
                })
                .collect();
            self.files.read(run[0].source, buffers, cached)?;
        }
        Ok(())
    }
}
