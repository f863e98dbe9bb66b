//! Where the bytes of pieces come from: memory where the page cache has them, the disk otherwise.
//!
//! What is in the page cache is hashed in place, through a `Window`, which saves a copy. What is not is
//! read past it, so that hashing a large file does not cost the user what was cached before; or, where
//! that cannot be, it is announced as a whole, read, and dropped from the page cache afterwards.

use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;

use crate::layout::{Layout, Span};
use crate::platform::{self, Access, Errno, Window};

/// Bytes of one file from which on it pays to look at a stretch before reading it.
const WORTHWHILE: usize = 256 << 10;

/// The files of a torrent, for reading.
pub(crate) trait Source {
    type Error;

    fn layout(&self) -> &Layout;

    /// Pad files (BEP 47) are zeros, and not on the disk.
    fn is_pad(&self, file: usize) -> bool;

    /// Does something with an open file and the place of the span in it. `None` for what is not
    /// there, where that is no error.
    fn with_file<R>(
        &mut self,
        span: &Span,
        job: impl FnOnce(&File, u64) -> Result<R, Errno>,
    ) -> Result<Option<R>, Self::Error>;

    /// So many bytes of files have been hashed.
    fn passed(&mut self, _bytes: u64) {}
}

/// The stretches of files that are being hashed.
#[derive(Default)]
pub(crate) struct Stretches<'a> {
    list: Vec<Stretch<'a>>,
    /// Bytes of files in all parts, short stretches too.
    length: u64,
}

struct Stretch<'a> {
    /// Where in the torrent's stream it is.
    bytes: Range<u64>,
    span: Span,
    memory: Memory<'a>,
}

/// What is known of a stretch.
enum Memory<'a> {
    /// It is in the page cache.
    Cached(Window),
    /// It has been read already.
    Read(&'a [u8]),
    /// It will be read; these parts, which were not in the page cache, are to be dropped from it.
    Announced(Vec<Range<u64>>),
}

