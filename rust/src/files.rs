//! The torrent's stream over its files.

use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::direct::OpenFile;
use crate::layout::{Layout, Span};
use crate::open_files::OpenFiles;
use crate::places::{Place, Places, Shared};
use crate::platform::{self, Access, Errno, NOT_FOUND};

/// What went wrong where, in terms of the torrent's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) errno: Errno,
    pub(crate) file: usize,
    /// Bytes from the start of that file.
    pub(crate) offset: u64,
    pub(crate) operation: &'static str,
}

impl Fault {
    pub(crate) fn at(span: Span, operation: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self {
            errno,
            file: span.file,
            offset: span.offset,
            operation,
        }
    }

    /// A fault that concerns a file, and no place in it.
    pub(crate) fn whole(file: usize, operation: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self {
            errno,
            file,
            offset: 0,
            operation,
        }
    }

    /// A fault that concerns no file in particular.
    pub(crate) fn of(errno: Errno, operation: &'static str) -> Self {
        Self {
            errno,
            file: 0,
            offset: 0,
            operation,
        }
    }
}

/// A file in use: it stays where it is for as long as this lives.
pub(crate) struct Used<'a> {
    pub(crate) file: Arc<OpenFile>,
    /// Where in it the torrent's file begins: above zero where its bytes are kept aside.
    pub(crate) start: u64,
    /// Which place it is.
    pub(crate) place: usize,
    held: (Shared<'a>, Option<Shared<'a>>),
}

impl Used<'_> {
    /// Notes that it was written to, for a copy that is being made of it.
    fn wrote(&self, offset: u64, length: u64) {
        let (own, aside) = &self.held;
        aside.as_ref().unwrap_or(own).wrote(offset, length);
    }
}

/// The files of one torrent.
pub(crate) struct Files {
    pub(crate) layout: Layout,
    pub(crate) places: Places,
    pub(crate) writable: bool,
    open: Arc<OpenFiles>,
    id: u64,
    closed: AtomicBool,
    /// Bytes that each file is known to have had: one that has less now was cut by somebody.
    reached: Box<[AtomicU64]>,
}

impl Files {
    pub(crate) fn new(
        open: Arc<OpenFiles>,
        id: u64,
        places: Places,
        layout: Layout,
        writable: bool,
    ) -> Self {
        Self {
            closed: AtomicBool::new(false),
            reached: (0..layout.files()).map(|_| AtomicU64::new(0)).collect(),
            layout,
            places,
            writable,
            open,
            id,
        }
    }

    /// How many files there are.
    pub(crate) fn count(&self) -> usize {
        self.layout.files()
    }

    /// A pad file (BEP 47) is never on the disk: its bytes are zeros.
    pub(crate) fn is_pad(&self, file: usize) -> bool {
        self.places.is_pad(file)
    }

