//! What the threads do: one file for each kind of job.

pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod read;
mod sync;
