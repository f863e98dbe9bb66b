//! `Disk` and `Storage`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::slot::PySlot;
use crate::direct::Direct;
use crate::files::Files;
use crate::frames;
use crate::hash::{Digest, merkle};
use crate::jobs::change::{Change, What};
use crate::jobs::check::Check;
use crate::jobs::commit::{Part, Refused};
use crate::jobs::read::Read;
use crate::layout::Layout;
use crate::open_files::How;
use crate::places::{Home, Place, Places, Root};
use crate::ring::{Completion, Outcome};
use crate::storage::Storage;
use crate::workers::{Closed, Engine, locked};

/// Threads that hash, read and write. See the package's `_native.pyi` for what completions look like.
#[pyclass(frozen, name = "Disk", module = "swarm._native")]
pub(crate) struct PyDisk {
    engine: Arc<Engine>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[pymethods]
impl PyDisk {
    #[new]
    #[pyo3(signature = (threads, read_memory, direct = "auto", sparse = true))]
    fn new(threads: usize, read_memory: usize, direct: &str, sparse: bool) -> PyResult<Self> {
        const MOST: usize = 256;
        if threads > MOST {
            return Err(PyValueError::new_err(format!("at most {MOST} threads")));
        }
        let direct = match direct {
            "auto" => Direct::Auto,
            "always" => Direct::Always,
            "never" => Direct::Never,
            _ => return Err(PyValueError::new_err("direct is auto, always or never")),
        };
        let (engine, handles) = Engine::start(threads, read_memory, How { direct, sparse })?;
        Ok(Self {
            engine,
            threads: Mutex::new(handles),
        })
    }

    /// What waits for others to be hashed with goes now.
    fn hurry(&self) {
        self.engine.hurry();
    }

    /// A descriptor that is readable while completions wait.
    fn fileno(&self) -> u64 {
        self.engine.ring.handle()
    }

    /// All completions so far; clears the wake-up. Without threads, this is where the jobs run.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        if self.engine.is_inline() {
            py.detach(|| self.engine.work());
        }
        let completions = self.engine.ring.drain();
        completions.into_iter().map(|c| tuple(py, c)).collect()
    }

    /// The torrent's files below `root`. Touches nothing yet.
    #[pyo3(signature = (root, files, piece_length, writable, *, part_names=None, make_parts=false, aside=None, unwanted=None, links=None, v2=false, elsewhere=None, mark=None))]
    #[expect(clippy::too_many_arguments, reason = "most of them are keywords")]
    fn open(
        &self,
        root: PathBuf,
        files: Vec<(Vec<OsString>, u64)>,
        piece_length: u32,
        writable: bool,
        part_names: Option<Vec<Option<OsString>>>,
        make_parts: bool,
        aside: Option<(PathBuf, Vec<OsString>)>,
        unwanted: Option<Vec<usize>>,
        links: Option<BTreeMap<usize, Vec<OsString>>>,
        v2: bool,
        elsewhere: Option<HashMap<usize, Elsewhere>>,
        mark: Option<String>,
    ) -> PyResult<PyStorage> {
        let layout = Layout::new(files.iter().map(|file| file.1), piece_length)
            .ok_or_else(|| PyValueError::new_err("lengths or piece length out of range"))?;
        if v2 {
            let is_pad = |file: usize| files[file].0.is_empty();
            merkle::check(&layout, is_pad).map_err(PyValueError::new_err)?;
        }
        let unwanted = unwanted.unwrap_or_default();
        let mut parts = part_names.unwrap_or_else(|| vec![None; files.len()]);
        if parts.len() != files.len() {
            return Err(PyValueError::new_err("a part name for each file, or None"));
        }
        let mut homes = Homes::default();
        let aside = aside.map(|(root, path)| homes.home((root, path, None)));
        let aside = aside.transpose()?.map(|home| Place::new(home, true));
        let links = links.unwrap_or_default();
        let mut elsewhere = elsewhere.unwrap_or_default();
        let mut places = Vec::with_capacity(files.len());
        for (file, (path, _)) in files.into_iter().enumerate() {
            let usual = (root.clone(), path, parts[file].take());
            let mut home = homes.home(elsewhere.remove(&file).unwrap_or(usual))?;
            if let Some(target) = links.get(&file) {
                home.link = Some(way(&home.path, target)?);
            }
            let wanted = aside.is_none() || unwanted.binary_search(&file).is_err();
            places.push(Place::new(home, wanted));
        }
        let engine = Arc::clone(&self.engine);
        let open = Arc::clone(&engine.open_files);
        let places = Places::new(places, aside, make_parts);
        let files = Files::new(open, engine.next_id(), places, layout, writable);
        let mark = mark.unwrap_or_else(|| "swarm".into());
        Ok(PyStorage(Storage::new(engine, files, v2, mark)))
    }

    /// Finishes queued jobs and joins the threads. Checks are cancelled, and so are reads that
    /// wait for memory.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            self.engine.work();
            self.engine.close();
            for thread in locked(&self.threads).drain(..) {
                let _ = thread.join();
            }
            self.engine.join_movers();
        });
    }
}

