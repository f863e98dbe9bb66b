//! Change: files get other names or places, or their space.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::files::Fault;
use crate::places::Home;
use crate::platform::{self, Access, CANCELED};
use crate::ring::Outcome;
use crate::storage::Storage;
use crate::workers::guarded;

/// Bytes between two reports of how far a move is.
const REPORT: u64 = 16 << 20;

pub(crate) struct Change {
    pub(crate) job: u64,
    pub(crate) storage: Arc<Storage>,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// These files are complete.
    Finish(Vec<usize>),
    /// The space that these files need is to be theirs.
    Allocate(Vec<usize>),
    /// These files, in order, are not to be on the disk, and all others are.
    Unwant(Vec<usize>),
    /// Make ready to move files to other homes: this takes long.
    Prepare(Vec<(usize, Home)>),
    /// Move what was made ready.
    Switch,
    /// Take away what they left behind.
    Release,
    /// Take files away, under their part names where it says so.
    Remove(Vec<(usize, bool)>),
}

impl Change {
    pub(crate) fn is_long(&self) -> bool {
        matches!(self.what, What::Prepare(_))
    }

    pub(crate) fn run(self) {
        let Self { job, storage, what } = self;
        let done = guarded(|| match what {
            What::Finish(files) => storage.finish(&files),
            What::Allocate(files) => storage.allocate(&files),
            What::Unwant(files) => storage.unwant(&files),
            What::Prepare(homes) => storage.prepare(job, homes),
            What::Switch => storage.switch(),
            What::Release => storage.release(),
            What::Remove(files) => storage.remove(&files),
        });
        let outcome = done.map_or_else(Outcome::Error, |()| Outcome::Changed);
        storage.engine.ring.push(job, outcome);
    }
}

/// Does it for all, and tells of the first that failed.
fn each<T>(
    all: impl IntoIterator<Item = T>,
    act: impl FnMut(T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    all.into_iter().map(act).fold(Ok(()), Result::and)
}

impl Storage {
    /// What a file is called while it is copied: a name that no torrent gives.
    fn temporary(&self, file: usize) -> OsString {
        format!(".{}.{file}.moving", self.mark).into()
    }

    fn finish(&self, files: &[usize]) -> Result<(), Fault> {
        each(files, |&file| {
            let done = self.files.places.finish(file);
            done.map_err(Fault::whole(file, "rename"))
        })
    }

    fn unwant(&self, unwanted: &[usize]) -> Result<(), Fault> {
        let (files, places) = (&self.files, &self.files.places);
        let any = match places.aside() {
            Some(aside) => (places.is_any_aside()).map_err(Fault::whole(aside, "open"))?,
            None => false,
        };
        let mut back = Vec::new();
        for file in 0..files.count() {
            let wanted = unwanted.binary_search(&file).is_err();
            let held = places.want(file, wanted);
            if held.map_err(Fault::whole(file, "keep"))? || any {
                back.push(file);
            }
        }
        let brought = each(back, |file| {
            let layout = &files.layout;
            let (start, length) = (layout.file_offset(file), layout.file_length(file));
            let done = places.bring(file, start, length, &self.temporary(file));
            done.map_err(Fault::whole(file, "keep"))
        });
        self.empties_made.store(!files.writable, Ordering::Release); // those, too, were held back
        brought?;
        let Some(aside) = places.aside() else {
            return Ok(());
        };
        let full = (0..files.count())
            .filter(|&file| files.layout.file_length(file) > 0 && !files.is_pad(file));
        if (places.drop_aside(full)).map_err(Fault::whole(aside, "delete"))? {
            files.forget(aside);
        }
        Ok(())
    }

    fn prepare(&self, job: u64, homes: Vec<(usize, Home)>) -> Result<(), Fault> {
        let files: Vec<usize> = homes.iter().map(|(file, _)| *file).collect();
        let done = self.make_ready(job, homes);
        if done.is_err() {
            for file in files {
                self.files.places.call_off(file, &self.temporary(file));
            }
        }
        done
    }

    fn make_ready(&self, job: u64, homes: Vec<(usize, Home)>) -> Result<(), Fault> {
        let places = &self.files.places;
        let files: Vec<usize> = homes.iter().map(|(file, _)| *file).collect();
        for (file, home) in homes {
            places.aim(file, home).map_err(Fault::whole(file, "move"))?;
        }
        let (mut total, mut moved, mut told) = (0, 0, 0);
        let mut copied = Vec::new();
        for file in files {
            let size = places.to_copy(file).map_err(Fault::whole(file, "move"))?;
            if let Some(size) = size {
                total += size;
                copied.push(file);
            }
        }
        for file in copied {
            let count = |bytes| {
                moved += bytes;
                if moved - told >= REPORT || moved == total {
                    told = moved;
                    let outcome = Outcome::Moved { moved, total };
                    self.engine.ring.push(job, outcome);
                }
                let over = self.is_closed() || self.engine.is_closing();
                if over { Err(CANCELED) } else { Ok(()) }
            };
            let done = places.prepare(file, &self.temporary(file), count);
            done.map_err(Fault::whole(file, "move"))?;
        }
        Ok(())
    }

    fn switch(&self) -> Result<(), Fault> {
        for file in 0..self.files.places.count() {
            let done = self.files.places.switch(file, &self.temporary(file));
            // Whatever came of it, descriptors of the old file must not be used.
            if done.map_err(Fault::whole(file, "move"))? {
                self.files.forget(file);
            }
        }
        Ok(())
    }

    fn release(&self) -> Result<(), Fault> {
        each(0..self.files.places.count(), |file| {
            let done = self.files.places.release(file);
            done.map_err(Fault::whole(file, "delete"))
        })
    }

    fn remove(&self, files: &[(usize, bool)]) -> Result<(), Fault> {
        each(files, |&(file, part)| {
            let done = self.files.places.remove(file, part);
            self.files.forget(file);
            done.map_err(Fault::whole(file, "delete"))
        })
    }

    /// Reserves what files need on the disk, up to the first for which that fails.
    fn allocate(&self, files: &[usize]) -> Result<(), Fault> {
        let allocate = |&file: &usize| {
            let used = self.files.take(file, Access::Write, false);
            let used = used.map_err(Fault::whole(file, "open"))?;
            let length = self.files.layout.file_length(file);
            if length > 0 && used.place == file {
                let done = platform::allocate(&used.file.file, length);
                done.map_err(Fault::whole(file, "allocate"))?;
            }
            Ok(())
        };
        files.iter().try_for_each(allocate)
    }
}
