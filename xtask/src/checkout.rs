//! The files of the project: what git tracks or would track; all files where there is no git.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that hold no files of the project.
const OUTPUTS: [&str; 3] = ["target", ".git", ".cache"];

/// The project's files.
#[derive(Debug)]
pub struct Checkout {
    root: PathBuf,
    files: BTreeMap<String, Option<String>>,
}

impl Checkout {
    /// Reads the checkout that this program was built in.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn open() -> io::Result<Self> {
        let member = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = member.parent().unwrap_or(member).to_owned();
        let paths = match tracked(&root) {
            Some(paths) => paths,
            None => walk(&root, &root)?,
        };
        let mut files = BTreeMap::new();
        for path in paths {
            // A tracked file may have been removed.
            if let Ok(bytes) = std::fs::read(root.join(&path)) {
                files.insert(path, String::from_utf8(bytes).ok());
            }
        }
        Ok(Self { root, files })
    }

    /// A checkout of these files, for tests.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())));
        Self {
            root: PathBuf::new(),
            files: files.collect(),
        }
    }

    /// The folder of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Paths with `/`, relative to the root, and the text of those that are text.
    pub fn files(&self) -> &BTreeMap<String, Option<String>> {
        &self.files
    }

    /// Text files, by path.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// True if the path is a file, or a folder that holds one.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path)
            || self
                .files
                .range(folder.clone()..)
                .next()
                .is_some_and(|(p, _)| p.starts_with(&folder))
    }
}

fn tracked(root: &Path) -> Option<Vec<String>> {
    let mut git = Command::new("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ])
    .current_dir(root);
    let output = git.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> = text
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    if paths.is_empty() { None } else { Some(paths) }
}

fn walk(root: &Path, folder: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if OUTPUTS.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            paths.extend(walk(root, &path)?);
        } else if let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            paths.push(path.replace('\\', "/"));
        }
    }
    Ok(paths)
}
