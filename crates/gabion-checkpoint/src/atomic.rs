//! Writing a file or a folder so that it appears whole or not at all. No format is known here.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::CheckpointError;

/// The folder that holds `path`: `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the new name in `folder` survive a power cut. Some file systems cannot sync a folder; the file itself is safe then.
fn sync_folder(folder: &Path) {
    if let Ok(handle) = File::open(folder) {
        let _unsupported_on_some_systems = handle.sync_all();
    }
}

/// Writes `path` through `body`: into a temporary file beside it, synced to the disk, then renamed over it. If anything
/// fails, the old file is as it was and the temporary file is gone.
pub(crate) fn write_file(
    path: &Path,
    body: impl FnOnce(&mut dyn Write) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let folder = parent(path);
    let error = |source: io::Error| CheckpointError::io(path, "write", source);
    let temporary = NamedTempFile::new_in(folder).map_err(error)?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary);
    body(&mut writer)?;
    let temporary = writer.into_inner().map_err(|it| error(it.into_error()))?;
    let mode = file_mode(path);
    set_mode(temporary.as_file(), mode).map_err(error)?;
    temporary.as_file().sync_all().map_err(error)?;
    temporary.persist(path).map_err(|it| error(it.error))?;
    sync_folder(folder);
    Ok(())
}

/// Writes a whole small file atomically.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    write_file(path, |out| {
        out.write_all(bytes)
            .map_err(|source| CheckpointError::io(path, "write", source))
    })
}

/// The permissions of the file that is replaced, or those of any new file. Temporary files are private to their owner, and a
/// checkpoint is not.
#[cfg(unix)]
fn file_mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(_) => 0o644,
    }
}

#[cfg(not(unix))]
fn file_mode(_path: &Path) -> u32 {
    0
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// A folder that is filled under another name beside its place and takes its place at the end. Dropped before
/// [`NewFolder::finish`], it leaves nothing.
pub(crate) struct NewFolder {
    staging: TempDir,
    target: PathBuf,
}

impl NewFolder {
    /// Starts a folder that is to appear at `target`.
    ///
    /// # Errors
    /// Something other than an empty folder is at `target`, or the place cannot be written.
    pub(crate) fn new(target: &Path) -> Result<Self, CheckpointError> {
        check_vacant(target)?;
        let staging = tempfile::Builder::new()
            .prefix(".gabion-convert-")
            .tempdir_in(parent(target))
            .map_err(|source| CheckpointError::io(target, "create", source))?;
        Ok(NewFolder {
            staging,
            target: target.to_path_buf(),
        })
    }

    /// Where to write until the folder is finished.
    pub(crate) fn path(&self) -> &Path {
        self.staging.path()
    }

    /// Puts the folder in its place.
    ///
    /// # Errors
    /// The place was taken in the meantime, or the rename fails; the half-made folder is removed.
    pub(crate) fn finish(self) -> Result<(), CheckpointError> {
        let NewFolder { staging, target } = self;
        let error = |source: io::Error| CheckpointError::io(&target, "create", source);
        check_vacant(&target)?;
        open_folder(staging.path()).map_err(error)?;
        sync_folder(staging.path());
        fs::rename(staging.path(), &target).map_err(error)?;
        // The folder lives on under its new name, so there is nothing left to remove under the old one.
        let _moved = staging.keep();
        sync_folder(parent(&target));
        Ok(())
    }
}

#[cfg(unix)]
fn open_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn open_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn check_vacant(target: &Path) -> Result<(), CheckpointError> {
    let refuse = |what: &str| {
        Err(CheckpointError::unsupported(
            target,
            format!(
                "{what} is already there, and nothing is overwritten: name another folder or remove it first"
            ),
        ))
    };
    match fs::metadata(target) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CheckpointError::io(target, "look at", source)),
        Ok(metadata) if !metadata.is_dir() => refuse("a file"),
        Ok(_) => {
            let mut entries = fs::read_dir(target)
                .map_err(|source| CheckpointError::io(target, "read", source))?;
            match entries.next() {
                None => Ok(()),
                Some(_) => refuse("a folder that is not empty"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, b"old").unwrap();
        let failed = write_file(&path, |out| {
            out.write_all(&[0; 3 << 20]).unwrap();
            Err(CheckpointError::io(
                &path,
                "write",
                io::Error::from(io::ErrorKind::StorageFull),
            ))
        });
        assert!(failed.unwrap_err().to_string().contains("cannot write"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["model.safetensors"]);
        write_bytes(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["model.safetensors"]);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        {
            let new = NewFolder::new(&target).unwrap();
            fs::write(new.path().join("a"), b"1").unwrap();
        }
        assert!(names(folder.path()).is_empty());
        let new = NewFolder::new(&target).unwrap();
        fs::write(new.path().join("a"), b"1").unwrap();
        new.finish().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(names(&target), ["a"]);
        let refused = NewFolder::new(&target).err().unwrap().to_string();
        assert!(refused.contains("not empty"), "{refused}");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no").join("model.safetensors");
        let error = write_bytes(&path, b"x").unwrap_err().to_string();
        assert!(error.contains("no/model.safetensors"), "{error}");
    }
}
