//! Writing small files so that they appear whole or not at all. Tensors are written by
//! `gabion-checkpoint`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use super::error::CliError;

/// Writes a file through a temporary one beside it; whatever fails, the old file stays.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<(), CliError> {
    write(path, content).map_err(|source| CliError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    set_mode(path, &file)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The permissions of the file that is replaced, or those of any new file: temporary files are
/// private to their owner.
#[cfg(unix)]
fn set_mode(path: &Path, file: &NamedTempFile) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o777);
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _file: &NamedTempFile) -> io::Result<()> {
    Ok(())
}

/// Makes a folder, with its parents.
pub(crate) fn make_folder(path: &Path) -> Result<(), CliError> {
    fs::create_dir_all(path).map_err(|source| CliError::Write {
        path: path.to_owned(),
        source,
    })
}
