//! What differs between systems: opening below a folder, positioned I/O, slot memory.
//!
//! `unix` holds the Linux fast paths and their portable twins; `windows` is the plain version.

use std::fs::File;

#[cfg(unix)]
#[path = "platform/unix.rs"]
mod imp;
#[cfg(windows)]
#[path = "platform/windows.rs"]
mod imp;

#[cfg(unix)]
#[path = "platform/unix_folder.rs"]
mod folder;
#[cfg(windows)]
#[path = "platform/windows_folder.rs"]
mod folder;

#[cfg(unix)]
#[path = "platform/unix_lock.rs"]
mod lock;
#[cfg(windows)]
use imp as lock;

#[cfg(target_os = "linux")]
#[path = "platform/window.rs"]
mod window;
#[cfg(not(target_os = "linux"))]
#[path = "platform/no_window.rs"]
mod window;

pub(crate) use folder::{Folder, open_plain};
pub(crate) use imp::{
    Map, allocate, descriptors, holes, is_same, let_go, no_read_ahead, number, open_direct, punch,
    read_at, read_cached_at, still_there, will_need, will_sync, write_some_at, write_some_of,
};
pub(crate) use lock::{Lock, lock};
pub(crate) use window::Window;

/// A C error number, as Python's `errno` module names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

/// A file that ended before the data did.
pub(crate) const TOO_SHORT: Errno = Errno(libc::ENODATA);
pub(crate) const CANCELED: Errno = Errno(libc::ECANCELED);
pub(crate) const NOT_FOUND: Errno = Errno(libc::ENOENT);
/// Another process writes to the same file.
#[cfg(unix)]
pub(crate) const LOCKED: Errno = Errno(libc::EWOULDBLOCK);

/// How a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Which folders may be made on the way to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Nothing,
    /// Those below the root.
    Folders,
    /// The root as well.
    Root,
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        if cfg!(unix)
            && let Some(code) = error.raw_os_error()
        {
            return Self(code);
        }
        Self(match error.kind() {
            Kind::NotFound => libc::ENOENT,
            Kind::PermissionDenied => libc::EACCES,
            Kind::AlreadyExists => libc::EEXIST,
            Kind::StorageFull | Kind::QuotaExceeded => libc::ENOSPC,
            Kind::FileTooLarge => libc::EFBIG,
            Kind::ReadOnlyFilesystem => libc::EROFS,
            Kind::IsADirectory => libc::EISDIR,
            Kind::NotADirectory => libc::ENOTDIR,
            Kind::Interrupted => libc::EINTR,
            Kind::OutOfMemory => libc::ENOMEM,
            Kind::CrossesDevices => libc::EXDEV,
            _ => libc::EIO,
        })
    }
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = write_some_at(file, bytes, offset)?;
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}
