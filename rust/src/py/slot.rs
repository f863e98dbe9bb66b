//! `Pool` and `Slot`.

use std::ffi::c_int;
use std::sync::Arc;

use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::slot::{NoMemory, Pool, Slot};

/// A writable buffer of page-aligned memory. It returns to its pool when the last reference and the
/// last view of it are gone. One writer at a time: nobody writes to it once it was committed.
#[pyclass(frozen, name = "Slot", module = "swarm._native")]
pub(crate) struct PySlot(pub(crate) Arc<Slot>);

#[pymethods]
impl PySlot {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __repr__(&self) -> String {
        format!("<Slot of {} bytes>", self.0.len())
    }

    /// Exports the slot's memory, writable.
    ///
    /// # Safety
    /// `view` is the buffer that the interpreter wants filled in.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let slot = &slf.get().0;
        // SAFETY: the memory lives as long as the Slot object, which the view keeps alive by the
        // reference that PyBuffer_FillInfo takes; its length never changes.
        let code = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                slot.start().cast(),
                slot.len() as ffi::Py_ssize_t,
                0,
                flags,
            )
        };
        if code == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// Slots up to a high-water mark of `capacity` bytes; their memory is recycled by size.
#[pyclass(frozen, name = "Pool", module = "swarm._native")]
pub(crate) struct PyPool(Arc<Pool>);

#[pymethods]
impl PyPool {
    #[new]
    fn new(capacity: usize) -> Self {
        Self(Pool::new(capacity, true))
    }

    /// A slot of `size` bytes, or None above the high-water mark. An empty pool always grants one.
    fn checkout(&self, size: usize) -> PyResult<Option<PySlot>> {
        if size == 0 {
            return Err(PyValueError::new_err("a slot has at least one byte"));
        }
        match self.0.checkout(size) {
            Ok(slot) => Ok(slot.map(|slot| PySlot(Arc::new(slot)))),
            Err(NoMemory) => Err(PyMemoryError::new_err(format!(
                "no memory for a slot of {size} bytes"
            ))),
        }
    }

    /// Bytes that may be checked out at once.
    #[getter]
    fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Bytes checked out now.
    #[getter]
    fn in_use(&self) -> usize {
        self.0.in_use()
    }

    /// The most bytes that were ever checked out at once.
    #[getter]
    fn peak(&self) -> usize {
        self.0.peak()
    }
}
