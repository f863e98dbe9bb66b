//! Where the bytes of pieces come from: memory where the page cache has them, the disk otherwise.
//!
//! What is in the page cache is hashed in place, through a `Window`, which saves a copy. What is not
//! is announced as a whole, read, and dropped from the page cache afterwards, so that hashing a
//! large file does not cost the user what was cached before.

use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;

use crate::layout::{Layout, Span};
use crate::platform::{self, Errno, Window};

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
pub(crate) struct Stretches(Vec<Stretch>);

struct Stretch {
    /// Where in the torrent's stream it is.
    bytes: Range<u64>,
    span: Span,
    /// It is all in memory.
    window: Option<Window>,
    /// What has to come from the disk.
    cold: Vec<Range<u64>>,
}

impl Stretches {
    /// Looks at these parts of the stream, which are in order.
    pub(crate) fn look<S: Source>(
        parts: impl Iterator<Item = Range<u64>>,
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
                source.passed(span.length as u64);
                if span.length >= WORTHWHILE {
                    let look = |file: &File, offset| Ok(Stretch::look(file, offset, bytes, span));
                    stretches.0.extend(source.with_file(&span, look)?);
                }
            }
        }
        Ok(stretches)
    }

    /// These bytes of the stream, if they are in memory.
    pub(crate) fn get(&self, start: u64, length: usize) -> Option<&[u8]> {
        let stretch = self.around(start, length)?;
        let skip = (start - stretch.bytes.start) as usize;
        Some(&stretch.window.as_ref()?.bytes()[skip..skip + length])
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
        let mut windows = self.0.iter().filter_map(|stretch| stretch.window.as_ref());
        windows.all(Window::is_intact)
    }

    /// Drops what had to come from the disk.
    pub(crate) fn drop_cold<S: Source>(self, source: &mut S) -> Result<(), S::Error> {
        for stretch in self.0 {
            if stretch.cold.is_empty() {
                continue;
            }
            source.with_file(&stretch.span, |file, _| {
                for run in &stretch.cold {
                    platform::let_go(file, run.start, run.end - run.start);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn around(&self, start: u64, length: usize) -> Option<&Stretch> {
        let end = start + length as u64;
        let mut stretches = self.0.iter();
        stretches.find(|stretch| stretch.bytes.start <= start && end <= stretch.bytes.end)
    }
}

impl Stretch {
    fn look(file: &File, offset: u64, bytes: Range<u64>, span: Span) -> Self {
        let window = Window::new(file, offset, span.length);
        let cold = window.as_ref().map_or_else(Vec::new, Window::cold);
        for run in &cold {
            platform::will_need(file, run.start, run.end - run.start);
        }
        if window.is_none() {
            // Nobody knows what is cached, so nothing is dropped.
            platform::will_need(file, offset, span.length as u64);
        }
        Self {
            bytes,
            span,
            window: window.filter(|_| cold.is_empty()),
            cold,
        }
    }
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
