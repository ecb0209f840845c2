//! Folders that are made on the way to something else, and are gone again if that fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that were made: dropped, they are removed again unless they are kept or filled.
#[derive(Debug)]
#[must_use]
pub struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    /// Makes `folder` and those above it that are not there.
    ///
    /// # Errors
    /// What the system said; no folder is left.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let absent = folder
            .ancestors()
            .take_while(|it| !it.as_os_str().is_empty() && !it.exists())
            .map(Path::to_path_buf)
            .collect();
        let made = Self(absent);
        fs::create_dir_all(folder)?;
        Ok(made)
    }

    /// Lets them stay.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for folder in &self.0 {
            // One that somebody else has filled meanwhile stays.
            let _filled = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MadeFolders;

    #[test]
    fn what_was_made_goes_and_what_was_there_or_is_filled_stays() {
        let there = tempfile::tempdir().unwrap();
        let inner = there.path().join("a/b");
        drop(MadeFolders::create(&inner).unwrap());
        assert!(there.path().exists() && !there.path().join("a").exists());
        let made = MadeFolders::create(&inner).unwrap();
        std::fs::write(there.path().join("a/file"), "x").unwrap();
        drop(made);
        assert!(!inner.exists() && there.path().join("a/file").exists());
        MadeFolders::create(&inner).unwrap().keep();
        assert!(inner.exists());
        drop(MadeFolders::create(&inner).unwrap());
        assert!(inner.exists());
    }
}
