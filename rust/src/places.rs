//! Where the bytes of each file are.
//!
//! A file that is not complete is called NAME.part, because a file under its final name is itself a
//! claim. It is looked for under its final name first, so that what other programs left is used where
//! it is. Bytes of files that nobody wants, of pieces shared with others, are kept aside: in one more
//! file, each at its place in the stream, with holes between them.
//!
//! I/O holds a place shared while it uses the file; what changes a place holds it alone.

mod aside;
mod home;
mod moving;

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use crate::platform::{self, Access, Errno, Folder, Make, NOT_FOUND};
use crate::workers::locked;
use moving::{Left, Move};

pub(crate) use home::{Home, Root};

/// Which of its names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// Nobody has looked yet, or it was not there.
    Unknown,
    Final,
    Part,
    /// None: its bytes are kept aside.
    Aside,
}

pub(crate) struct Place {
    home: Home,
    spot: Mutex<Spot>,
    wanted: bool,
    /// How often another file came to be here: descriptors from before are of the one that was.
    changes: u64,
    /// The number of the file that was written to here; 0 as long as none was.
    written: AtomicU64,
    /// The home that it is on the way to.
    next: Option<Move>,
    /// What it left behind at its home before this one.
    left: Option<Left>,
}

/// What opening a file came to.
enum Found {
    File(File),
    /// It was made.
    New(File),
    Aside,
}

impl Place {
    pub(crate) fn new(home: Home, wanted: bool) -> Self {
        Self {
            home,
            spot: Mutex::new(Spot::Unknown),
            wanted,
            changes: 0,
            written: AtomicU64::new(0),
            next: None,
            left: None,
        }
    }

    /// Another number than any before another file came to be here.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// From now on another file is here, or none.
    fn changed(&mut self) {
        self.changes += 1;
        self.written = AtomicU64::new(0);
    }

    /// Fails (`NOT_FOUND`) for another file than the one that was written to: somebody replaced it.
    pub(crate) fn is_ours(&self, file: &File, access: Access) -> Result<(), Errno> {
        let number = platform::number(file)?;
        let known = match access {
            Access::Read => self.written.load(Ordering::Acquire),
            Access::Write => {
                let first = (Ordering::AcqRel, Ordering::Acquire);
                let known = self.written.compare_exchange(0, number, first.0, first.1);
                known.unwrap_or_else(|known| known)
            }
        };
        if known == 0 || known == number {
            Ok(())
        } else {
            Err(NOT_FOUND)
        }
    }

    /// Looks where the file is, if nobody knows.
    fn look(&self) -> Result<Spot, Errno> {
        let mut spot = locked(&self.spot);
        if *spot == Spot::Unknown
            && let Some((_, found)) = self.find(*spot, Access::Read)?
        {
            *spot = found;
        }
        Ok(*spot)
    }

    /// Must the bytes of an unwanted file be kept aside?
    fn is_apart(&self) -> Result<bool, Errno> {
        Ok(!self.wanted && matches!(self.look()?, Spot::Unknown | Spot::Aside))
    }

    /// Opens the file by the name it has, and makes it, to be written, where it has none.
    fn open(&self, access: Access, parts: bool) -> Result<Found, Errno> {
        let mut spot = locked(&self.spot);
        if *spot == Spot::Aside {
            return Ok(Found::Aside);
        }
        let folder = self.folder()?;
        if let Some((file, found)) = self.find_in(folder.as_ref(), *spot, access)? {
            *spot = found;
            return Ok(Found::File(file));
        }
        if !self.wanted {
            *spot = Spot::Aside;
            return Ok(Found::Aside);
        }
        if access == Access::Read {
            return Err(NOT_FOUND);
        }
        let folder = folder.map_or_else(|| self.home.folder(true), Ok)?;
        if parts && let Some(part) = &self.home.part {
            match folder.open(part, access, true) {
                Err(Errno(libc::ENAMETOOLONG)) => {}
                made => {
                    let file = made?;
                    *spot = Spot::Part;
                    return Ok(Found::New(file));
                }
            }
        }
        let name = self.home.path.last().ok_or(Errno(libc::EINVAL))?;
        let file = folder.open(name, access, true)?;
        *spot = Spot::Final;
        Ok(Found::New(file))
    }

