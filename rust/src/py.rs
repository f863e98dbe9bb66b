//! The Python module `swarm._native`. Worker threads never come here.

mod create;
mod disk;
mod slot;

use pyo3::prelude::*;

/// Slots, hashing and files, without the GIL.
#[pymodule]
#[pyo3(name = "_native")]
mod module {
    #[pymodule_export]
    use super::create::{PyHashes, PyProgress, hash_files};
    #[pymodule_export]
    use super::disk::{PyDisk, PyStorage};
    #[pymodule_export]
    use super::slot::{PyPool, PySlot};
}
