//! Files on their way to another home, on this file system or on another one.
//!
//! First every file is made ready: what must be copied is, while it goes on being used; writes that
//! come meanwhile are noted and copied again. Then one after the other changes its home, in one
//! rename. What was copied is taken away last. Until the first rename, everything can be called off.

use std::ffi::OsStr;
use std::fs::{File, FileTimes};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::{Home, Place, Places, Spot};
use crate::copying::{Stretch, copy};
use crate::platform::{Access, Errno, Folder, NOT_FOUND};
use crate::workers::locked;

const CROSS_DEVICE: Errno = Errno(libc::EXDEV);

/// A home that a file is on the way to.
pub(super) struct Move {
    home: Home,
    copy: Option<Copy>,
}

/// A copy of a file, under another name.
struct Copy {
    file: File,
    folder: Folder,
    /// What was written to the file since the copy was begun: offsets and lengths.
    stale: Mutex<Vec<(u64, u64)>>,
}

/// What a file left behind: its old home, and the name that its old bytes still have there.
pub(super) struct Left {
    home: Home,
    spot: Option<Spot>,
}

impl Place {
    /// Notes that the file was written to.
    pub(crate) fn wrote(&self, offset: u64, length: u64) {
        if let Some(copy) = self.next.as_ref().and_then(|next| next.copy.as_ref()) {
            locked(&copy.stale).push((offset, length));
        }
    }

    /// The file, if it is on the disk.
    fn source(&self) -> Result<Option<(File, Spot)>, Errno> {
        match *locked(&self.spot) {
            Spot::Aside => Ok(None),
            spot => self.find(spot, Access::Read),
        }
    }

    /// Moves to the next home; whether there is something on the disk. Fails with EXDEV, and nothing has
    /// happened, where a copy must be made.
    fn switch(&mut self, temporary: &OsStr) -> Result<bool, Errno> {
        let Some(next) = &self.next else {
            return Ok(false);
        };
        let Some((source, spot)) = self.source()? else {
            let is_link = self.home.link.is_some() && self.home.is_taken()?;
            self.leave(is_link.then_some(Spot::Final), None);
            if is_link {
                self.make_link()?;
            }
            return Ok(is_link);
        };
        let (name, new_spot) = next.home.name(spot)?;
        let old = match &next.copy {
            Some(copy) => {
                copy.renew(&source)?;
                copy.seal(&source)?;
                copy.folder.rename(temporary, &copy.folder, name)?;
                Some(spot)
            }
            None => {
                let folder = next.home.folder(true)?;
                if !folder.same_device(&source)? {
                    return Err(CROSS_DEVICE);
                }
                let (now, _) = self.home.name(spot)?;
                self.home.folder(false)?.rename(now, &folder, name)?;
                None
            }
        };
        self.leave(old, Some(new_spot));
        Ok(true)
    }

    fn leave(&mut self, old: Option<Spot>, new: Option<Spot>) {
        if let Some(next) = self.next.take() {
            self.changed();
            let home = std::mem::replace(&mut self.home, next.home);
            self.left = Some(Left { home, spot: old });
            if let Some(spot) = new {
                *locked(&self.spot) = spot;
            }
        }
    }
}

impl Copy {
    /// Copies again what was written since.
    fn renew(&self, source: &File) -> Result<(), Errno> {
        let stale = std::mem::take(&mut *locked(&self.stale));
        for (offset, length) in stale {
            let stretch = Stretch {
                from: offset,
                to: offset,
                length,
            };
            copy(source, &self.file, stretch, |_| Ok(()))?;
        }
        Ok(())
    }

    /// Makes the copy like its source in length, mode and time, and durable.
    fn seal(&self, source: &File) -> Result<(), Errno> {
        let now = source.metadata()?;
        self.file.set_len(now.len())?;
        self.file.set_permissions(now.permissions())?;
        let times = FileTimes::new().set_modified(now.modified()?);
        self.file.set_times(times)?;
        Ok(self.file.sync_all()?)
    }
}

