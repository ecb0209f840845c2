//! The folder that `gabion lower --dump-dir` writes. It appears whole or not at all: it is filled
//! under another name beside its place. Nothing but an earlier dump is ever replaced.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use gabion::cpu::cpu_target;
use gabion::folders::MadeFolders;
use gabion::ir::Graph;
use gabion::lower::{Lowered, Sources};
use serde_json::{Value, json};

use super::pass_json;
use crate::cli::error::CliError;

const MANIFEST: &str = "manifest.json";
const LEDGER: &str = "ledger.txt";
const PLAN: &str = "plan.txt";

/// Whether a dump may appear at `folder`: nothing is there, an empty folder, or an earlier dump.
///
/// # Errors
/// Something else is there.
pub(super) fn check_place(folder: &Path) -> Result<(), CliError> {
    let refuse = |what: String| {
        let problem = format!("{what}; it is left as it is: name another folder or remove it");
        Err(CliError::file(folder, problem))
    };
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if folder.is_symlink() {
                refuse("a link that leads nowhere is there".to_owned())
            } else {
                Ok(())
            };
        }
        Err(source) => return Err(write_error(folder)(source)),
        Ok(it) if !it.is_dir() => {
            return refuse("a dump is a folder, and something else is there".to_owned());
        }
        Ok(_) => {}
    }
    let there = entries(folder).map_err(|source| CliError::Read {
        path: folder.to_owned(),
        source,
    })?;
    if there.is_empty() {
        return Ok(());
    }
    let Some(ours) = listed(folder) else {
        return refuse("a folder that is not empty is there, and it is no earlier dump".to_owned());
    };
    match there.iter().find(|name| !ours.contains(*name)) {
        Some(other) => refuse(format!("the earlier dump there has `{other}` beside it")),
        None => Ok(()),
    }
}

/// The names in a folder. What is no file gets a slash, which no file of a dump has.
fn entries(folder: &Path) -> io::Result<BTreeSet<String>> {
    let name = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        let slash = if entry.file_type()?.is_file() {
            ""
        } else {
            "/"
        };
        Ok(format!("{}{slash}", entry.file_name().to_string_lossy()))
    };
    fs::read_dir(folder)?.map(name).collect()
}

/// The files of an earlier dump, as its manifest lists them; `None` if there is no such manifest.
fn listed(folder: &Path) -> Option<BTreeSet<String>> {
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()?;
    let mut names: BTreeSet<String> = [MANIFEST, LEDGER, PLAN].map(str::to_owned).into();
    manifest.get("target")?.as_str()?;
    (manifest.get("ledger")?.as_str()? == LEDGER).then_some(())?;
    for pass in manifest.get("passes")?.as_array()? {
        for file in pass.get("files")?.as_array()? {
            names.insert(file.as_str()?.to_owned());
        }
    }
    Some(names)
}

/// One numbered file before and after each pass, the plan, the ledger, and a manifest of them.
///
/// # Errors
/// Something else is at `folder`, or it cannot be written; what was there stays.
pub(super) fn write(folder: &Path, graph: &Graph, lowered: &Lowered) -> Result<(), CliError> {
    check_place(folder)?;
    // A link stays, and the folder that it names is replaced.
    let place = match fs::canonicalize(folder) {
        Ok(place) => place,
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder.to_owned(),
        Err(source) => return Err(write_error(folder)(source)),
    };
    let parent = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let made = MadeFolders::create(parent).map_err(write_error(folder))?;
    let staging = tempfile::Builder::new()
        .prefix(".gabion-dump-")
        .tempdir_in(parent)
        .map_err(write_error(folder))?;
    let new = staging.path().join("new");
    fs::create_dir(&new).map_err(write_error(folder))?;
    for (name, text) in files(graph, lowered) {
        fs::write(new.join(&name), text).map_err(write_error(&folder.join(&name)))?;
    }
    exchange(&new, &place, &staging.path().join("old")).map_err(write_error(folder))?;
    made.keep();
    Ok(())
}

/// Puts `new` in its place; what was there goes to `old`, and comes back if that fails.
fn exchange(new: &Path, place: &Path, old: &Path) -> io::Result<()> {
    let replaced = match fs::rename(place, old) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    fs::rename(new, place).inspect_err(|_| {
        if replaced {
            // The first error is the one to tell.
            let _back = fs::rename(old, place);
        }
    })
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> CliError + '_ {
    move |source| CliError::Write {
        path: path.to_owned(),
        source,
    }
}

/// The names and contents of the files.
fn files(graph: &Graph, lowered: &Lowered) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut passes = Vec::new();
    for (i, pass) in lowered.passes.iter().enumerate() {
        let names = ["before", "after"].map(|when| format!("{i:02}_{}.{when}.gir", pass.name));
        let mut entry = pass_json(pass);
        entry["files"] = json!(names);
        passes.push(entry);
        if let Some(snapshot) = &pass.snapshot {
            let texts = [snapshot.before.to_text(), snapshot.after.to_text()];
            files.extend(names.into_iter().zip(texts));
        }
    }
    let ledger = lowered.ledger.with_sources(&Sources::new(graph));
    files.push((LEDGER.to_owned(), ledger));
    let mut manifest = json!({
        "graph": graph.name.as_ref(),
        "target": cpu_target().name,
        "nodes": graph.len(),
        "passes": passes,
        "ledger": LEDGER,
        "plan": null,
    });
    if let Some(plan) = &lowered.plan {
        files.push((PLAN.to_owned(), plan.to_text()));
        manifest["plan"] = PLAN.into();
    }
    files.push((MANIFEST.to_owned(), format!("{manifest:#}\n")));
    files
}
