//! The threads, and the queues they take their tasks from.
//!
//! Commits and reads take turns; every eighth task is a unit of a check, if there is one, and
//! checks fill whatever time is left. Changes of names are short, and go first. Syncs wait for the
//! device, so they have a thread of their own.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::files::Fault;
use crate::gather::Gathering;
use crate::jobs::change::Change;
use crate::jobs::check::{Check, Unit};
use crate::jobs::commit::run_pieces;
use crate::jobs::read::Read;
use crate::open_files::{How, OpenFiles};
use crate::platform::{self, CANCELED, Errno};
use crate::ring::{Outcome, Ring};
use crate::slot::{NoMemory, Pool, Slot};
use crate::storage::Storage;

/// Files kept open for all torrents together: this part of what the process may open, so that
/// peers have theirs, and at most so many.
const OPEN_FILES_SHARE: usize = 8;
const MOST_OPEN_FILES: usize = 512;

/// A lock that a panicking thread cannot make useless: what it guards is kept consistent by jobs
/// that turn a panic into an error.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `job`; a panic becomes an error like any other.
pub(crate) fn guarded<T>(job: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(job))
        .unwrap_or_else(|_| Err(Fault::of(Errno(libc::EIO), "internal")))
}

/// What the threads of one `Disk` share.
pub(crate) struct Engine {
    pub(crate) ring: Ring,
    pub(crate) read_pool: Arc<Pool>,
    pub(crate) open_files: Arc<OpenFiles>,
    queues: Mutex<Queues>,
    ready: Condvar,
    sync_ready: Condvar,
    threads: usize,
    ids: AtomicU64,
    movers: Mutex<Vec<JoinHandle<()>>>,
}

struct Queues {
    pieces: Gathering<(Arc<Storage>, u32)>,
    reads: VecDeque<Read>,
    checks: VecDeque<Arc<Check>>,
    changes: VecDeque<Change>,
    syncs: VecDeque<(Arc<Storage>, u64)>,
    turn: u8,
    idle: usize,
    closing: bool,
}

enum Task {
    Pieces(Vec<(Arc<Storage>, u32)>),
    Read(Read, Result<Slot, NoMemory>),
    Check(Arc<Check>, Unit),
    Change(Change),
    Sync(Arc<Storage>, u64),
}

/// The disk has been closed.
pub(crate) struct Closed;

