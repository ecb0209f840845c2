//! Manifests: who uses whom, and where versions stand.
//!
//! Reads the part of TOML that manifests here are written in: tables, and one dependency a line.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use crate::checkout::Checkout;

const ARCHITECTURE: &str = "docs/architecture.md";
/// Fields that a manifest takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// The lines of one table, with their numbers.
type Table<'t> = Vec<(usize, &'t str, &'t str)>;

/// Folders whose packages are no members of the workspace.
const OUTSIDE: [&str; 2] = ["fuzz", "examples/"];

pub(super) fn check(checkout: &Checkout, report: &mut Report) {
    let Some(root) = checkout.text("Cargo.toml") else {
        return report.file("Cargo.toml", "is missing");
    };
    for (number, name, value) in tables(root)
        .remove("workspace.dependencies")
        .unwrap_or_default()
    {
        if !(value.starts_with('"')
            || value.contains("version = \"")
            || value.contains("path = \""))
        {
            report.line("Cargo.toml", number, format!("`{name}` has no version"));
        }
    }
    let mut used = BTreeMap::new();
    for (path, text) in checkout.texts() {
        let Some(folder) = path
            .strip_suffix("/Cargo.toml")
            .filter(|folder| !OUTSIDE.iter().any(|outside| folder.starts_with(outside)))
        else {
            continue;
        };
        let tables = tables(text);
        manifest(path, &tables, report);
        if let Some(name) = folder.strip_prefix("crates/") {
            let package = tables
                .get("package")
                .and_then(|table| table.iter().find(|(_, key, _)| *key == "name"));
            if let Some((number, _, value)) = package
                && value.trim_matches('"') != name
            {
                report.line(
                    path,
                    *number,
                    format!("the crate in `{folder}` is named {value}, expected the folder's name"),
                );
            }
            let own = tables
                .get("dependencies")
                .into_iter()
                .flatten()
                .map(|(_, key, _)| dependency(key));
            used.insert(
                name.to_owned(),
                own.filter(|d| d.starts_with("gabion"))
                    .map(str::to_owned)
                    .collect(),
            );
        }
    }
    match checkout.text(ARCHITECTURE) {
        Some(text) => arrows(text, &used, report),
        None => report.file(
            ARCHITECTURE,
            "is missing; its block marked `arrows` says which crate uses which",
        ),
    }
}

/// `name` of `name.workspace`.
fn dependency(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

fn manifest(path: &str, tables: &BTreeMap<&str, Table<'_>>, report: &mut Report) {
    let has = |table: &str, wanted: &str| {
        tables.get(table).is_some_and(|lines| {
            lines
                .iter()
                .any(|(_, key, value)| *key == wanted && *value == "true")
        })
    };
    if !has("lints", "workspace") {
        report.file(
            path,
            "takes no lints from the workspace: `[lints] workspace = true`",
        );
    }
    for field in INHERITED {
        if !has("package", &format!("{field}.workspace")) {
            report.file(path, format!("`{field}.workspace = true` is missing"));
        }
    }
    if !tables
        .get("package")
        .is_some_and(|lines| lines.iter().any(|(_, key, _)| *key == "description"))
    {
        report.file(path, "`description` is missing");
    }
    for (table, lines) in tables
        .iter()
        .filter(|(name, _)| name.ends_with("dependencies"))
    {
        for (number, key, value) in lines {
            let inherits = key.ends_with(".workspace") || value.contains("workspace = true");
            if !inherits {
                let name = dependency(key);
                report.line(path, *number, format!("`{name}` in [{table}] takes no version from the workspace: `{name}.workspace = true`"));
            }
        }
    }
}

fn tables(text: &str) -> BTreeMap<&str, Table<'_>> {
    let mut tables: BTreeMap<&str, Table<'_>> = BTreeMap::new();
    let mut name = "";
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name = header.trim_matches(['[', ']']);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            tables
                .entry(name)
                .or_default()
                .push((number, key.trim(), value.trim()));
        }
    }
    tables
}

