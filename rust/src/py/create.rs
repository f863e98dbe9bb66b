//! `hash_files` and its `Progress`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::create::{Create, Hashes, Progress, Trouble};
use crate::hash::pieces::Versions;
use crate::layout::Layout;

/// How many bytes `hash_files` has hashed so far, for another thread to look at.
#[pyclass(frozen, name = "Progress", module = "swarm._native")]
pub(crate) struct PyProgress(Arc<Progress>);

#[pymethods]
impl PyProgress {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Bytes hashed so far.
    #[getter]
    fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Makes `hash_files` stop with an OSError (ECANCELED).
    fn cancel(&self) {
        self.0.canceled.store(true, Ordering::Relaxed);
    }
}

/// What `hash_files` found; what was not asked for is empty.
#[pyclass(frozen, name = "Hashes", module = "swarm._native")]
pub(crate) struct PyHashes(Hashes);

#[pymethods]
impl PyHashes {
    /// Version 1: the SHA-1 of each piece, back to back.
    #[getter]
    fn pieces<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.pieces)
    }

    /// Version 2: the root of each file's Merkle tree; empty for files without bytes, and for pads.
    #[getter]
    fn roots<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let roots = self.0.roots.iter();
        let roots = roots.map(|root| PyBytes::new(py, root.as_ref().map_or(&[], |root| root)));
        roots.collect()
    }

    /// Version 2: each file's piece layer, back to back; empty for files no longer than a piece.
    #[getter]
    fn layers<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let layers = self.0.layers.iter();
        let layers = layers.map(|layer| PyBytes::new(py, layer.as_flattened()));
        layers.collect()
    }
}

/// The hashes of files, in one pass for both versions. Releases the GIL; Ctrl-C gets through.
#[pyfunction]
#[pyo3(signature = (files, piece_length, threads, progress=None, *, v1=true, v2=false))]
pub(crate) fn hash_files(
    py: Python<'_>,
    files: Vec<(PathBuf, u64)>,
    piece_length: u32,
    threads: usize,
    progress: Option<&Bound<'_, PyProgress>>,
    v1: bool,
    v2: bool,
) -> PyResult<PyHashes> {
    const LOOK_AT_SIGNALS: Duration = Duration::from_millis(50);
    let layout = Layout::new(files.iter().map(|file| file.1), piece_length)
        .ok_or_else(|| PyValueError::new_err("lengths or piece length out of range"))?;
    let progress = progress.map_or_else(Arc::default, |p| Arc::clone(&p.get().0));
    let paths = files.into_iter().map(|file| file.0).collect();
    let create = Create::new(paths, layout, Versions { v1, v2 }, Arc::clone(&progress))
        .map_err(PyValueError::new_err)?;
    let signal = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, 256))
            .map(|_| scope.spawn(|| create.run()))
            .collect();
        let mut signal = Ok(());
        py.detach(|| {
            let mut wait = Duration::from_micros(100);
            while !workers.iter().all(|worker| worker.is_finished()) {
                thread::park_timeout(wait);
                wait = (wait * 2).min(LOOK_AT_SIGNALS);
                if wait == LOOK_AT_SIGNALS && signal.is_ok() {
                    signal = Python::attach(|py| py.check_signals());
                    if signal.is_err() {
                        progress.canceled.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
        signal
    });
    signal?;
    match create.finish() {
        Ok(hashes) => Ok(PyHashes(hashes)),
        Err(trouble) => Err(error(py, trouble)?),
    }
}

fn error(py: Python<'_>, trouble: Trouble) -> PyResult<PyErr> {
    let code = trouble.errno.0;
    let text = match trouble.reason {
        Some(reason) => reason.to_owned(),
        None => py
            .import("os")?
            .call_method1("strerror", (code,))?
            .extract()?,
    };
    Ok(match trouble.path {
        Some(path) => PyOSError::new_err((code, text, path.into_os_string())),
        None => PyOSError::new_err((code, text)),
    })
}