impl Engine {
    /// Starts `threads` threads and one for syncs. With no threads, `work` runs everything.
    pub(crate) fn start(
        threads: usize,
        read_memory: usize,
        how: How,
    ) -> io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let open_files = (platform::descriptors() / OPEN_FILES_SHARE).min(MOST_OPEN_FILES);
        let engine = Arc::new(Self {
            ring: Ring::new()?,
            read_pool: Pool::new(read_memory, false),
            open_files: Arc::new(OpenFiles::new(open_files, how)),
            // The loop that works itself runs everything whenever it does.
            queues: Mutex::new(Queues::new(threads > 0)),
            ready: Condvar::new(),
            sync_ready: Condvar::new(),
            threads,
            ids: AtomicU64::new(0),
            movers: Mutex::default(),
        });
        let weak = Arc::downgrade(&engine);
        engine.read_pool.on_freed(move || {
            if let Some(engine) = weak.upgrade() {
                engine.slot_freed();
            }
        });
        let mut handles = Vec::new();
        for index in 0..threads {
            handles.push(engine.spawn(format!("swarm-disk-{index}"), Self::run)?);
        }
        if threads > 0 {
            handles.push(engine.spawn("swarm-sync".into(), Self::run_syncs)?);
        }
        Ok((engine, handles))
    }

    fn spawn(self: &Arc<Self>, name: String, run: fn(&Self)) -> io::Result<JoinHandle<()>> {
        let engine = Arc::clone(self);
        let started = std::thread::Builder::new()
            .name(name)
            .spawn(move || run(&engine));
        if started.is_err() {
            self.close();
        }
        started
    }

    /// A number that no other storage of this engine has.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a piece that has parts to commit. It `may_wait` for others to be hashed with.
    pub(crate) fn piece(
        &self,
        storage: Arc<Storage>,
        piece: u32,
        may_wait: bool,
    ) -> Result<(), Closed> {
        let queues = locked(&self.queues);
        if queues.closing {
            return Err(Closed);
        }
        self.push_piece(queues, storage, piece, may_wait);
        Ok(())
    }

    /// The same for a piece of which a thread has just finished a part: that thread goes on even
    /// when the engine is closing.
    pub(crate) fn piece_again(&self, storage: Arc<Storage>, piece: u32, may_wait: bool) {
        self.push_piece(locked(&self.queues), storage, piece, may_wait);
    }

    /// One of the pieces that wait has waited for long enough.
    pub(crate) fn hurry(&self) {
        let mut queues = locked(&self.queues);
        if queues.pieces.hurry() {
            self.notify(queues);
        }
    }

    fn push_piece(
        &self,
        mut queues: MutexGuard<'_, Queues>,
        storage: Arc<Storage>,
        piece: u32,
        may_wait: bool,
    ) {
        if (queues.pieces).push((storage, piece), may_wait, Instant::now()) {
            self.notify(queues);
        }
    }

    /// A thread has hashed its pieces and goes on to write them: another may hash meanwhile.
    fn hashed(&self) {
        let mut queues = locked(&self.queues);
        queues.pieces.hashed();
        if !queues.pieces.is_empty() {
            self.notify(queues);
        }
    }

    pub(crate) fn read(&self, read: Read) -> Result<(), Closed> {
        self.push(|queues| queues.reads.push_back(read))
    }

    /// Queues a change; one that takes long gets a thread of its own.
    pub(crate) fn change(&self, change: Change) -> Result<(), Closed> {
        if self.is_inline() || !change.is_long() {
            return self.push(|queues| queues.changes.push_back(change));
        }
        if self.is_closing() {
            return Err(Closed);
        }
        let name = std::thread::Builder::new().name("swarm-move".into());
        let handle = name.spawn(move || change.run()).map_err(|_| Closed)?;
        locked(&self.movers).push(handle);
        Ok(())
    }

    /// Waits for the changes that have threads of their own.
    pub(crate) fn join_movers(&self) {
        let movers = std::mem::take(&mut *locked(&self.movers));
        for handle in movers {
            let _ = handle.join();
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        locked(&self.queues).closing
    }

    pub(crate) fn check(&self, check: Arc<Check>) -> Result<(), Closed> {
        self.push(|queues| queues.checks.push_back(check))?;
        self.ready.notify_all();
        Ok(())
    }

    pub(crate) fn sync(&self, storage: Arc<Storage>, job: u64) -> Result<(), Closed> {
        self.push(|queues| queues.syncs.push_back((storage, job)))?;
        self.sync_ready.notify_one();
        Ok(())
    }

    /// Are there reads that wait for memory or for a thread?
    pub(crate) fn reads_waiting(&self) -> bool {
        !locked(&self.queues).reads.is_empty()
    }

    fn push(&self, put: impl FnOnce(&mut Queues)) -> Result<(), Closed> {
        let mut queues = locked(&self.queues);
        if queues.closing {
            return Err(Closed);
        }
        put(&mut queues);
        self.notify(queues);
        Ok(())
    }

    /// Wakes a thread if one sleeps, or the loop that has to work itself.
    fn notify(&self, queues: MutexGuard<'_, Queues>) {
        let sleeping = queues.idle > 0;
        drop(queues);
        if sleeping {
            self.ready.notify_one();
        } else if self.threads == 0 {
            self.ring.nudge();
        }
    }

    fn slot_freed(&self) {
        let queues = locked(&self.queues);
        if !queues.reads.is_empty() {
            self.notify(queues);
        }
    }

    /// Is it the loop that runs the jobs?
    pub(crate) fn is_inline(&self) -> bool {
        self.threads == 0
    }

    /// Runs all that is queued on this thread, for an engine without threads of its own.
    pub(crate) fn work(&self) {
        if !self.is_inline() {
            return;
        }
        loop {
            let mut queues = locked(&self.queues);
            let task = match queues.next(&self.read_pool) {
                None => queues.syncs.pop_front().map(|(s, job)| Task::Sync(s, job)),
                some => some,
            };
            drop(queues);
            match task {
                Some(task) => self.perform(task),
                None => return,
            }
        }
    }

    /// What a check does between the steps of a long unit: what is more urgent than the next one.
    pub(crate) fn work_before_more(&self) {
        const TURNS: usize = 7;
        for _ in 0..TURNS {
            match self.next_urgent() {
                Some(task) => self.perform(task),
                None => return,
            }
        }
    }

    fn next_urgent(&self) -> Option<Task> {
        let mut queues = locked(&self.queues);
        let next = queues.next_pieces();
        next.or_else(|| queues.next_read(&self.read_pool))
    }

    /// Queued jobs are finished, checks and reads that still wait for memory are not.
    pub(crate) fn close(&self) {
        let mut queues = locked(&self.queues);
        queues.closing = true;
        queues.pieces.close();
        for check in &queues.checks {
            check.cancel();
        }
        drop(queues);
        self.ready.notify_all();
        self.sync_ready.notify_all();
    }

    fn run(&self) {
        let mut queues = locked(&self.queues);
        loop {
            if let Some(task) = queues.next(&self.read_pool) {
                if queues.pieces.is_empty() {
                    drop(queues);
                } else {
                    self.notify(queues); // somebody has to keep the time for those that wait
                }
                self.perform(task);
                queues = locked(&self.queues);
            } else if queues.closing {
                let orphans = std::mem::take(&mut queues.reads);
                drop(queues);
                for read in orphans {
                    let fault = Fault::of(CANCELED, "read");
                    self.ring.push(read.job, Outcome::Error(fault));
                }
                return;
            } else {
                queues.idle += 1;
                queues = match queues.pieces.look_again(Instant::now()) {
                    Some(time) => {
                        let woken = self.ready.wait_timeout(queues, time);
                        woken.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => {
                        let woken = self.ready.wait(queues);
                        woken.unwrap_or_else(PoisonError::into_inner)
                    }
                };
                queues.idle -= 1;
            }
        }
    }

    fn run_syncs(&self) {
        let mut queues = locked(&self.queues);
        loop {
            if let Some((storage, job)) = queues.syncs.pop_front() {
                drop(queues);
                self.perform(Task::Sync(storage, job));
                queues = locked(&self.queues);
            } else if queues.closing {
                return;
            } else {
                queues = self
                    .sync_ready
                    .wait(queues)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn perform(&self, task: Task) {
        match task {
            Task::Pieces(pieces) => run_pieces(pieces, || self.hashed()),
            Task::Read(read, slot) => self.ring.push(read.job, read.run(slot)),
            Task::Check(check, unit) => check.run(unit),
            Task::Change(change) => change.run(),
            Task::Sync(storage, job) => {
                let outcome = match guarded(|| storage.run_sync()) {
                    Ok(()) => Outcome::Synced,
                    Err(fault) => Outcome::Error(fault),
                };
                self.ring.push(job, outcome);
            }
        }
    }
}

impl Queues {
    fn new(patience: bool) -> Self {
        Self {
            pieces: Gathering::new(patience),
            reads: VecDeque::new(),
            checks: VecDeque::new(),
            changes: VecDeque::new(),
            syncs: VecDeque::new(),
            turn: 0,
            idle: 0,
            closing: false,
        }
    }

    /// The next task that can run now.
    fn next(&mut self, pool: &Arc<Pool>) -> Option<Task> {
        if let Some(change) = self.changes.pop_front() {
            return Some(Task::Change(change));
        }
        self.turn = (self.turn + 1) % 8;
        if self.turn == 0
            && let task @ Some(_) = self.next_check()
        {
            return task;
        }
        if self.turn.is_multiple_of(2) {
            self.next_read(pool).or_else(|| self.next_pieces())
        } else {
            self.next_pieces().or_else(|| self.next_read(pool))
        }
        .or_else(|| self.next_check())
    }

    /// Whatever has come, up to what can be hashed side by side.
    fn next_pieces(&mut self) -> Option<Task> {
        self.pieces.take(Instant::now()).map(Task::Pieces)
    }

    fn next_read(&mut self, pool: &Arc<Pool>) -> Option<Task> {
        let slot = pool.checkout(self.reads.front()?.size()).transpose()?;
        let read = self.reads.pop_front()?;
        Some(Task::Read(read, slot))
    }

    /// A unit of the check whose turn it is; checks that have none left are dropped.
    fn next_check(&mut self) -> Option<Task> {
        while let Some(check) = self.checks.pop_front() {
            if let Some(unit) = check.claim() {
                self.checks.push_back(Arc::clone(&check));
                return Some(Task::Check(check, unit));
            }
        }
        None
    }
}
