//! Sync: what was written becomes durable.

use crate::files::Fault;
use crate::layout::Span;
use crate::platform::{Access, Errno};
use crate::storage::Storage;
use crate::workers::locked;

impl Storage {
    /// Flushes each file that was written since the last sync. A file that could not be flushed
    /// stays lost: its data is uncertain until it has been checked through a fresh storage.
    pub(crate) fn run_sync(&self) -> Result<(), Fault> {
        if self.files.writable {
            self.make_empties()?;
        }
        let written = std::mem::take(&mut locked(&self.dirt).written);
        for file in written {
            if let Err(errno) = self.sync_file(file) {
                locked(&self.dirt).lost.insert(file, errno);
            }
        }
        match locked(&self.dirt).lost.first_key_value() {
            None => Ok(()),
            Some((&file, &errno)) => Err(Fault::at(
                Span {
                    file,
                    offset: 0,
                    length: 0,
                },
                "sync",
            )(errno)),
        }
    }

    fn sync_file(&self, file: usize) -> Result<(), Errno> {
        let open = self.files.open(file, Access::Read)?;
        open.sync_data()?;
        crate::platform::still_there(&open)
    }
}
