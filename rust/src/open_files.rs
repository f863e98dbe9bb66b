//! Open files of all torrents, a bounded number of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::direct::{Direct, OpenFile};
use crate::platform::Access;
use crate::workers::locked;

/// Which file: the number of its storage, and its place in the torrent.
pub(crate) type Key = (u64, usize);

/// How files are made and written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) direct: Direct,
    /// They get their full length, with nothing in it, when they are opened to be written.
    pub(crate) sparse: bool,
}

/// Open files, the ones that were not used lately first out.
///
/// Files lie in a ring. A hand goes round to find one to close and passes each that was used since it
/// came by last, so that a full cache costs the same whatever its size.
pub(crate) struct OpenFiles {
    pub(crate) how: How,
    limit: usize,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    ring: Vec<Entry>,
    places: HashMap<Key, usize>,
    hand: usize,
}

struct Entry {
    key: Key,
    /// That of its place when it was opened (`Place::changes`).
    changes: u64,
    file: Arc<OpenFile>,
    access: Access,
    used: bool,
}

impl OpenFiles {
    /// At most `limit` files, at least one.
    pub(crate) fn new(limit: usize, how: How) -> Self {
        Self {
            how,
            limit: limit.max(1),
            books: Mutex::default(),
        }
    }

    /// The file, if nothing about its place has changed since it was opened.
    pub(crate) fn get(&self, key: Key, changes: u64, access: Access) -> Option<Arc<OpenFile>> {
        let mut books = locked(&self.books);
        let place = *books.places.get(&key)?;
        let entry = &mut books.ring[place];
        if entry.changes != changes || access == Access::Write && entry.access == Access::Read {
            return None;
        }
        entry.used = true;
        Some(Arc::clone(&entry.file))
    }

    pub(crate) fn put(&self, key: Key, changes: u64, file: &Arc<OpenFile>, access: Access) {
        let entry = Entry {
            key,
            changes,
            file: Arc::clone(file),
            access,
            used: false,
        };
        // The file that is let go of is closed after the lock is.
        let _closed = locked(&self.books).insert(entry, self.limit);
    }

    /// Lets go of every file of one torrent; jobs under way finish with their own.
    pub(crate) fn forget(&self, id: u64) {
        let _closed = locked(&self.books).remove(|entry, _| entry.key.0 == id);
    }

    /// Lets go of one file.
    pub(crate) fn forget_file(&self, key: Key) {
        let mut books = locked(&self.books);
        if books.places.contains_key(&key) {
            let _closed = books.remove(|entry, _| entry.key == key);
        }
    }

    /// Lets go of every second file: the process has no descriptors left.
    pub(crate) fn halve(&self) {
        let _closed = locked(&self.books).remove(|_, place| place % 2 == 0);
    }
}

impl Books {
    fn insert(&mut self, entry: Entry, limit: usize) -> Option<Entry> {
        if let Some(&place) = self.places.get(&entry.key) {
            return Some(std::mem::replace(&mut self.ring[place], entry));
        }
        if self.ring.len() < limit {
            self.places.insert(entry.key, self.ring.len());
            self.ring.push(entry);
            return None;
        }
        while std::mem::take(&mut self.ring[self.hand].used) {
            self.hand = (self.hand + 1) % self.ring.len();
        }
        self.places.insert(entry.key, self.hand);
        let gone = std::mem::replace(&mut self.ring[self.hand], entry);
        self.places.remove(&gone.key);
        self.hand = (self.hand + 1) % self.ring.len();
        Some(gone)
    }

    fn remove(&mut self, which: impl Fn(&Entry, usize) -> bool) -> Vec<Entry> {
        let ring = std::mem::take(&mut self.ring).into_iter().enumerate();
        let (gone, kept): (Vec<_>, Vec<_>) = ring.partition(|(place, entry)| which(entry, *place));
        self.ring = kept.into_iter().map(|(_, entry)| entry).collect();
        self.places = (self.ring.iter().enumerate())
            .map(|(place, entry)| (entry.key, place))
            .collect();
        self.hand = 0;
        gone.into_iter().map(|(_, entry)| entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: How = How {
        direct: Direct::Auto,
        sparse: true,
    };

    fn file() -> Arc<OpenFile> {
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        Arc::new(OpenFile::new(Arc::new(file), None, Direct::Auto))
    }

    fn held(cache: &OpenFiles, keys: std::ops::Range<usize>) -> Vec<usize> {
        keys.filter(|&key| cache.get((0, key), 0, Access::Read).is_some())
            .collect()
    }

    #[test]
    fn what_is_used_stays() {
        let cache = OpenFiles::new(3, HOW);
        for key in 0..3 {
            cache.put((0, key), 0, &file(), Access::Read);
        }
        for key in 3..100 {
            assert!(cache.get((0, 1), 0, Access::Read).is_some());
            cache.put((0, key), 0, &file(), Access::Read);
        }
        assert_eq!(held(&cache, 0..100), [1, 98, 99]);
    }

    #[test]
    fn a_file_that_was_opened_to_read_is_not_written() {
        let cache = OpenFiles::new(2, HOW);
        cache.put((0, 1), 0, &file(), Access::Read);
        assert!(cache.get((0, 1), 0, Access::Write).is_none());
        cache.put((0, 1), 0, &file(), Access::Write);
        assert!(cache.get((0, 1), 0, Access::Write).is_some());
        assert!(cache.get((0, 1), 0, Access::Read).is_some());
        assert_eq!(locked(&cache.books).ring.len(), 1);
    }

    #[test]
    fn a_file_from_before_a_change_is_not_used() {
        let cache = OpenFiles::new(2, HOW);
        cache.put((0, 1), 3, &file(), Access::Write);
        assert!(cache.get((0, 1), 4, Access::Read).is_none());
        cache.put((0, 1), 4, &file(), Access::Write);
        assert!(cache.get((0, 1), 4, Access::Write).is_some());
        assert_eq!(locked(&cache.books).ring.len(), 1);
    }

    #[test]
    fn files_of_one_torrent_are_forgotten_together() {
        let cache = OpenFiles::new(8, HOW);
        for key in 0..6 {
            cache.put((key as u64 % 2, key), 0, &file(), Access::Read);
        }
        cache.forget(1);
        assert_eq!(held(&cache, 0..6), [0, 2, 4]);
        cache.halve();
        assert_eq!(held(&cache, 0..6), [2]);
        for key in 10..30 {
            cache.put((0, key), 0, &file(), Access::Read);
        }
        assert_eq!(locked(&cache.books).places.len(), 8);
    }
}
