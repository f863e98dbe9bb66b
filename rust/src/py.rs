//! The Python module `swarm._native`. Worker threads never come here.

mod create;
mod disk;
mod hash;
mod slot;

use pyo3::prelude::*;

/// Slots, hashing and files, without the GIL.
#[pymodule]
#[pyo3(name = "_native")]
mod module {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::create::{PyHashes, PyProgress, hash_files};
    #[pymodule_export]
    use super::disk::{PyDisk, PyStorage};
    #[pymodule_export]
    use super::hash::{hash_kernels, hash_many};
    #[pymodule_export]
    use super::slot::{PyPool, PySlot};

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::hash::check_override()
    }
}