impl Drop for PyDisk {
    fn drop(&mut self) {
        self.engine.close();
    }
}

/// One torrent on the disk.
#[pyclass(frozen, name = "Storage", module = "swarm._native")]
pub(crate) struct PyStorage(Arc<Storage>);

#[pymethods]
impl PyStorage {
    /// The piece's next `length` bytes. `digest` comes with the last part.
    #[pyo3(signature = (job, piece, offset, slot, length, digest, patient=false))]
    #[expect(clippy::too_many_arguments, reason = "each is one fact of a part")]
    fn commit(
        &self,
        job: u64,
        piece: u32,
        offset: u32,
        slot: &Bound<'_, PySlot>,
        length: u32,
        digest: Option<&[u8]>,
        patient: bool,
    ) -> PyResult<()> {
        let digest = digest.map(|bytes| {
            Digest::new(bytes).ok_or_else(|| PyValueError::new_err("a digest has 20 or 32 bytes"))
        });
        let part = Part {
            job,
            offset,
            length,
            slot: Arc::clone(&slot.get().0),
            digest: digest.transpose()?,
            patient,
        };
        self.0.commit(piece, part).map_err(|refused| match refused {
            Refused::Wrong(why) => PyValueError::new_err(why),
            Refused::Closed => closed(),
        })
    }

    /// Says which bytes of a piece a slot is going to hold, before anybody looks at it.
    fn align(&self, slot: &Bound<'_, PySlot>, piece: u32, offset: u32) {
        let (layout, slot) = (&self.0.files.layout, &slot.get().0);
        let offset = layout.piece_offset(piece) + u64::from(offset);
        slot.shift(layout.shift(offset, slot.len()));
    }

    /// Drops a half-hashed piece (it starts again from offset 0).
    fn forget(&self, piece: u32) {
        self.0.forget(piece);
    }

    /// Reads blocks into one slot of ready-to-send frames.
    fn read(&self, job: u64, requests: &[u8]) -> PyResult<()> {
        let read = Read {
            job,
            requests: self.parse(requests)?,
            storage: Arc::clone(&self.0),
        };
        self.0.engine.read(read).map_err(|Closed| closed())
    }

    /// The same at once, if it is in the page cache and there is memory for it.
    fn read_cached(&self, requests: &[u8]) -> PyResult<Option<PySlot>> {
        let requests = self.parse(requests)?;
        let slot = self.0.read_cached(&requests);
        Ok(slot.map(|slot| PySlot(Arc::new(slot))))
    }

    /// Hashes what is on the disk of the pieces in `todo`.
    #[pyo3(signature = (job, digests, todo, fresh=false))]
    fn check(&self, job: u64, digests: &[u8], todo: &[u8], fresh: bool) -> PyResult<()> {
        self.open_for_jobs()?;
        let check = Check::new(Arc::clone(&self.0), job, digests, todo, fresh);
        let check = check.map_err(PyValueError::new_err)?;
        self.0.engine.check(check).map_err(|Closed| closed())
    }

    /// Stops a check, which then ends with an error (ECANCELED).
    fn cancel(&self, job: u64) {
        self.0.cancel(job);
    }

    /// Makes durable what was written since the last sync.
    fn sync(&self, job: u64) -> PyResult<()> {
        self.open_for_jobs()?;
        let engine = &self.0.engine;
        engine
            .sync(Arc::clone(&self.0), job)
            .map_err(|Closed| closed())
    }

    /// A letter for each file: what is known of where it is.
    fn spots<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.0.files.places.spots()))
    }

    /// Gives files that are complete their final names.
    fn finish(&self, job: u64, files: Vec<usize>) -> PyResult<()> {
        self.known(&files)?;
        self.change(job, What::Finish(files))
    }

    /// Says which files (ascending) are not to be on the disk.
    fn unwant(&self, job: u64, files: Vec<usize>) -> PyResult<()> {
        self.change(job, What::Unwant(files))
    }

    /// Makes ready to move files to other homes, and copies those that have to be.
    fn prepare(&self, job: u64, to: HashMap<usize, Elsewhere>) -> PyResult<()> {
        let mut homes = Homes::default();
        let mut moves = Vec::with_capacity(to.len());
        for (file, home) in to {
            moves.push((file, homes.home(home)?));
        }
        moves.sort_unstable_by_key(|(file, _)| *file);
        if moves
            .last()
            .is_some_and(|(file, _)| *file >= self.0.files.places.count())
        {
            return Err(PyValueError::new_err("no such file"));
        }
        self.change(job, What::Prepare(moves))
    }

    /// Moves what was made ready.
    fn switch(&self, job: u64) -> PyResult<()> {
        self.change(job, What::Switch)
    }

    /// Says what a move that was cut short has left behind.
    fn leaves(&self, file: usize, home: Elsewhere, part: bool) -> PyResult<()> {
        self.known(&[file])?;
        let home = Homes::default().home(home)?;
        self.0.files.places.leaves(file, home, part);
        Ok(())
    }

    /// Takes away what moved files left behind.
    fn release(&self, job: u64) -> PyResult<()> {
        self.change(job, What::Release)
    }

    /// Takes files away, under their part names where it says so.
    fn remove(&self, job: u64, files: Vec<(usize, bool)>) -> PyResult<()> {
        self.known(&files.iter().map(|file| file.0).collect::<Vec<_>>())?;
        self.change(job, What::Remove(files))
    }

    /// Reserves the space that files need.
    fn allocate(&self, job: u64, files: Vec<usize>) -> PyResult<()> {
        self.known(&files)?;
        self.change(job, What::Allocate(files))
    }

    /// Lets go of the files. Queued jobs still finish; new ones are refused.
    fn close(&self) {
        self.0.close();
    }
}

