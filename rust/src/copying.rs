//! Copies of bytes between files, with their holes.

use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;

use crate::platform::{self, Errno};

/// Bytes at a time.
const STEP: usize = 1 << 20;

/// A stretch of one file, and where it goes in another.
#[derive(Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) length: u64,
}

/// The stretches of a file that are no holes.
fn data(file: &File, offset: u64, length: u64) -> Result<Vec<Range<u64>>, Errno> {
    let end = (offset + length).min(file.metadata()?.len());
    let mut found = Vec::new();
    let mut at = offset;
    for hole in platform::holes(file, offset, length) {
        found.push(at..hole.start);
        at = hole.end;
    }
    found.push(at..end);
    found.retain(|stretch| stretch.start < stretch.end);
    Ok(found)
}

/// Is there anything but holes in a stretch of a file?
pub(crate) fn has_data(file: &File, offset: u64, length: u64) -> Result<bool, Errno> {
    Ok(!data(file, offset, length)?.is_empty())
}

/// Copies what there is of a stretch. `done` is told of the bytes that are through, holes too, and may
/// call it off.
pub(crate) fn copy(
    from: &File,
    to: &File,
    stretch: Stretch,
    mut done: impl FnMut(u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut buffer = vec![0; STEP.min(stretch.length as usize)];
    let mut at = stretch.from;
    for data in data(from, stretch.from, stretch.length)? {
        done(data.start - at)?;
        at = data.start;
        while at < data.end {
            let count = buffer.len().min((data.end - at) as usize);
            let bytes = &mut buffer[..count];
            platform::read_at(from, &mut [IoSliceMut::new(bytes)], at)?;
            platform::write_at(to, bytes, at - stretch.from + stretch.to)?;
            done(count as u64)?;
            at += count as u64;
        }
    }
    done(stretch.from + stretch.length - at)
}
