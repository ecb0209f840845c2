//! Passes: the list, the files and the folders of filetests agree.

use std::collections::BTreeSet;

use super::Report;
use crate::checkout::Checkout;

const LIST: &str = "crates/gabion-lower/src/passes.rs";
const FILES: &str = "crates/gabion-lower/src/passes/";
const FILETESTS: &str = "tests/filetests/passes/";

pub(super) fn check(checkout: &Checkout, report: &mut Report) {
    let Some(list) = checkout.text(LIST) else {
        return report.file(LIST, "is missing");
    };
    let passes = listed(list);
    if passes.is_empty() {
        report.file(LIST, "expected a list `passes! { name, .. }`");
    }
    let under = |folder: &'static str| {
        checkout
            .files()
            .keys()
            .filter_map(move |path| path.strip_prefix(folder))
    };
    let files: BTreeSet<&str> = under(FILES)
        .filter_map(|path| path.strip_suffix(".rs"))
        .filter(|p| !p.contains('/'))
        .collect();
    let folders: BTreeSet<&str> = under(FILETESTS)
        .filter_map(|path| path.split_once('/'))
        .map(|(folder, _)| folder)
        .collect();
    for pass in &passes {
        if !files.contains(pass) {
            report.file(LIST, format!("pass `{pass}` has no file {FILES}{pass}.rs"));
        }
        if !folders.contains(pass) {
            report.file(
                LIST,
                format!("pass `{pass}` has no filetests in {FILETESTS}{pass}/"),
            );
        }
    }
    for file in files.iter().filter(|file| !passes.contains(*file)) {
        report.file(&format!("{FILES}{file}.rs"), "is not in the list of passes");
    }
    for folder in folders.iter().filter(|folder| !passes.contains(*folder)) {
        report.file(&format!("{FILETESTS}{folder}"), "is the folder of no pass");
    }
}

/// The names between the braces of `passes! { .. }`.
fn listed(text: &str) -> BTreeSet<&str> {
    let body = text
        .split("\npasses! {")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
        .unwrap_or("");
    let lines = body
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    #[test]
    fn list_files_and_folders_agree() {
        let files = [
            (
                LIST,
                "//! Passes.\npasses! {\n    /// First, of two.\n    fold_constants,\n    remove_dead,\n}\n",
            ),
            ("crates/gabion-lower/src/passes/fold_constants.rs", ""),
            (
                "crates/gabion-lower/src/passes/fold_constants/budget.rs",
                "",
            ),
            ("crates/gabion-lower/src/passes/remove_dead.rs", ""),
            ("tests/filetests/passes/fold_constants/a.gir", ""),
            ("tests/filetests/passes/remove_dead/a.gir", ""),
        ];
        let found = |files: &[(&str, &str)]| of(|report| check(&Checkout::of(files), report));
        assert_eq!(found(&files), [""; 0]);
        assert_eq!(
            found(&files[..5]),
            [format!(
                "{LIST}: pass `remove_dead` has no filetests in {FILETESTS}remove_dead/"
            )]
        );
        let without = |gone: usize| -> Vec<(&str, &str)> {
            files
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != gone)
                .map(|(_, file)| *file)
                .collect()
        };
        assert_eq!(
            found(&without(3)),
            [format!(
                "{LIST}: pass `remove_dead` has no file {FILES}remove_dead.rs"
            )]
        );
        let mut more = files.to_vec();
        more.extend([
            ("crates/gabion-lower/src/passes/other.rs", ""),
            ("tests/filetests/passes/third/a.gir", ""),
        ]);
        assert_eq!(
            found(&more),
            [
                format!("{FILES}other.rs: is not in the list of passes"),
                format!("{FILETESTS}third: is the folder of no pass")
            ]
        );
        assert_eq!(
            found(&[(LIST, "")]),
            [format!("{LIST}: expected a list `passes! {{ name, .. }}`")]
        );
    }
}