impl PyStorage {
    fn known(&self, files: &[usize]) -> PyResult<()> {
        match files.iter().all(|&file| file < self.0.files.count()) {
            true => Ok(()),
            false => Err(PyValueError::new_err("no such file")),
        }
    }

    fn change(&self, job: u64, what: What) -> PyResult<()> {
        self.open_for_jobs()?;
        let storage = Arc::clone(&self.0);
        let change = Change { job, storage, what };
        self.0.engine.change(change).map_err(|Closed| closed())
    }

    fn open_for_jobs(&self) -> PyResult<()> {
        if self.0.is_closed() {
            return Err(closed());
        }
        Ok(())
    }

    fn parse(&self, requests: &[u8]) -> PyResult<Vec<frames::Request>> {
        self.open_for_jobs()?;
        frames::parse(requests, &self.0.files.layout).map_err(PyValueError::new_err)
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("the disk or storage is closed, or open for reading only")
}

/// A home as it comes from Python: the root, the path below it, and the part name.
type Elsewhere = (PathBuf, Vec<OsString>, Option<OsString>);

/// Makes homes of which those below one folder share their root.
#[derive(Default)]
struct Homes(HashMap<PathBuf, Arc<Root>>);

impl Homes {
    fn home(&mut self, (root, path, part): Elsewhere) -> PyResult<Home> {
        if !is_safe(&path) || !is_safe(part.as_slice()) {
            let why = "a file's path is not a safe relative one";
            return Err(PyValueError::new_err(why));
        }
        let root = (self.0.entry(root)).or_insert_with_key(|root| Root::new(root.clone()));
        Ok(Home {
            root: Arc::clone(root),
            path,
            part,
            link: None,
        })
    }
}

/// What a symlink at `path` says to lead to `target`, both below the same root.
fn way(path: &[OsString], target: &[OsString]) -> PyResult<OsString> {
    let folders = &path[..path.len().saturating_sub(1)];
    let both = folders.iter().zip(target);
    let shared = both.take_while(|(ours, theirs)| ours == theirs).count();
    if !is_safe(target) || shared == target.len() {
        return Err(PyValueError::new_err("a symlink leads to no safe path"));
    }
    let mut steps = vec![OsString::from(".."); folders.len() - shared];
    steps.extend_from_slice(&target[shared..]);
    Ok(steps.join(OsStr::new("/")))
}

/// Names only: nothing that goes up, down to a root, or through a separator. (No name: a pad file.)
fn is_safe(path: &[OsString]) -> bool {
    path.iter().all(|part| {
        let bytes = part.as_encoded_bytes();
        let bad = |byte: &u8| matches!(byte, 0 | b'/') || (cfg!(windows) && *byte == b'\\');
        !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.iter().any(bad)
    })
}

fn tuple(py: Python<'_>, Completion { job, outcome }: Completion) -> PyResult<Bound<'_, PyTuple>> {
    match outcome {
        Outcome::Written { piece, offset } => {
            (job, intern!(py, "written"), piece, offset).into_pyobject(py)
        }
        Outcome::Verified { piece } => (job, intern!(py, "verified"), piece).into_pyobject(py),
        Outcome::Failed { piece } => (job, intern!(py, "failed"), piece).into_pyobject(py),
        Outcome::Read { slot } => {
            let length = slot.len();
            let slot = Bound::new(py, PySlot(Arc::new(slot)))?;
            (job, intern!(py, "read"), slot, length).into_pyobject(py)
        }
        Outcome::Checked { first, bits, count } => {
            let bits = PyBytes::new(py, &bits);
            (job, intern!(py, "checked"), first, bits, count).into_pyobject(py)
        }
        Outcome::CheckDone => (job, intern!(py, "check-done")).into_pyobject(py),
        Outcome::Synced => (job, intern!(py, "synced")).into_pyobject(py),
        Outcome::Moved { moved, total } => {
            (job, intern!(py, "moved"), moved, total).into_pyobject(py)
        }
        Outcome::Changed => (job, intern!(py, "changed")).into_pyobject(py),
        Outcome::Error(fault) => (
            job,
            intern!(py, "error"),
            fault.errno.0,
            fault.file,
            fault.offset,
            fault.operation,
        )
            .into_pyobject(py),
    }
}