    /// The file where it is now, open. With `now`, fails (EAGAIN) rather than wait for a change.
    pub(crate) fn take(&self, file: usize, access: Access, now: bool) -> Result<Used<'_>, Errno> {
        let held = self.places.hold(file, now)?;
        if let Some(open) = self.open(file, &held, access)? {
            return Ok(Used {
                file: open,
                start: 0,
                place: file,
                held: (held, None),
            });
        }
        let place = self.places.aside().ok_or(NOT_FOUND)?;
        let aside = self.places.hold(place, now)?;
        let open = self.open(place, &aside, access)?.ok_or(NOT_FOUND)?;
        Ok(Used {
            file: open,
            start: self.layout.file_offset(file),
            place,
            held: (held, Some(aside)),
        })
    }

    /// The file at a place, from the cache or from the disk; `None` where its bytes are kept aside.
    fn open(
        &self,
        at: usize,
        place: &Place,
        access: Access,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        let key = (self.id, at);
        if let Some(open) = self.open.get(key, place.changes(), access) {
            return Ok(Some(open));
        }
        let found = match self.places.open(at, place, access) {
            Err(Errno(libc::EMFILE | libc::ENFILE)) => {
                self.open.halve();
                self.places.open(at, place, access)?
            }
            other => other?,
        };
        let Some(open) = found.map(Arc::new) else {
            return Ok(None);
        };
        place.is_ours(&open, access)?;
        let (open, lock) = match access {
            Access::Read => (open, None),
            Access::Write => {
                let (open, lock) = platform::lock(open)?;
                self.intact(at, &open)?;
                (open, lock)
            }
        };
        if access == Access::Write && at < self.count() {
            let length = self.layout.file_length(at);
            let now = open.metadata()?.len();
            // Whatever was here is being overwritten, and the end of it is no part of the torrent.
            if now > length || (now < length && self.open.how.sparse) {
                open.set_len(length)?;
                self.has(at, length);
            }
            self.has(at, now.min(length));
        }
        let open = Arc::new(OpenFile::new(open, lock, self.open.how.direct));
        if !self.closed.load(Ordering::Acquire) {
            self.open.put(key, place.changes(), &open, access);
        }
        Ok(Some(open))
    }

    /// Fails for a file that was removed or replaced (`NOT_FOUND`), or cut (`TOO_SHORT`), while it was used.
    pub(crate) fn intact(&self, at: usize, file: &File) -> Result<(), Errno> {
        let reached = self.reached.get(at);
        let size = reached.map_or(0, |size| size.load(Ordering::Acquire));
        platform::still_there(file, size)
    }

    fn has(&self, at: usize, size: u64) {
        if let Some(reached) = self.reached.get(at) {
            reached.fetch_max(size, Ordering::AcqRel);
        }
    }

    /// Is this the file that has the name now? Fails (`NOT_FOUND`) where there is none.
    pub(crate) fn is_named(&self, at: usize, file: &File) -> Result<bool, Errno> {
        let place = self.places.hold(at, false)?;
        let named = self
            .places
            .open(at, &place, Access::Read)?
            .ok_or(NOT_FOUND)?;
        platform::is_same(file, &named)
    }

    /// The file at a place, open to be synced.
    pub(crate) fn open_place(&self, at: usize) -> Result<Arc<OpenFile>, Errno> {
        let place = self.places.hold(at, false)?;
        self.open(at, &place, Access::Read)?.ok_or(NOT_FOUND)
    }

    /// Lets go of the descriptor of one place.
    pub(crate) fn forget(&self, at: usize) {
        if let Some(reached) = self.reached.get(at) {
            reached.store(0, Ordering::Release);
        }
        self.open.forget_file((self.id, at));
    }

    /// Lets go of all descriptors, so that the next use looks at what the names mean now.
    pub(crate) fn reopen(&self) {
        self.open.forget(self.id);
    }

    /// Lets go of all descriptors for good; jobs under way finish with their own.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.open.forget(self.id);
    }

    /// Writes one part behind the other from `offset` of the stream on: at once, for each file touched.
    pub(crate) fn write(
        &self,
        offset: u64,
        parts: &[&[u8]],
        mut touched: impl FnMut(usize),
    ) -> Result<(), Fault> {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut parts = parts.iter().copied();
        let mut rest: &[u8] = &[];
        for span in self.layout.spans(offset, length) {
            let mut now = Vec::with_capacity(parts.len() + 1);
            let mut left = span.length;
            while left > 0 {
                if rest.is_empty() {
                    rest = parts.next().unwrap_or_default();
                }
                let piece;
                (piece, rest) = rest.split_at(rest.len().min(left));
                left -= piece.len();
                now.push(piece);
            }
            if self.is_pad(span.file) {
                continue;
            }
            let used = self
                .take(span.file, Access::Write, false)
                .map_err(Fault::at(span, "open"))?;
            let at = used.start + span.offset;
            let intact = self.intact(used.place, &used.file.file);
            let done = intact.and_then(|()| used.file.write_at(&now, at));
            used.wrote(at, span.length as u64);
            if done.is_ok() {
                self.has(used.place, at + span.length as u64);
            }
            // Not before: a sync that came in between would have taken note of it in vain.
            touched(used.place);
            done.map_err(Fault::at(span, "write"))?;
        }
        Ok(())
    }

    /// The holes in a stretch of a file. What cannot be looked at fails when it is read.
    pub(crate) fn holes(&self, span: &Span) -> Vec<Range<u64>> {
        match self.take(span.file, Access::Read, false) {
            Ok(used) if used.start == 0 => {
                platform::holes(&used.file.file, span.offset, span.length as u64)
            }
            _ => Vec::new(),
        }
    }

    /// Writes back what anybody wrote to the files of this stretch, and lets go of what is cached of it,
    /// so that what is read next is what the device has.
    pub(crate) fn refresh(&self, offset: u64, length: usize) -> Result<(), Fault> {
        for span in self.layout.spans(offset, length) {
            if self.is_pad(span.file) {
                continue;
            }
            match self.take(span.file, Access::Read, false) {
                Ok(used) => {
                    let file = &used.file.file;
                    let written = file.sync_data().map_err(Errno::from);
                    written.map_err(Fault::at(span, "sync"))?;
                    platform::let_go(file, used.start + span.offset, span.length as u64);
                }
                Err(NOT_FOUND) => {}
                Err(errno) => return Err(Fault::at(span, "open")(errno)),
            }
        }
        Ok(())
    }

    /// The places of the files of this stretch, as far as they are there.
    pub(crate) fn places_of(&self, offset: u64, length: usize) -> Vec<usize> {
        let spans = self.layout.spans(offset, length);
        let files = spans
            .map(|span| span.file)
            .filter(|&file| !self.is_pad(file));
        files
            .filter_map(|file| Some(self.take(file, Access::Read, false).ok()?.place))
            .collect()
    }

    /// Fills `buffers` with one unbroken stretch of the stream from `offset` on. With `cached`, fails
    /// rather than wait for the disk.
    pub(crate) fn read(
        &self,
        offset: u64,
        mut buffers: Vec<&mut [u8]>,
        cached: bool,
    ) -> Result<(), Fault> {
        let length = buffers.iter().map(|buffer| buffer.len()).sum();
        for span in self.layout.spans(offset, length) {
            let mut now = take_front(&mut buffers, span.length);
            if self.is_pad(span.file) {
                now.iter_mut().for_each(|buffer| buffer.fill(0));
                continue;
            }
            let used = self
                .take(span.file, Access::Read, cached)
                .map_err(Fault::at(span, "open"))?;
            let at = used.start + span.offset;
            let done = if cached {
                platform::read_cached_at(&used.file.file, &mut now, at)
            } else {
                platform::read_at(&used.file.file, &mut now, at)
            };
            done.map_err(Fault::at(span, "read"))?;
        }
        Ok(())
    }
}

