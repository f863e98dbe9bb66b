//! When a thread takes the pieces that wait to be hashed. Pure: `now` is an argument.
//!
//! Side by side they cost a fraction, so one thread hashes what has come, and while too few have, it
//! waits a little. Whatever is not made cheaper by company is not kept waiting.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::hash::LANES;

/// Pieces that a thread takes at once, and that wait before a second thread hashes some, too: until
/// then the first one takes what has come meanwhile, side by side.
const BATCH: usize = LANES;
/// How long a piece waits for others.
const PATIENCE: Duration = Duration::from_millis(50);

pub(crate) struct Gathering<T> {
    waiting: VecDeque<T>,
    /// When the first of them came.
    since: Option<Instant>,
    /// One of them does not want to wait.
    hurry: bool,
    patience: Duration,
    /// Threads that hash.
    hashing: usize,
}

impl<T> Gathering<T> {
    /// Without `patience`, nothing waits for anything.
    pub(crate) fn new(patience: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            since: None,
            hurry: false,
            patience: if patience { PATIENCE } else { Duration::ZERO },
            hashing: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a piece; says whether a thread should have a look.
    pub(crate) fn push(&mut self, piece: T, may_wait: bool, now: Instant) -> bool {
        self.waiting.push_back(piece);
        self.hurry |= !may_wait;
        let first = self.since.is_none();
        self.since.get_or_insert(now);
        // The first one sets the time at which somebody looks again.
        first || self.is_time(now)
    }

    /// Those that wait now are not to wait for others; says whether a thread should have a look.
    pub(crate) fn hurry(&mut self) -> bool {
        self.hurry = !self.is_empty();
        self.hurry && self.hashing == 0
    }

    /// Pieces for one more thread, which calls `hashed` after it has hashed them.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Vec<T>> {
        if !self.is_time(now) {
            return None;
        }
        self.hashing += 1;
        let count = self.waiting.len().min(BATCH);
        let taken = self.waiting.drain(..count).collect();
        if self.waiting.is_empty() {
            (self.since, self.hurry) = (None, false);
        }
        Some(taken)
    }

    pub(crate) fn hashed(&mut self) {
        self.hashing -= 1;
    }

    /// Nothing more will come that would be worth waiting for.
    pub(crate) fn close(&mut self) {
        self.patience = Duration::ZERO;
    }

    /// When to look again though nothing has come; `None`: not before `hashed` or `push` say so.
    pub(crate) fn look_again(&self, now: Instant) -> Option<Duration> {
        let since = self.since.filter(|_| self.hashing == 0)?;
        Some((since + self.patience).saturating_duration_since(now))
    }

    fn is_time(&self, now: Instant) -> bool {
        let count = self.waiting.len();
        let is_late = || self.look_again(now).is_some_and(|time| time.is_zero());
        let first = count > 0 && self.hashing == 0;
        count >= BATCH || (first && (self.hurry || is_late()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathering(count: usize, now: Instant) -> Gathering<usize> {
        let mut gathering = Gathering::new(true);
        for piece in 0..count {
            gathering.push(piece, true, now);
        }
        gathering
    }

    #[test]
    fn few_pieces_wait_a_little_for_others() {
        let now = Instant::now();
        let mut few = gathering(8, now);
        assert_eq!(few.take(now + PATIENCE / 2), None);
        assert_eq!(few.look_again(now + PATIENCE / 2), Some(PATIENCE / 2));
        assert_eq!(few.take(now + PATIENCE).unwrap().len(), 8);
        assert_eq!(few.look_again(now + PATIENCE), None);
        assert!(few.push(9, true, now + PATIENCE));
        assert_eq!(few.take(now + 2 * PATIENCE), None); // while a thread hashes
        few.hashed();
        assert_eq!(few.look_again(now + 2 * PATIENCE), Some(Duration::ZERO));
        assert_eq!(few.take(now + 2 * PATIENCE), Some(vec![9]));
    }

    #[test]
    fn a_batch_goes_at_once_and_so_does_what_gains_nothing_by_waiting() {
        let now = Instant::now();
        let mut batch = gathering(LANES - 1, now);
        assert!(batch.push(99, true, now));
        assert_eq!(batch.take(now).unwrap().len(), LANES);
        let mut hurried = gathering(1, now);
        assert!(hurried.push(1, false, now));
        assert_eq!(hurried.take(now), Some(vec![0, 1]));
        hurried.hashed();
        assert!(hurried.push(2, true, now));
        assert_eq!(hurried.take(now), None);
        hurried.close();
        assert_eq!(hurried.take(now), Some(vec![2]));
    }

    #[test]
    fn who_has_waited_for_long_enough_takes_the_others_along() {
        let now = Instant::now();
        let mut few = gathering(2, now);
        assert!(few.hurry());
        assert_eq!(few.take(now), Some(vec![0, 1]));
        assert!(!few.hurry()); // nothing waits
        few.push(3, true, now);
        assert!(!few.hurry()); // a thread hashes, and looks afterwards
        few.hashed();
        assert_eq!(few.take(now), Some(vec![3]));
    }

    #[test]
    fn a_second_thread_comes_when_one_is_behind() {
        let now = Instant::now();
        let mut many = gathering(2 * LANES + 15, now);
        assert_eq!(many.take(now).unwrap().len(), LANES);
        assert_eq!(many.take(now).unwrap().len(), LANES);
        assert_eq!(many.take(now + PATIENCE), None);
        assert!(many.push(99, true, now));
        assert_eq!(many.take(now).unwrap().len(), LANES);
        assert!(many.is_empty());
    }

    #[test]
    fn without_patience_nothing_waits() {
        let now = Instant::now();
        let mut none = Gathering::new(false);
        assert!(none.push(1, true, now));
        assert_eq!(none.take(now), Some(vec![1]));
    }
}
