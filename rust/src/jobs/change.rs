//! Change: files get other names or places.

use std::sync::Arc;

use crate::files::Fault;
use crate::ring::Outcome;
use crate::storage::Storage;
use crate::workers::guarded;

pub(crate) struct Change {
    pub(crate) job: u64,
    pub(crate) storage: Arc<Storage>,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// These files are complete.
    Finish(Vec<usize>),
}

impl Change {
    pub(crate) fn run(&self) -> Outcome {
        let done = guarded(|| match &self.what {
            What::Finish(files) => self.storage.finish(files),
        });
        done.map_or_else(Outcome::Error, |()| Outcome::Changed)
    }
}

impl Storage {
    /// Gives complete files their final names; tries all of them, and tells of the first that failed.
    fn finish(&self, files: &[usize]) -> Result<(), Fault> {
        let finish = |&file: &usize| {
            let done = self.files.places.finish(file);
            done.map_err(Fault::whole(file, "rename"))
        };
        files.iter().map(finish).fold(Ok(()), Result::and)
    }
}