/// Takes the first `length` bytes' worth of buffers, cutting one in two where a file ends in it.
fn take_front<'a>(buffers: &mut Vec<&'a mut [u8]>, length: usize) -> Vec<IoSliceMut<'a>> {
    let mut left = length;
    let whole = buffers
        .iter()
        .take_while(|buffer| {
            let fits = buffer.len() <= left;
            left -= if fits { buffer.len() } else { 0 };
            fits
        })
        .count();
    let mut front: Vec<_> = buffers.drain(..whole).map(IoSliceMut::new).collect();
    if left > 0
        && let Some(cut) = buffers.first_mut()
    {
        let (head, tail) = std::mem::take(cut).split_at_mut(left);
        front.push(IoSliceMut::new(head));
        *cut = tail;
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_cut_where_a_file_ends() {
        let (mut a, mut b, mut c) = ([1, 2], [3, 4, 5], [6]);
        let mut buffers: Vec<&mut [u8]> = vec![&mut a, &mut b, &mut c];
        let mut take = |n| -> Vec<Vec<u8>> {
            let front = take_front(&mut buffers, n);
            front.iter().map(|buffer| buffer.to_vec()).collect()
        };
        assert_eq!(take(3), [vec![1, 2], vec![3]]);
        assert_eq!(take(1), [[4]]);
        assert_eq!(take(1), [[5]]);
        assert_eq!(take(1), [[6]]);
        assert!(take(0).is_empty());
    }
}
