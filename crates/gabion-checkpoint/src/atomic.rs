//! Writing a file or a folder so that it appears whole or not at all. No format is known here.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir, TempPath};

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
/// fails, the old file is as it was and the temporary file is gone. A link stays, and what it names is written. What is
/// no file, such as a device or a pipe, is written to and never replaced.
pub(crate) fn write_file(
    path: &Path,
    body: impl FnOnce(&mut dyn Write) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let error = |source: io::Error| CheckpointError::io(path, "write", source);
    let place = resolve(path).map_err(error)?;
    match fs::metadata(&place) {
        Ok(old) if old.is_file() => replace(path, &place, Some(&old), body),
        Ok(old) if old.is_dir() => Err(error(io::ErrorKind::IsADirectory.into())),
        Ok(_) => {
            let file = File::options().write(true).open(&place).map_err(error)?;
            written(path, file, body).map(drop)
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            replace(path, &place, None, body)
        }
        Err(source) => Err(error(source)),
    }
}

/// What is written to `file`, which stands for `path`, down to the last byte.
fn written<F: Write>(
    path: &Path,
    file: F,
    body: impl FnOnce(&mut dyn Write) -> Result<(), CheckpointError>,
) -> Result<F, CheckpointError> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    match body(&mut writer) {
        Ok(()) => writer
            .into_inner()
            .map_err(|it| CheckpointError::io(path, "write", it.into_error())),
        Err(failed) => {
            // What is still in the buffer is of no use to anybody.
            let _unwritten = writer.into_parts();
            Err(failed)
        }
    }
}

/// Puts a new file in the place of the old one, or where none was.
fn replace(
    path: &Path,
    place: &Path,
    old: Option<&fs::Metadata>,
    body: impl FnOnce(&mut dyn Write) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let error = |source: io::Error| CheckpointError::io(path, "write", source);
    let folder = parent(place);
    let temporary = written(path, beside(place).map_err(error)?, body)?;
    if let Some(old) = old {
        let mode = old.permissions();
        temporary.as_file().set_permissions(mode).map_err(error)?;
    }
    temporary.as_file().sync_all().map_err(error)?;
    temporary.persist(place).map_err(|it| error(it.error))?;
    sync_folder(folder);
    Ok(())
}

/// A new file beside `place`, with the permissions that any new file gets, which is removed when it is dropped.
fn beside(place: &Path) -> io::Result<NamedTempFile> {
    let folder = parent(place);
    for n in 0..u32::MAX {
        let name = format!(".gabion-{}-{n}.tmp", std::process::id());
        let path = folder.join(name);
        match File::options().write(true).create_new(true).open(&path) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(source),
            Ok(file) => {
                let path = TempPath::try_from_path(path)?;
                return Ok(NamedTempFile::from_parts(file, path));
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// So many links to links are a circle.
const LINKS: usize = 40;

/// What `path` names: the end of the chain if it is a link, whether or not anything is there.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&place) {
            Ok(it) if it.is_symlink() => {
                let target = fs::read_link(&place)?;
                // What is open under a number has no name to be found by.
                if fs::metadata(&place).is_ok_and(|it| !it.is_file() && !it.is_dir()) {
                    return Ok(place);
                }
                place = parent(&place).join(target);
            }
            _ => return Ok(place),
        }
    }
    Err(io::Error::other("the links go round in a circle"))
}

/// Writes a whole small file atomically: whatever fails, the old file is as it was.
///
/// # Errors
/// [`CheckpointError::Io`]: what the system said.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    write_file(path, |out| {
        out.write_all(bytes)
            .map_err(|source| CheckpointError::io(path, "write", source))
    })
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
        let error = |source: io::Error| CheckpointError::io(target, "create", source);
        let folder = parent(target);
        // A folder that is not there is said in the system's words, without the temporary name.
        fs::read_dir(folder).map_err(error)?;
        let staging = tempfile::Builder::new()
            .prefix(".gabion-convert-")
            .tempdir_in(folder)
            .map_err(error)?;
        Ok(NewFolder {
            staging,
            target: target.to_path_buf(),
        })
    }

    /// Writes into the folder through `body`, which is given the place. Its errors name what was to appear, since the place
    /// is gone when they are read.
    pub(crate) fn fill(
        &self,
        body: impl FnOnce(&Path) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let staging = self.staging.path();
        body(staging).map_err(|error| error.moved(staging, &self.target))
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
            fs::write(new.staging.path().join("a"), b"1").unwrap();
        }
        assert!(names(folder.path()).is_empty());
        let new = NewFolder::new(&target).unwrap();
        new.fill(|place| write_bytes(&place.join("a"), b"1"))
            .unwrap();
        new.finish().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(names(&target), ["a"]);
        let refused = NewFolder::new(&target).err().unwrap().to_string();
        assert!(refused.contains("not empty"), "{refused}");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn what_fails_in_a_new_folder_is_named_by_where_it_was_to_appear() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let new = NewFolder::new(&target).unwrap();
        let named = |path: &dyn Fn(&Path) -> PathBuf| {
            let full = |place: &Path| {
                let source = io::ErrorKind::StorageFull.into();
                Err(CheckpointError::io(&path(place), "write", source))
            };
            new.fill(full).unwrap_err().to_string()
        };
        let elsewhere = folder.path().join("in").join("config.json");
        let cases = [
            (named(&|place| place.join("a.json")), target.join("a.json")),
            (named(&Path::to_path_buf), target.clone()),
            (named(&|_| elsewhere.clone()), elsewhere.clone()),
        ];
        for (error, expected) in cases {
            let expected = format!("{}: cannot write: ", expected.display());
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no").join("model.safetensors");
        let error = write_bytes(&path, b"x").unwrap_err().to_string();
        let named = format!("{}: cannot write: ", path.display());
        assert!(
            error.starts_with(&named) && !error.contains(".gabion-"),
            "{error}"
        );
        let error = write_bytes(folder.path(), b"x").unwrap_err().to_string();
        assert!(error.contains("cannot write: is a directory"), "{error}");
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_what_it_names_is_written() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("store")).unwrap();
        symlink("store/real", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        for content in [b"one", b"two"] {
            write_bytes(&at("second"), content).unwrap();
            assert_eq!(fs::read(at("store/real")).unwrap(), content);
        }
        assert!(at("link").is_symlink() && at("second").is_symlink());
        assert_eq!(names(&at("store")), ["real"]);
        symlink("round", at("round")).unwrap();
        let error = write_bytes(&at("round"), b"x").unwrap_err().to_string();
        assert!(error.contains("round: cannot write: "), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_written_to_and_never_replaced() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        // Sockets cannot be opened by name.
        let error = write_bytes(&socket, b"x").unwrap_err().to_string();
        assert!(error.contains("socket: cannot write"), "{error}");
        assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
        let link = folder.path().join("link");
        symlink("/dev/null", &link).unwrap();
        write_bytes(&link, &[7; 3 << 20]).unwrap();
        assert!(link.is_symlink());
        assert!(fs::metadata(&link).unwrap().file_type().is_char_device());
    }

    #[cfg(unix)]
    #[test]
    fn the_permissions_are_those_of_the_old_file_or_of_any_new_one() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        write_bytes(&ours, b"1").unwrap();
        fs::write(&other, b"1").unwrap();
        assert_eq!(mode(&ours), mode(&other));
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o640)).unwrap();
        write_bytes(&ours, b"2").unwrap();
        assert_eq!(mode(&ours), 0o640);
    }
}
