//! Files that this process writes to, kept from others.
//!
//! Two processes that have each a state of its own do not see each other's lock files, so it is the data
//! that is locked. A lock of the process (POSIX) would be gone as soon as any descriptor of the file is
//! closed, one of a descriptor would keep out this process as well: so descriptors are locked, and the
//! files that are listed, by what they are and not by name.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex};

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno as Code;

use super::{Errno, LOCKED};
use crate::workers::locked;

/// Device and number.
type Key = (u64, u64);

struct Held {
    /// The one that was locked: it stays open for as long as anybody has a share.
    file: Arc<File>,
    users: usize,
}

static HELD: LazyLock<Mutex<HashMap<Key, Held>>> = LazyLock::new(Mutex::default);

/// A share in the lock of a file; the last one that goes lets it go.
pub(crate) struct Lock(Key);

/// Keeps other processes from writing to the file while the lock lives, and gives back the descriptor
/// of it that this process has already, if there is one. Fails (`LOCKED`) where another process was first;
/// there is no lock where the file system has none.
pub(crate) fn lock(file: Arc<File>) -> Result<(Arc<File>, Option<Lock>), Errno> {
    let stat = fstat(&file)?;
    let key = (stat.st_dev as u64, stat.st_ino as u64);
    let mut held = locked(&HELD);
    if let Some(held) = held.get_mut(&key) {
        held.users += 1;
        return Ok((Arc::clone(&held.file), Some(Lock(key))));
    }
    match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Code::AGAIN) => return Err(LOCKED),
        Err(_) => return Ok((file, None)),
    }
    let entry = Held {
        file: Arc::clone(&file),
        users: 1,
    };
    held.insert(key, entry);
    Ok((file, Some(Lock(key))))
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut held = locked(&HELD);
        if let Some(entry) = held.get_mut(&self.0) {
            entry.users -= 1;
            if entry.users == 0 {
                held.remove(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Could somebody else write to the file? (A descriptor of its own is somebody else to `flock`.)
    fn is_free(path: &std::path::Path) -> bool {
        let other = File::open(path).unwrap();
        flock(other.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    #[test]
    fn a_lock_lasts_until_its_last_share_is_gone() {
        let path = std::env::temp_dir().join(format!("swarm-lock-{}", std::process::id()));
        let first = lock(Arc::new(File::create(&path).unwrap())).unwrap();
        let second = lock(Arc::new(File::open(&path).unwrap())).unwrap();
        assert!(Arc::ptr_eq(&first.0, &second.0));
        drop(File::open(&path)); // which would end a lock of the process
        assert!(!is_free(&path));
        drop(first);
        assert!(!is_free(&path));
        drop(second);
        assert!(is_free(&path));
        let other = File::open(&path).unwrap();
        flock(other.as_fd(), FlockOperation::LockExclusive).unwrap();
        let late = Arc::new(File::open(&path).unwrap());
        assert_eq!(lock(late).err(), Some(LOCKED));
        std::fs::remove_file(&path).unwrap();
    }
}
