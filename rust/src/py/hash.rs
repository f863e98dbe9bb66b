//! `hash_many` and `hash_kernels`: the kernels by themselves, for tests and benchmarks.

use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::hash::kernels::{self, Kernel};
use crate::hash::{Algorithm, Sha1, Sha256, hash_many_with};

/// The hashes of messages, side by side. Releases the GIL.
#[pyfunction]
#[pyo3(signature = (algorithm, messages, kernel=None))]
pub(crate) fn hash_many<'py>(
    py: Python<'py>,
    algorithm: &str,
    messages: Vec<PyBackedBytes>,
    kernel: Option<&str>,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let named = |name| {
        Kernel::named(name)
            .ok_or_else(|| PyValueError::new_err(format!("no kernel {name:?} on this machine")))
    };
    let kernel = kernel.map(named).transpose()?;
    match algorithm {
        "sha1" => Ok(run::<Sha1>(py, &messages, kernel)),
        "sha256" => Ok(run::<Sha256>(py, &messages, kernel)),
        _ => Err(PyValueError::new_err("the algorithm is sha1 or sha256")),
    }
}

fn run<'py, A: Algorithm>(
    py: Python<'py>,
    messages: &[PyBackedBytes],
    kernel: Option<Kernel>,
) -> Vec<Bound<'py, PyBytes>>
where
    A::Sum: AsRef<[u8]> + Send,
{
    let messages: Vec<&[u8]> = messages.iter().map(|message| &**message).collect();
    let sums = py.detach(|| hash_many_with::<A>(kernel, &messages));
    sums.iter()
        .map(|sum| PyBytes::new(py, sum.as_ref()))
        .collect()
}

/// The kernels that this machine can run, the fastest for many messages first.
#[pyfunction]
pub(crate) fn hash_kernels() -> Vec<&'static str> {
    Kernel::available().map(Kernel::name).collect()
}

/// Fails where the environment asks for a kernel that this machine does not have.
pub(super) fn check_override() -> PyResult<()> {
    kernels::forced().map(|_| ()).map_err(|name| {
        let there = hash_kernels().join(", ");
        let variable = kernels::OVERRIDE;
        PyImportError::new_err(format!("{variable}={name}: this machine has {there}"))
    })
}
