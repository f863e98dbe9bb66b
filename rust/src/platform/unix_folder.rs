//! A folder in hand: whatever is done below it cannot be led elsewhere by a symlink.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fstat, fsync, mkdirat, openat, statat, symlinkat,
};
use rustix::io::Errno as Code;

use super::{Access, Errno, Make};

/// Walking through a folder needs no right to list it; only Linux can say so.
#[cfg(target_os = "linux")]
const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const WALK: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// The folder `root`/`parts`. Symlinks are followed up to `root` and refused (ELOOP) below it.
    pub(crate) fn below<'a>(
        root: &Path,
        parts: impl IntoIterator<Item = &'a OsStr>,
        make: Make,
    ) -> Result<Self, Errno> {
        let mut folder = match openat(CWD, root, WALK, Mode::empty()) {
            Err(Code::NOENT) if make == Make::Root => {
                std::fs::create_dir_all(root)?;
                openat(CWD, root, WALK, Mode::empty())?
            }
            other => other?,
        };
        for part in parts {
            folder = match enter(&folder, part) {
                Err(Errno(libc::ENOENT)) if make != Make::Nothing => {
                    match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Code::EXIST) => enter(&folder, part)?,
                        Err(code) => return Err(code.into()),
                    }
                }
                other => other?,
            };
        }
        Ok(Self(folder))
    }

    /// Opens a regular file; whatever else is there is refused without waiting for it. `make` allows
    /// to create one that is to be written.
    pub(crate) fn open(&self, name: &OsStr, access: Access, make: bool) -> Result<File, Errno> {
        let kind = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write if make => OFlags::RDWR | OFlags::CREATE,
            Access::Write => OFlags::RDWR,
        };
        let file = openat(
            &self.0,
            name,
            kind | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY,
            Mode::from_raw_mode(0o666),
        )?;
        regular(file)
    }

    /// Whether something has this name, whatever it is.
    pub(crate) fn has(&self, name: &OsStr) -> Result<bool, Errno> {
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Code::NOENT) => Ok(false),
            Err(code) => Err(code.into()),
        }
    }

    /// Makes a symlink, unless something has its name, or this file system knows none.
    pub(crate) fn link(&self, name: &OsStr, says: &OsStr) -> Result<(), Errno> {
        match symlinkat(says, &self.0, name) {
            Err(Code::EXIST | Code::PERM | Code::NOTSUP | Code::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Gives a file of this folder another name, in this or another one. Fails (EEXIST) rather than
    /// replace what is there, and (EXDEV) where that is another file system.
    pub(crate) fn rename(&self, from: &OsStr, to: &Self, name: &OsStr) -> Result<(), Errno> {
        match rename_alone(self, from, to, name) {
            Err(Code::INVAL | Code::NOSYS | Code::NOTSUP) => rename_twice(self, from, to, name),
            other => Ok(other?),
        }
    }

    /// Takes away a name, and with it the file, if that was its last one.
    pub(crate) fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Takes away a folder that is empty.
    pub(crate) fn remove_folder(&self, name: &OsStr) -> Result<(), Errno> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Could a file be renamed into this folder? Where only trying tells, it says yes.
    pub(crate) fn same_device(&self, file: &File) -> Result<bool, Errno> {
        Ok(fstat(&self.0)?.st_dev == fstat(file)?.st_dev)
    }

    /// Makes the names in this folder durable, where the system can.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        let list = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = match openat(&self.0, ".", list, Mode::empty()) {
            Err(Code::ACCESS) => return Ok(()), // we may use it, but not list it
            other => other?,
        };
        match fsync(open) {
            Err(Code::INVAL | Code::NOTSUP) => Ok(()), // this file system has no such thing
            other => Ok(other?),
        }
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_alone(from: &Folder, old: &OsStr, to: &Folder, new: &OsStr) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(&from.0, old, &to.0, new, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_alone(_: &Folder, _: &OsStr, _: &Folder, _: &OsStr) -> rustix::io::Result<()> {
    Err(Code::NOSYS)
}

/// A second name, then the first one goes: between the two it is one file with both.
fn rename_twice(from: &Folder, old: &OsStr, to: &Folder, new: &OsStr) -> Result<(), Errno> {
    match rustix::fs::linkat(&from.0, old, &to.0, new, AtFlags::empty()) {
        // No links on this file system: the name may be taken between the look and the rename.
        Err(Code::PERM | Code::NOTSUP | Code::NOSYS | Code::MLINK) => {
            if to.has(new)? {
                return Err(Errno(libc::EEXIST));
            }
            Ok(rustix::fs::renameat(&from.0, old, &to.0, new)?)
        }
        other => {
            other?;
            Ok(rustix::fs::unlinkat(&from.0, old, AtFlags::empty())?)
        }
    }
}

fn enter(folder: &OwnedFd, part: &OsStr) -> Result<OwnedFd, Errno> {
    openat(folder, part, WALK | OFlags::NOFOLLOW, Mode::empty()).map_err(|code| {
        // Linux answers ENOTDIR for a symlink here; what is wrong with it is that it is one.
        let stat = statat(folder, part, AtFlags::SYMLINK_NOFOLLOW);
        match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Symlink) => Errno(libc::ELOOP),
            _ => code.into(),
        }
    })
}

/// Opens a file that the user named, for reading: symlinks are followed, but only a regular file will do.
pub(crate) fn open_plain(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    regular(openat(CWD, path, flags, Mode::empty())?)
}

fn regular(file: OwnedFd) -> Result<File, Errno> {
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        FileType::Directory => Err(Errno(libc::EISDIR)),
        _ => Err(Errno(libc::EOPNOTSUPP)),
    }
}
