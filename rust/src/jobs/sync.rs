//! Sync: what was written becomes durable.

use crate::files::Fault;
use crate::platform::{Errno, NOT_FOUND, will_sync};
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
        // All at once, so that the file system writes its journal once and not for each of them.
        for &file in written.iter().filter(|_| written.len() > 1) {
            if let Ok(open) = self.files.open_place(file) {
                will_sync(&open.file);
            }
        }
        for file in written {
            if let Err(errno) = self.sync_file(file) {
                self.recent.clear();
                locked(&self.dirt).lost.insert(file, errno);
            }
        }
        if let Some((&file, &errno)) = locked(&self.dirt).lost.first_key_value() {
            return Err(Fault::whole(file, "sync")(errno));
        }
        let names = self.files.places.sync();
        names.map_err(|(file, errno)| Fault::whole(file, "sync")(errno))
    }

    /// Does not hold the place meanwhile: the device may take its time, and changes must not wait.
    fn sync_file(&self, place: usize) -> Result<(), Errno> {
        let places = &self.files.places;
        loop {
            let moves = places.moves();
            let done = self.files.open_place(place).and_then(|open| {
                open.file.sync_data()?;
                self.files.intact(place, &open.file)?;
                match self.files.is_named(place, &open.file)? {
                    true => Ok(()),
                    false => Err(NOT_FOUND), // somebody put another one there
                }
            });
            match done {
                // It is somewhere else now, and was synced on the way.
                Err(NOT_FOUND) if places.moves() != moves => {}
                // Nothing is kept aside any more. (If it should be, no claim will hold without it.)
                Err(NOT_FOUND) if Some(place) == places.aside() => return Ok(()),
                done => return done,
            }
        }
    }
}
