//! Slots: page-aligned buffers from a pool with a high-water mark, recycled.
//!
//! A slot has one writer at a time: the loop while it fills, then the disk's threads once it is
//! committed (or the other way round for a read), then nobody until it is back in the pool.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::platform::Map;
use crate::recent::Trace;
use crate::workers::locked;

const PAGE: usize = 4096;
/// Bytes of slots that lie side by side, so that they share large pages.
const TOGETHER: usize = 64 << 20;

/// There is no memory for a slot (ENOMEM), which is not the same as a pool that is full.
pub(crate) struct NoMemory;

/// Hands out slots until `capacity` bytes are in use.
pub(crate) struct Pool {
    capacity: usize,
    /// Whether slots keep their bytes for as long as possible after they came back. If not, the
    /// memory that was used last is used again first, while the processor's cache has it.
    remembers: bool,
    books: Mutex<Books>,
    /// Called after each slot that came back.
    freed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Books {
    in_use: usize,
    peak: usize,
    /// Memory of slots in use and of idle ones.
    mapped: usize,
    /// By size; the system gives them their memory when they are first used.
    untouched: HashMap<usize, Vec<Map>>,
    /// By size, the ones that came back last at the end.
    idle: HashMap<usize, VecDeque<Arc<Map>>>,
}

/// A buffer of `len` bytes. Dropping it returns it to its pool, which it keeps alive.
pub(crate) struct Slot {
    map: Option<Arc<Map>>,
    /// Where in its memory it begins, below a page.
    shift: AtomicUsize,
    len: usize,
    pool: Arc<Pool>,
}

impl Pool {
    pub(crate) fn new(capacity: usize, remembers: bool) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            remembers,
            books: Mutex::default(),
            freed: OnceLock::new(),
        })
    }

    /// Sets what is called after each slot that comes back. The first call wins.
    pub(crate) fn on_freed(&self, call: impl Fn() + Send + Sync + 'static) {
        let _ = self.freed.set(Box::new(call));
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn in_use(&self) -> usize {
        locked(&self.books).in_use
    }

    pub(crate) fn peak(&self) -> usize {
        locked(&self.books).peak
    }

    /// A slot, or `None` above the high-water mark. An empty pool grants one slot of any size, or
    /// a piece larger than the pool could never be fetched.
    pub(crate) fn checkout(self: &Arc<Self>, size: usize) -> Result<Option<Slot>, NoMemory> {
        let class = size_class(size).ok_or(NoMemory)?;
        let mut books = locked(&self.books);
        let in_use = books.in_use.checked_add(size).ok_or(NoMemory)?;
        if books.in_use > 0 && in_use > self.capacity {
            return Ok(None);
        }
        let fresh = self.remembers && books.mapped + class <= self.capacity;
        let map = match (!fresh)
            .then(|| books.take(class, self.remembers))
            .flatten()
        {
            Some(map) => map,
            None => {
                books.make_room(class, self.bound());
                let together = match self.remembers {
                    true => (self.capacity.min(TOGETHER) / class).max(1),
                    // Answers are of many sizes, and large pages for each would cost too much.
                    false => 1,
                };
                let map = books.untouched(class, together).ok_or(NoMemory)?;
                books.mapped += class;
                map
            }
        };
        books.in_use = in_use;
        books.peak = books.peak.max(in_use);
        Ok(Some(Slot {
            map: Some(Arc::new(map)),
            shift: AtomicUsize::new(0),
            len: size,
            pool: Arc::clone(self),
        }))
    }

    /// The most memory kept mapped; size classes are allowed their waste on top of the capacity.
    fn bound(&self) -> usize {
        self.capacity.saturating_add(self.capacity / 4)
    }

    fn give_back(&self, map: Arc<Map>, len: usize) {
        let class = map.size() - PAGE;
        let mut books = locked(&self.books);
        books.in_use -= len;
        if books.mapped > self.bound() {
            books.mapped -= class;
        } else {
            books.idle.entry(class).or_default().push_back(map);
        }
        drop(books);
        if let Some(call) = self.freed.get() {
            call();
        }
    }
}

impl Books {
    /// Memory of a size that nobody has used yet, of which the system is asked for several at once.
    fn untouched(&mut self, class: usize, together: usize) -> Option<Map> {
        let untouched = self.untouched.entry(class).or_default();
        if untouched.is_empty() {
            // One more page, so that the slot can begin anywhere in the first one.
            *untouched = match together {
                1 => vec![Map::new(class + PAGE)?],
                _ => Map::several(class + PAGE, together)?,
            };
        }
        untouched.pop()
    }

    /// Idle memory of a size: what has been idle for longest, or else for the shortest time. What is
    /// being read from there right now is passed over.
    fn take(&mut self, class: usize, oldest: bool) -> Option<Map> {
        let idle = self.idle.get_mut(&class)?;
        if !oldest {
            return Arc::try_unwrap(idle.pop_back()?).ok();
        }
        for _ in 0..idle.len() {
            match Arc::try_unwrap(idle.pop_front()?) {
                Ok(map) => return Some(map),
                Err(busy) => idle.push_back(busy),
            }
        }
        None
    }