    /// Makes the symlink, where this is one and nothing has its name. Whether this is one.
    fn make_link(&self) -> Result<bool, Errno> {
        let (Some(says), Some(name)) = (&self.home.link, self.home.path.last()) else {
            return Ok(false);
        };
        self.home.folder(true)?.link(name, says)?;
        Ok(true)
    }

    /// The file as it is, under one of its names.
    fn find(&self, spot: Spot, access: Access) -> Result<Option<(File, Spot)>, Errno> {
        self.find_in(self.folder()?.as_ref(), spot, access)
    }

    /// The folder that the file is in, if it is there. A symlink is never followed, and so is no file.
    fn folder(&self) -> Result<Option<Folder>, Errno> {
        if self.home.link.is_some() {
            return Ok(None);
        }
        match self.home.folder(false) {
            Err(NOT_FOUND) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The file in its folder.
    fn find_in(
        &self,
        folder: Option<&Folder>,
        spot: Spot,
        access: Access,
    ) -> Result<Option<(File, Spot)>, Errno> {
        let Some(folder) = folder else {
            return Ok(None);
        };
        for (name, spot) in self.home.candidates(spot) {
            match folder.open(name, access, false) {
                Err(NOT_FOUND | Errno(libc::ENAMETOOLONG)) => {}
                other => return Ok(Some((other?, spot))),
            }
        }
        Ok(None)
    }

    /// Gives the file its final name. Whether it got it just now.
    fn finish(&self) -> Result<bool, Errno> {
        let Some(name) = self.home.path.last() else {
            return Ok(false);
        };
        let (Spot::Part, Some(part)) = (self.look()?, &self.home.part) else {
            return Ok(false);
        };
        let folder = self.home.folder(false)?;
        folder.rename(part, &folder, name)?;
        *locked(&self.spot) = Spot::Final;
        Ok(true)
    }
}

/// The places of all files of a torrent, in their order, and behind them that of what is kept aside.
pub(crate) struct Places {
    places: Vec<RwLock<Place>>,
    pads: Vec<bool>,
    /// Files are made under their part names.
    parts: bool,
    /// Files that got a name which is not durable yet.
    named: Mutex<BTreeSet<usize>>,
    /// How often a file came to lie in another place.
    moves: AtomicU64,
}

pub(crate) type Shared<'a> = RwLockReadGuard<'a, Place>;

impl Places {
    pub(crate) fn new(files: Vec<Place>, aside: Option<Place>, parts: bool) -> Self {
        let pads = files.iter().map(|place| place.home.path.is_empty());
        Self {
            pads: pads.collect(),
            places: files.into_iter().chain(aside).map(RwLock::new).collect(),
            parts,
            named: Mutex::default(),
            moves: AtomicU64::new(0),
        }
    }

    /// How many places there are.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// A file that is never on the disk. The bytes of a pad file (BEP 47) are zeros.
    pub(crate) fn is_pad(&self, file: usize) -> bool {
        self.pads[file]
    }

    /// Is the file to be on the disk?
    pub(crate) fn is_wanted(&self, file: usize) -> bool {
        let place = self.places[file].read();
        !self.pads[file] && place.unwrap_or_else(PoisonError::into_inner).wanted
    }

    /// The place of the file for what is kept aside.
    pub(crate) fn aside(&self) -> Option<usize> {
        (self.places.len() > self.pads.len()).then_some(self.pads.len())
    }

    /// A file that stays where it is while the result lives. With `now`, fails (EAGAIN) rather than wait.
    pub(crate) fn hold(&self, file: usize, now: bool) -> Result<Shared<'_>, Errno> {
        if !now {
            let place = self.places[file].read();
            return Ok(place.unwrap_or_else(PoisonError::into_inner));
        }
        match self.places[file].try_read() {
            Ok(place) => Ok(place),
            Err(TryLockError::Poisoned(error)) => Ok(error.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Errno(libc::EAGAIN)),
        }
    }

    fn alone(&self, file: usize) -> RwLockWriteGuard<'_, Place> {
        let place = self.places[file].write();
        place.unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file that is held; `None` where its bytes are kept aside.
    pub(crate) fn open(
        &self,
        file: usize,
        place: &Place,
        access: Access,
    ) -> Result<Option<File>, Errno> {
        Ok(match place.open(access, self.parts)? {
            Found::File(found) => {
                if access == Access::Write {
                    self.not_synced(file); // whoever made it may not have got to that
                }
                Some(found)
            }
            Found::New(made) => {
                self.not_synced(file);
                Some(made)
            }
            Found::Aside => None,
        })
    }

    /// What is known of each file: nothing, or that it was last seen under its final name (`f`), its
    /// part name (`p`), or kept aside (`a`).
    pub(crate) fn spots(&self) -> Vec<u8> {
        let files = self.places.iter().take(self.pads.len());
        let letter = |place: &RwLock<Place>| {
            let place = place.read().unwrap_or_else(PoisonError::into_inner);
            match *locked(&place.spot) {
                Spot::Unknown => b' ',
                Spot::Final => b'f',
                Spot::Part => b'p',
                Spot::Aside => b'a',
            }
        };
        files.map(letter).collect()
    }

    /// The next `sync` has to make the name of this file durable.
    pub(crate) fn not_synced(&self, file: usize) {
        locked(&self.named).insert(file);
    }

    /// Gives a file that is complete its final name, which the next `sync` makes durable. Fails
    /// (EEXIST) where something else got that name meanwhile.
    pub(crate) fn finish(&self, file: usize) -> Result<(), Errno> {
        if self.alone(file).finish()? {
            locked(&self.named).insert(file);
        }
        Ok(())
    }

    /// Makes the symlink that stands for a file, where there is one; the next `sync` makes it durable.
    /// Whether the file is a symlink.
    pub(crate) fn make_link(&self, file: usize) -> Result<bool, Errno> {
        let is_link = self.alone(file).make_link()?;
        if is_link {
            locked(&self.named).insert(file);
        }
        Ok(is_link)
    }

    /// Takes a file away, and the folders that are empty then. With `part`, what lies under its part name;
    /// else what lies under its final name or, where nothing does, under the other one.
    pub(crate) fn remove(&self, file: usize, part: bool) -> Result<(), Errno> {
        let mut place = self.alone(file);
        place.changed();
        let home = &place.home;
        let folder = match home.folder(false) {
            Err(NOT_FOUND | Errno(libc::ELOOP | libc::ENOTDIR)) => return Ok(()), // not ours
            other => other?,
        };
        for (name, spot) in home.candidates(Spot::Final) {
            if (!part || spot == Spot::Part) && folder.has(name)? {
                folder.remove(name)?;
                break;
            }
        }
        *locked(&place.spot) = Spot::Unknown;
        home.prune();
        Ok(())
    }

    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }

    /// Makes durable the names that files got since the last time. Fails with the file it was about.
    pub(crate) fn sync(&self) -> Result<(), (usize, Errno)> {
        let named = std::mem::take(&mut *locked(&self.named));
        let mut done = HashSet::new();
        for &file in &named {
            let (root, path) = {
                let place = self.places[file].read();
                let place = place.unwrap_or_else(PoisonError::into_inner);
                (Arc::clone(&place.home.root), place.home.path.clone())
            };
            for depth in (0..path.len()).rev() {
                let folders = path[..depth].iter().map(OsString::as_os_str);
                if !done.insert((root.path.clone(), path[..depth].to_vec())) {
                    break;
                }
                let folder = Folder::below(&root.path, folders, Make::Nothing);
                let synced = folder.and_then(|folder| folder.sync());
                let synced = synced.and_then(|()| if depth == 0 { root.sync() } else { Ok(()) });
                if let Err(errno) = synced {
                    locked(&self.named).extend(&named);
                    return Err((file, errno));
                }
            }
        }
        Ok(())
    }
}