impl<'a> Stretches<'a> {
    /// Looks at these parts of the stream, which are in order. `room` is for what is read at once.
    pub(crate) fn look<S: Source>(
        parts: impl Iterator<Item = Range<u64>>,
        mut room: &'a mut [u8],
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let mut merged: Vec<Range<u64>> = Vec::new();
        for part in parts {
            match merged.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ => merged.push(part),
            }
        }
        let mut stretches = Self::default();
        for part in merged {
            let mut at = part.start;
            let spans = source.layout().spans(at, (part.end - at) as usize);
            for span in spans.collect::<Vec<_>>() {
                let bytes = at..at + span.length as u64;
                at = bytes.end;
                if source.is_pad(span.file) {
                    continue;
                }
                stretches.length += span.length as u64;
                if span.length >= WORTHWHILE {
                    let look = |file: &File, offset| Memory::look(file, offset, &span, &mut room);
                    let memory = source.with_file(&span, look)?;
                    let stretch = |memory| Stretch {
                        bytes,
                        span,
                        memory,
                    };
                    stretches.list.extend(memory.map(stretch));
                }
            }
        }
        Ok(stretches)
    }

    /// These bytes of the stream, if they are in memory.
    pub(crate) fn get(&self, start: u64, length: usize) -> Option<&[u8]> {
        let stretch = self.around(start, length)?;
        let skip = (start - stretch.bytes.start) as usize;
        let bytes = match &stretch.memory {
            Memory::Cached(window) => window.bytes(),
            Memory::Read(bytes) => bytes,
            Memory::Announced(_) => return None,
        };
        Some(&bytes[skip..skip + length])
    }

    /// Reads these bytes of the stream; `false` where they are not there.
    pub(crate) fn read<S: Source>(
        &self,
        start: u64,
        mut into: &mut [u8],
        source: &mut S,
    ) -> Result<bool, S::Error> {
        let looked_at = self.around(start, into.len()).is_some();
        let spans = source.layout().spans(start, into.len());
        for span in spans.collect::<Vec<_>>() {
            let (now, rest) = std::mem::take(&mut into).split_at_mut(span.length);
            into = rest;
            if source.is_pad(span.file) {
                now.fill(0);
                continue;
            }
            let read = |file: &File, offset| match looked_at {
                true => platform::read_at(file, &mut [IoSliceMut::new(now)], offset),
                false => read_and_drop(file, now, offset),
            };
            if source.with_file(&span, read)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Was all that was looked at in memory really what the files have?
    pub(crate) fn are_intact(&self) -> bool {
        self.list.iter().all(|stretch| match &stretch.memory {
            Memory::Cached(window) => window.is_intact(),
            _ => true,
        })
    }

    /// Everything has been hashed: drops what had to come from the disk through the page cache.
    pub(crate) fn finish<S: Source>(self, source: &mut S) -> Result<(), S::Error> {
        source.passed(self.length);
        for stretch in self.list {
            if let Memory::Announced(cold) = stretch.memory {
                source.with_file(&stretch.span, |file, _| {
                    for run in cold {
                        platform::let_go(file, run.start, run.end - run.start);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn around(&self, start: u64, length: usize) -> Option<&Stretch<'a>> {
        let end = start + length as u64;
        let mut stretches = self.list.iter();
        stretches.find(|stretch| stretch.bytes.start <= start && end <= stretch.bytes.end)
    }
}

impl<'a> Memory<'a> {
    fn look(file: &File, offset: u64, span: &Span, room: &mut &'a mut [u8]) -> Result<Self, Errno> {
        let Some(window) = Window::new(file, offset, span.length) else {
            // Nobody knows what is cached, so nothing is dropped.
            platform::will_need(file, offset, span.length as u64);
            return Ok(Self::Announced(Vec::new()));
        };
        let cold = window.cold();
        if cold.is_empty() {
            return Ok(Self::Cached(window));
        }
        if let Some(bytes) = read_past(file, offset..offset + span.length as u64, &cold, room)? {
            return Ok(Self::Read(bytes));
        }
        for run in &cold {
            platform::will_need(file, run.start, run.end - run.start);
        }
        Ok(Self::Announced(cold))
    }
}

/// Reads a part of a file: what is cached of it from there, and the rest past the page cache. `None`
/// where the file system refuses, or where there is no room.
fn read_past<'a>(
    file: &File,
    part: Range<u64>,
    cold: &[Range<u64>],
    room: &mut &'a mut [u8],
) -> Result<Option<&'a [u8]>, Errno> {
    const PAGE: u64 = 4096;
    let start = part.start / PAGE * PAGE;
    let size = (part.end.next_multiple_of(PAGE) - start) as usize;
    if size > room.len() {
        return Ok(None);
    }
    let Some((past, _)) = platform::open_direct(file, Access::Read, true) else {
        return Ok(None);
    };
    let (bytes, rest) = std::mem::take(room).split_at_mut(size);
    *room = rest;
    let mut read = |file: &File, from: u64, to: u64| {
        let bytes = &mut bytes[(from - start) as usize..(to - start) as usize];
        platform::read_at(file, &mut [IoSliceMut::new(bytes)], from)
    };
    let mut at = part.start;
    for run in cold {
        let (from, to) = (run.start.max(start), run.end.min(part.end));
        if at < from {
            read(file, at, from)?;
        }
        // Whole pages, except in the end: there may be no more of the file.
        let pages_end = to / PAGE * PAGE;
        match read(&past, from, pages_end) {
            Err(Errno(libc::EINVAL | libc::EOPNOTSUPP)) => return Ok(None),
            other => other?,
        }
        if pages_end < to {
            read(file, pages_end, to)?;
            platform::let_go(file, pages_end, to - pages_end);
        }
        at = to;
    }
    if at < part.end {
        read(file, at, part.end)?;
    }
    Ok(Some(
        &bytes[(part.start - start) as usize..(part.end - start) as usize],
    ))
}

/// Reads a few bytes, and if the disk was needed for that, drops them from the page cache again.
fn read_and_drop(file: &File, into: &mut [u8], offset: u64) -> Result<(), Errno> {
    match platform::read_cached_at(file, &mut [IoSliceMut::new(into)], offset) {
        Err(Errno(libc::EAGAIN)) => {
            platform::read_at(file, &mut [IoSliceMut::new(into)], offset)?;
            platform::let_go(file, offset, into.len() as u64);
            Ok(())
        }
        Err(Errno(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)) => {
            platform::read_at(file, &mut [IoSliceMut::new(into)], offset)
        }
        other => other,
    }
}
