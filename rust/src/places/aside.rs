//! Which files are wanted, and what is kept aside of the others.

use std::ffi::OsStr;

use super::{Places, Spot};
use crate::copying::{Stretch, copy, has_data};
use crate::platform::{self, Access, Errno, NOT_FOUND};
use crate::workers::locked;

impl Places {
    /// Says whether a file is to be on the disk. One that is there stays there.
    pub(crate) fn want(&self, file: usize, wanted: bool) {
        let wanted = wanted || self.aside().is_none();
        if self.is_wanted(file) != wanted {
            self.alone(file).wanted = wanted;
        }
    }

    /// Is anything kept aside?
    pub(crate) fn is_any_aside(&self) -> Result<bool, Errno> {
        let Some(at) = self.aside() else {
            return Ok(false);
        };
        let aside = self.hold(at, false)?;
        Ok(aside.find(Spot::Final, Access::Read)?.is_some())
    }

    /// Takes what is kept aside of a wanted file, `length` bytes from `start` on, to a place of its own:
    /// as `temporary` first, so that there is always one place that has all of it.
    pub(crate) fn bring(
        &self,
        file: usize,
        start: u64,
        length: u64,
        temporary: &OsStr,
    ) -> Result<(), Errno> {
        let place = self.alone(file);
        let Some(at) = self.aside() else {
            return Ok(());
        };
        if !place.wanted || matches!(place.look()?, Spot::Final | Spot::Part) {
            return Ok(());
        }
        let aside = self.hold(at, false)?;
        let source = aside.find(Spot::Final, Access::Write)?.map(|found| found.0);
        let Some(source) = source else {
            *locked(&place.spot) = Spot::Unknown;
            return Ok(());
        };
        if !has_data(&source, start, length)? {
            *locked(&place.spot) = Spot::Unknown;
            return Ok(());
        }
        let folder = place.home.folder(true)?;
        match folder.remove(temporary) {
            Err(NOT_FOUND) => {}
            other => other?, // what a kill has left
        }
        let target = folder.open(temporary, Access::Write, true)?;
        let wanted = if self.parts { Spot::Part } else { Spot::Final };
        let (name, spot) = place.home.name(wanted)?;
        let stretch = Stretch {
            from: start,
            to: 0,
            length,
        };
        let done = copy(&source, &target, stretch, |_| Ok(()))
            .and_then(|_| Ok(target.sync_data()?))
            .and_then(|()| folder.rename(temporary, &folder, name))
            .and_then(|()| folder.sync());
        if done.is_err() {
            let _ = folder.remove(temporary);
            return done;
        }
        *locked(&place.spot) = spot;
        locked(&self.named).insert(file);
        platform::punch(&source, start, length);
        Ok(())
    }

    /// Takes the file for what is kept aside away, unless it is needed for one of `files`, which are
    /// those with bytes. Whether it is gone.
    pub(crate) fn drop_aside(&self, files: impl Iterator<Item = usize>) -> Result<bool, Errno> {
        let Some(at) = self.aside() else {
            return Ok(false);
        };
        for file in files {
            if self.hold(file, false)?.is_apart()? {
                return Ok(false);
            }
        }
        let aside = self.alone(at);
        aside.home.remove(Spot::Final)?;
        *locked(&aside.spot) = Spot::Unknown;
        Ok(true)
    }
}