impl Places {
    /// Gives a file another home to go to. Fails (EEXIST) where something lies there already.
    pub(crate) fn aim(&self, file: usize, home: Home) -> Result<(), Errno> {
        let mut place = self.alone(file);
        if place.home.is(&home) {
            return Ok(());
        }
        place.look()?;
        if Some(file) == self.aside() {
            home.remove(Spot::Final)?; // of an earlier time, and nobody's any more
        } else if home.is_taken()? {
            return Err(Errno(libc::EEXIST));
        }
        let link = place.home.link.clone(); // files lie to each other as before
        let home = Home { link, ..home };
        place.next = Some(Move { home, copy: None });
        Ok(())
    }

    /// How many bytes have to be copied; `None` where the file can be renamed.
    pub(crate) fn to_copy(&self, file: usize) -> Result<Option<u64>, Errno> {
        let place = self.hold(file, false)?;
        let (Some(next), Some((source, _))) = (&place.next, place.source()?) else {
            return Ok(None);
        };
        let same = next.home.folder(true)?.same_device(&source)?;
        Ok((!same).then_some(source.metadata()?.len()))
    }

    /// Copies a file to where it is going. It is used, and written to, meanwhile; `done` is told how
    /// many bytes are through, and may call it off.
    pub(crate) fn prepare(
        &self,
        file: usize,
        temporary: &OsStr,
        done: impl FnMut(u64) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (source, target) = {
            let mut place = self.alone(file);
            let Some((source, _)) = place.source()? else {
                return Ok(());
            };
            let Some(next) = &mut place.next else {
                return Ok(());
            };
            let folder = next.home.folder(true)?;
            match folder.remove(temporary) {
                Err(NOT_FOUND) => {}
                other => other?, // what a kill has left
            }
            let target = folder.open(temporary, Access::Write, true)?;
            next.copy = Some(Copy {
                file: target.try_clone()?,
                folder,
                stale: Mutex::default(),
            });
            (source, target)
        };
        let stretch = Stretch {
            from: 0,
            to: 0,
            length: source.metadata()?.len(),
        };
        copy(&source, &target, stretch, done)?;
        if let Some(next) = &self.hold(file, false)?.next
            && let Some(copy) = &next.copy
        {
            copy.renew(&source)?; // most of it without holding anybody up
        }
        Ok(target.sync_data()?)
    }

    /// Moves a file to its next home. Whether it had one.
    pub(crate) fn switch(&self, file: usize, temporary: &OsStr) -> Result<bool, Errno> {
        if self.hold(file, false)?.next.is_none() {
            return Ok(false);
        }
        let mut done = self.alone(file).switch(temporary);
        if done == Err(CROSS_DEVICE) {
            // It was made since the others were copied, or only the rename knows of the border.
            self.prepare(file, temporary, |_| Ok(()))?;
            done = self.alone(file).switch(temporary);
        }
        if done? {
            locked(&self.named).insert(file);
        }
        self.moves.fetch_add(1, Ordering::AcqRel);
        Ok(true)
    }

    /// Says what a move that was cut short has left behind of a file.
    pub(crate) fn leaves(&self, file: usize, home: Home, part: bool) {
        let spot = Some(if part { Spot::Part } else { Spot::Final });
        self.alone(file).left = Some(Left { home, spot });
    }

    /// Takes away what a file that has moved left behind.
    pub(crate) fn release(&self, file: usize) -> Result<(), Errno> {
        let mut place = self.alone(file);
        let Some(Left { home, spot }) = &place.left else {
            return Ok(());
        };
        if let Some(spot) = spot {
            home.remove(*spot)?;
        }
        home.prune();
        place.left = None;
        Ok(())
    }

    /// Calls a move off, of a file that has not switched.
    pub(crate) fn call_off(&self, file: usize, temporary: &OsStr) {
        if let Some(next) = self.alone(file).next.take() {
            if let Some(copy) = next.copy {
                let _ = copy.folder.remove(temporary);
            }
            next.home.prune();
        }
    }
}
