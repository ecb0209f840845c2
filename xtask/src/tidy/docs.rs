//! Pages: links between files of the project lead somewhere.

use super::Report;
use crate::checkout::Checkout;

pub(super) fn check(checkout: &Checkout, report: &mut Report) {
    if checkout.text("README.md").is_none() {
        report.file("README.md", "is missing");
    }
    for (path, text) in checkout.texts() {
        if path == "README.md" || (path.starts_with("docs/") && path.ends_with(".md")) {
            for (line, target) in links(text) {
                if let Some(problem) = broken(checkout, path, text, &target) {
                    report.line(path, line, format!("`{target}`: {problem}"));
                }
            }
        }
    }
}

/// Targets of `[text](target)` outside code blocks, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            if let Some(target) = line[at + 2..].split(')').next() {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

fn broken(checkout: &Checkout, page: &str, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target
        .split_once('#')
        .map_or((target, None), |(file, heading)| (file, Some(heading)));
    let path = if file.is_empty() {
        page.to_owned()
    } else {
        resolve(page, file)?
    };
    if !checkout.has(&path) {
        return Some(format!("there is no {path}"));
    }
    let there = if file.is_empty() {
        Some(text)
    } else {
        checkout.text(&path)
    };
    let heading = heading?;
    let found = headings(there?).any(|slug| slug == heading);
    (!found).then(|| format!("{path} has no heading `{heading}`"))
}

/// The path of a link, from the root; `None` if it leaves the project.
fn resolve(page: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Headings as anchors: lower case, spaces as `-`, without punctuation.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    titles.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    #[test]
    fn links_lead_somewhere() {
        let page = "# One: two, `three`\n[a](docs/b.md) [b](https://x.y/z) [c](#one-two-three) ![d](docs/b.md#deep-end)\n```\n[x](none.md)\n```\n";
        let docs = "# Top\n## Deep end\n[up](../README.md#one-two-three) [code](../crates/a) [here](b.md)\n";
        let found = |page: &str, docs: &str| {
            let files = [
                ("README.md", page),
                ("docs/b.md", docs),
                ("crates/a/src/lib.rs", ""),
            ];
            of(|report| check(&Checkout::of(&files), report))
        };
        assert_eq!(found(page, docs), [""; 0]);
        assert_eq!(
            found("[a](c.md)", docs)[0],
            "README.md:1: `c.md`: there is no c.md"
        );
        assert_eq!(
            found("[a](docs/b.md#end)", "")[0],
            "README.md:1: `docs/b.md#end`: docs/b.md has no heading `end`"
        );
        assert_eq!(
            found("# A\n[a](#b)", ""),
            ["README.md:2: `#b`: README.md has no heading `b`"]
        );
        assert_eq!(
            of(|report| check(&Checkout::of(&[]), report)),
            ["README.md: is missing"]
        );
    }
}
