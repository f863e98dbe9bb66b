//! Which files are wanted, and what is kept aside of the others.

use std::ffi::OsStr;

use super::{Places, Spot};
use crate::copying::{Stretch, copy, has_data};
use crate::platform::{self, Access, Errno, NOT_FOUND};
use crate::workers::locked;

impl Places {
    /// Says whether a file is to be on the disk. One that is there stays there. Whether it has to be
    /// brought: until then its bytes go on being kept aside, so that nobody makes it without those
    /// that are there.
    pub(crate) fn want(&self, file: usize, wanted: bool) -> Result<bool, Errno> {
        let wanted = wanted || self.aside().is_none();
        if self.pads[file] || self.is_wanted(file) == wanted {
            return Ok(false);
        }
        let mut place = self.alone(file);
        place.wanted = wanted;
        if !wanted || matches!(place.look()?, Spot::Final | Spot::Part) {
            return Ok(false);
        }
        *locked(&place.spot) = Spot::Aside;
        Ok(true)
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
        let mut place = self.alone(file);
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
        place.changed();
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
        let mut aside = self.alone(at);
        aside.home.remove(Spot::Final)?;
        aside.changed();
        *locked(&aside.spot) = Spot::Unknown;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::places::{Home, Place, Root};

    /// One file, which is not wanted, and the file for what is kept aside.
    fn places(folder: &Path) -> Places {
        let place = |name: &str, wanted| {
            let home = Home {
                root: Root::new(folder.into()),
                path: vec![name.into()],
                part: None,
                link: None,
            };
            Place::new(home, wanted)
        };
        Places::new(
            vec![place("file", false)],
            Some(place("aside", true)),
            false,
        )
    }

    fn is_apart(places: &Places) -> bool {
        let place = places.hold(0, true).unwrap();
        places.open(0, &place, Access::Write).unwrap().is_none()
    }

    #[test]
    fn a_wanted_file_is_made_when_it_was_brought_and_not_before() {
        let folder = std::env::temp_dir().join(format!("swarm-aside-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("aside"), b"bytes").unwrap();
        let places = places(&folder);
        assert!(places.want(0, true).unwrap());
        assert!(is_apart(&places), "or it would be made without its bytes");
        assert!(!folder.join("file").exists());
        places.bring(0, 1, 3, OsStr::new("temporary")).unwrap();
        assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"yte");
        assert!(!is_apart(&places));
        assert!(!places.want(0, false).unwrap());
        assert!(!is_apart(&places), "what is there stays there");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_wanted_file_without_bytes_is_made_when_it_is_written() {
        let folder = std::env::temp_dir().join(format!("swarm-none-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let places = places(&folder);
        assert!(places.want(0, true).unwrap());
        places.bring(0, 1, 3, OsStr::new("temporary")).unwrap();
        assert!(!folder.join("file").exists());
        assert!(!is_apart(&places));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