fn arrows(text: &str, used: &BTreeMap<String, BTreeSet<String>>, report: &mut Report) {
    let mut stated: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        match line.trim() {
            "```arrows" => inside = true,
            "```" => inside = false,
            "" => {}
            arrow if inside => match arrow.split_once("->") {
                Some((name, targets)) => {
                    let targets = targets
                        .split(',')
                        .map(str::trim)
                        .filter(|t| !t.is_empty() && *t != "nothing");
                    stated.insert(name.trim(), targets.map(str::to_owned).collect());
                }
                None => report.line(
                    ARCHITECTURE,
                    number,
                    "expected `crate -> crate, crate` or `crate -> nothing`",
                ),
            },
            _ => {}
        }
    }
    let list = |names: &BTreeSet<String>| match names.len() {
        0 => "nothing".to_owned(),
        _ => names.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    for (name, uses) in used {
        match stated.remove(name.as_str()) {
            None => report.file(
                ARCHITECTURE,
                format!("says nothing of `{name}`, which uses {}", list(uses)),
            ),
            Some(stated) if stated == *uses => {}
            Some(stated) => {
                report.file(
                    ARCHITECTURE,
                    format!(
                        "`{name} -> {}`, but its manifest says {}",
                        list(&stated),
                        list(uses)
                    ),
                );
            }
        }
    }
    for name in stated.keys() {
        report.file(
            ARCHITECTURE,
            format!("speaks of `{name}`, which is no crate here"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    const ROOT: &str = "[workspace.dependencies]\nserde = { version = \"1\" }\nhalf = \"2\"\ngabion-b = { path = \"crates/gabion-b\" }\n";
    const HEAD: &str = "[package]\nname = \"gabion-a\"\ndescription = \"A\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";

    fn found(root: &str, manifest: &str, architecture: Option<&str>) -> Vec<String> {
        let mut files = vec![
            ("Cargo.toml", root),
            ("crates/gabion-a/Cargo.toml", manifest),
        ];
        files.extend(architecture.map(|text| (ARCHITECTURE, text)));
        of(|report| check(&Checkout::of(&files), report))
    }

    #[test]
    fn manifests_take_from_the_workspace() {
        let arrows = Some("```arrows\ngabion-a -> gabion-b\n```\n");
        let good = format!(
            "{HEAD}[dependencies]\ngabion-b.workspace = true\nserde = {{ workspace = true, optional = true }}\n"
        );
        assert_eq!(found(ROOT, &good, arrows), [""; 0]);
        let path = "crates/gabion-a/Cargo.toml";
        for (from, to, message) in [
            (
                "[lints]\nworkspace = true\n",
                "",
                ": takes no lints from the workspace: `[lints] workspace = true`",
            ),
            (
                "license.workspace = true\n",
                "",
                ": `license.workspace = true` is missing",
            ),
            ("description = \"A\"\n", "", ": `description` is missing"),
            (
                "serde = { workspace = true, optional = true }",
                "serde = \"1\"",
                ":13: `serde` in [dependencies] takes no version from the workspace: `serde.workspace = true`",
            ),
            (
                "name = \"gabion-a\"",
                "name = \"a\"",
                ":2: the crate in `crates/gabion-a` is named \"a\", expected the folder's name",
            ),
        ] {
            assert_eq!(
                found(ROOT, &good.replace(from, to), arrows),
                [format!("{path}{message}")]
            );
        }
        let root = ROOT.replace("{ version = \"1\" }", "{ features = [\"derive\"] }");
        assert_eq!(
            found(&root, &good, arrows),
            ["Cargo.toml:2: `serde` has no version"]
        );
    }

    #[test]
    fn crates_use_each_other_as_the_page_says() {
        let uses_b = format!(
            "{HEAD}[dependencies]\ngabion-b.workspace = true\n[dev-dependencies]\ngabion-c.workspace = true\n"
        );
        let page = |line: &str| {
            found(
                ROOT,
                &uses_b,
                Some(&format!("gabion-x -> y\n```arrows\n{line}\n```\n")),
            )
        };
        assert_eq!(page("gabion-a -> gabion-b"), [""; 0]);
        assert_eq!(
            page("gabion-a -> nothing"),
            [format!(
                "{ARCHITECTURE}: `gabion-a -> nothing`, but its manifest says gabion-b"
            )]
        );
        assert_eq!(
            page(""),
            [format!(
                "{ARCHITECTURE}: says nothing of `gabion-a`, which uses gabion-b"
            )]
        );
        assert_eq!(
            page("gabion-a -> gabion-b\ngabion-z -> nothing"),
            [format!(
                "{ARCHITECTURE}: speaks of `gabion-z`, which is no crate here"
            )]
        );
        assert_eq!(
            page("gabion-a -> gabion-b\nelse")[0],
            format!("{ARCHITECTURE}:4: expected `crate -> crate, crate` or `crate -> nothing`")
        );
        assert_eq!(found(ROOT, &uses_b, None).len(), 1);
    }
}
