//! The names that a file has, or is to have.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::Spot;
use crate::platform::{Errno, Folder, Make, NOT_FOUND};
use crate::workers::locked;

/// The folder that a torrent was put into.
pub(crate) struct Root {
    pub(super) path: PathBuf,
    /// It was there once: if it is gone now it is not made again (an unplugged disk).
    was_there: AtomicBool,
    /// The folders above it, until they were synced once: somebody may have made it just now.
    above: Mutex<Vec<PathBuf>>,
}

impl Root {
    pub(crate) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            was_there: AtomicBool::new(path.is_dir()),
            above: Mutex::new(path.ancestors().skip(1).map(PathBuf::from).collect()),
            path,
        })
    }

    /// Makes it durable that this folder is there.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        let above = std::mem::take(&mut *locked(&self.above));
        let sync = |path: &PathBuf| Folder::below(path, [], Make::Nothing)?.sync();
        let done = above.iter().try_for_each(sync);
        if done.is_err() {
            *locked(&self.above) = above;
        }
        done
    }
}

/// The names of a file.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) root: Arc<Root>,
    /// Below the root. None at all for what is never on the disk, such as a pad file (BEP 47).
    pub(crate) path: Vec<OsString>,
    /// What it is called in the same folder before it is complete, where that is another name.
    pub(crate) part: Option<OsString>,
    /// What a symlink (BEP 47) says: the way from its folder to what it stands for.
    pub(crate) link: Option<OsString>,
}

impl Home {
    /// The folder that the file is in; with `make`, it is made if need be.
    pub(super) fn folder(&self, make: bool) -> Result<Folder, Errno> {
        let (_, folders) = self.path.split_last().ok_or(Errno(libc::EINVAL))?;
        let folders = folders.iter().map(OsString::as_os_str);
        let make = match make {
            false => Make::Nothing,
            true if self.root.was_there.load(Ordering::Acquire) => Make::Folders,
            true => Make::Root,
        };
        let folder = Folder::below(&self.root.path, folders, make)?;
        self.root.was_there.store(true, Ordering::Release);
        Ok(folder)
    }

    /// The names by which a file that was last seen at `spot` may be found, the likeliest first.
    pub(super) fn candidates(&self, spot: Spot) -> impl Iterator<Item = (&OsStr, Spot)> {
        let name = self.path.last().map(|name| (name.as_os_str(), Spot::Final));
        let part = self.part.as_deref().map(|name| (name, Spot::Part));
        let both = match spot {
            Spot::Part => [part, name],
            _ => [name, part],
        };
        both.into_iter().flatten()
    }

    /// What the file is called at `spot`, and where it really is then: without a part name, that is
    /// the final one.
    pub(super) fn name(&self, spot: Spot) -> Result<(&OsStr, Spot), Errno> {
        match (spot, &self.part) {
            (Spot::Part, Some(part)) => Ok((part, Spot::Part)),
            _ => {
                let name = self.path.last().ok_or(Errno(libc::EINVAL))?;
                Ok((name, Spot::Final))
            }
        }
    }

    /// Is it the same as another one?
    pub(super) fn is(&self, other: &Self) -> bool {
        self.root.path == other.root.path && self.path == other.path && self.part == other.part
    }

    /// Does something lie under one of these names?
    pub(super) fn is_taken(&self) -> Result<bool, Errno> {
        let folder = match self.folder(false) {
            Err(NOT_FOUND) => return Ok(false),
            other => other?,
        };
        for (name, _) in self.candidates(Spot::Unknown) {
            if folder.has(name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the file away, if it is there.
    pub(super) fn remove(&self, spot: Spot) -> Result<(), Errno> {
        let (name, _) = self.name(spot)?;
        match self.folder(false).and_then(|folder| folder.remove(name)) {
            Err(NOT_FOUND) => Ok(()),
            other => other,
        }
    }

    /// Takes away the folders that are empty now, up to the root.
    pub(super) fn prune(&self) {
        for depth in (1..self.path.len()).rev() {
            let above = self.path[..depth - 1].iter().map(OsString::as_os_str);
            let folder = Folder::below(&self.root.path, above, Make::Nothing);
            let gone = folder.and_then(|folder| folder.remove_folder(&self.path[depth - 1]));
            if !matches!(gone, Ok(()) | Err(NOT_FOUND)) {
                return;
            }
        }
    }
}
