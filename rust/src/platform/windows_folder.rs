//! The plain twin: symlinks are looked for before a name is used.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Access, Errno, Make};

pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder `root`/`parts`; symlinks and reparse points below `root` are refused (ELOOP).
    pub(crate) fn below<'a>(
        root: &Path,
        parts: impl IntoIterator<Item = &'a OsStr>,
        make: Make,
    ) -> Result<Self, Errno> {
        if make == Make::Root {
            std::fs::create_dir_all(root)?;
        }
        let mut folder = Self(root.to_path_buf());
        for part in parts {
            let path = folder.path(part)?;
            match path.metadata() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound && make != Make::Nothing => {
                    std::fs::create_dir(&path)?;
                }
                Err(error) => return Err(error.into()),
            }
            folder = Self(path);
        }
        Ok(folder)
    }

    /// A name in this folder that is no symlink.
    fn path(&self, name: &OsStr) -> Result<PathBuf, Errno> {
        let path = self.0.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => Err(Errno(libc::ELOOP)),
            _ => Ok(path),
        }
    }

    /// Opens a regular file. `make` allows to create one that is to be written.
    pub(crate) fn open(&self, name: &OsStr, access: Access, make: bool) -> Result<File, Errno> {
        let write = access == Access::Write;
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .create(write && make)
            .truncate(false)
            .open(self.path(name)?)?;
        regular(file)
    }

    /// Whether something has this name, whatever it is.
    pub(crate) fn has(&self, name: &OsStr) -> Result<bool, Errno> {
        match std::fs::symlink_metadata(self.0.join(name)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes no symlink: Windows lets only administrators, and asks whether to a file or a folder.
    pub(crate) fn link(&self, _name: &OsStr, _says: &OsStr) -> Result<(), Errno> {
        Ok(())
    }

    /// Gives a file of this folder another name, in this or another one. Fails (EEXIST) where the
    /// name is taken: a look first, since Windows would replace a file.
    pub(crate) fn rename(&self, from: &OsStr, to: &Self, name: &OsStr) -> Result<(), Errno> {
        if to.has(name)? {
            return Err(Errno(libc::EEXIST));
        }
        Ok(std::fs::rename(self.path(from)?, to.0.join(name))?)
    }

    /// Takes away a file.
    pub(crate) fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        Ok(std::fs::remove_file(self.path(name)?)?)
    }

    /// Takes away a folder that is empty.
    pub(crate) fn remove_folder(&self, name: &OsStr) -> Result<(), Errno> {
        Ok(std::fs::remove_dir(self.path(name)?)?)
    }

    /// Could a file be renamed into this folder? Only trying tells.
    pub(crate) fn same_device(&self, _: &File) -> Result<bool, Errno> {
        Ok(true)
    }

    /// Windows keeps names in order by itself.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// Opens a file that the user named, for reading.
pub(crate) fn open_plain(path: &Path) -> Result<File, Errno> {
    regular(File::open(path)?)
}

fn regular(file: File) -> Result<File, Errno> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(Errno(libc::EISDIR))
    } else {
        Err(Errno(libc::EOPNOTSUPP))
    }
}