    /// Lets go of idle memory of other sizes until `size` more fits, as far as that is possible.
    fn make_room(&mut self, size: usize, bound: usize) {
        let Self { mapped, idle, .. } = self;
        idle.retain(|&class, maps| {
            while *mapped + size > bound && maps.pop_front().is_some() {
                *mapped -= class;
            }
            !maps.is_empty()
        });
    }
}

impl Slot {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn start(&self) -> *mut u8 {
        let shift = self.shift.load(Ordering::Relaxed);
        // SAFETY: below a page, and the memory is larger than the slot by one.
        let start = |map: &Arc<Map>| unsafe { map.start().add(shift) };
        self.map.as_ref().map_or(std::ptr::null_mut(), start)
    }

    /// Lets the slot begin so many bytes behind the start of a page: those of them that are to be a
    /// page of a file shall be a page here. For a slot that nobody has looked at yet.
    pub(crate) fn shift(&self, bytes: u64) {
        let shift = (bytes % PAGE as u64) as usize;
        self.shift.store(shift, Ordering::Relaxed);
    }

    /// Where its first `length` bytes are, for as long as nobody else gets the memory.
    pub(crate) fn trace(&self, length: usize) -> Trace {
        Trace {
            memory: (self.map.as_ref()).map_or_else(Default::default, Arc::downgrade),
            start: self.shift.load(Ordering::Relaxed),
            length,
        }
    }

    /// The slot's bytes.
    ///
    /// # Safety
    /// Nobody writes to the slot while the result lives.
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from the start on lie within the mapping, which was zeroed when it was
        // made, and lives as long as self.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }

    /// The slot's bytes, of a slot that nobody else has seen yet.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only way to it: views exist of shared slots only.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.pool.give_back(map, self.len);
        }
    }
}

/// Sizes are rounded up to whole pages and to a quarter of a power of two, so that slots of nearly
/// the same size (answers to batches of requests) recycle each other's memory.
fn size_class(size: usize) -> Option<usize> {
    let step = (size.checked_next_power_of_two()? / 8).max(PAGE);
    let class = size.max(1).checked_next_multiple_of(step)?;
    (class < isize::MAX as usize - PAGE).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(pool: &Arc<Pool>, size: usize) -> Option<Slot> {
        pool.checkout(size).ok().unwrap()
    }

    #[test]
    fn the_high_water_mark_holds() {
        let pool = Pool::new(100, false);
        let first = checkout(&pool, 60).unwrap();
        assert!(checkout(&pool, 41).is_none());
        let second = checkout(&pool, 40).unwrap();
        assert_eq!((pool.in_use(), pool.peak()), (100, 100));
        drop(first);
        assert_eq!((pool.in_use(), pool.peak()), (40, 100));
        drop(second);
        assert!(checkout(&pool, 1000).is_some());
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn memory_is_recycled_and_bounded() {
        let pool = Pool::new(8 * PAGE, false);
        let mut slot = checkout(&pool, 2 * PAGE).unwrap();
        let start = slot.start();
        assert_eq!(start as usize % PAGE, 0);
        slot.bytes_mut()[0] = 7;
        drop(slot);
        let slot = checkout(&pool, 2 * PAGE - 1).unwrap();
        assert_eq!((slot.start(), slot.len()), (start, 2 * PAGE - 1));
        drop(slot);
        drop(checkout(&pool, 8 * PAGE));
        assert_eq!(locked(&pool.books).mapped, 10 * PAGE);
        drop(checkout(&pool, 16 * PAGE));
        assert!(locked(&pool.books).mapped <= 10 * PAGE);
    }

    #[test]
    fn a_slot_begins_where_it_is_told_to() {
        let pool = Pool::new(8 * PAGE, true);
        let mut slot = checkout(&pool, 2 * PAGE).unwrap();
        slot.shift(5 * PAGE as u64 + 4095);
        assert_eq!(slot.start() as usize % PAGE, 4095);
        slot.bytes_mut().fill(7);
        drop(slot);
        let slot = checkout(&pool, 2 * PAGE).unwrap();
        assert_eq!(slot.start() as usize % PAGE, 0);
    }

    #[test]
    fn a_slot_outlives_its_pool() {
        let pool = Pool::new(PAGE, false);
        let mut slot = checkout(&pool, 10).unwrap();
        drop(pool);
        slot.bytes_mut().fill(1);
        // SAFETY: the slot is ours alone.
        assert_eq!(unsafe { slot.bytes() }, [1; 10]);
    }

    #[test]
    fn classes_waste_at_most_a_quarter_and_keep_powers_of_two() {
        for shift in 12..40 {
            assert_eq!(size_class(1 << shift), Some(1 << shift));
        }
        for size in (1 << 16..1 << 20).step_by(4567) {
            let class = size_class(size).unwrap();
            assert!(class >= size && class - size <= size / 4 + PAGE);
        }
        assert_eq!(size_class(usize::MAX), None);
    }
}
