//! `gabion fmt`: graphs in text form as the printer writes them.

use std::path::{Path, PathBuf};

use gabion::checkpoint::write_bytes;
use serde_json::json;

use super::error::CliError;
use super::output::Output;
use super::{Done, graph_file};

/// Words of `gabion fmt`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files to rewrite; - goes from standard input to standard output
    #[arg(value_name = "GRAPH", required = true)]
    graphs: Vec<PathBuf>,
    /// Change nothing; exit code 1 if a file is not in canonical form
    #[arg(long)]
    check: bool,
    /// Rewrite files that have comments, too: the canonical form has none
    #[arg(long)]
    drop_comments: bool,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    // All are read before any is written, so a wrong one changes nothing.
    let mut formatted = Vec::new();
    for path in &args.graphs {
        let old = graph_file::read_text(path)?;
        let graph = gabion::ir::Graph::parse(&old)
            .map_err(|errors| errors.with_file(path.display().to_string()))?;
        let new = graph.to_text();
        if let Some(line) = comment(&old).filter(|_| !args.check && !args.drop_comments) {
            let problem = format!(
                "line {line} has a comment, which the canonical form would lose: use --drop-comments to lose it"
            );
            return Err(CliError::file(path, problem).into());
        }
        formatted.push((path, old != new, new));
    }
    let mut files = Vec::new();
    let mut changed_any = false;
    for (path, changed, new) in formatted {
        changed_any |= changed;
        let stdin = path == Path::new("-");
        if stdin && !args.check {
            out.text(&new)?;
        } else if changed && !args.check {
            write_bytes(path, new.as_bytes())?;
        }
        if changed && !stdin {
            let what = if args.check {
                "is not in canonical form"
            } else {
                "rewritten"
            };
            out.line(format_args!("{}: {what}", path.display()))?;
        }
        let mut entry = json!({ "file": path, "changed": changed });
        if stdin && !args.check {
            entry["text"] = new.into();
        }
        files.push(entry);
    }
    out.object(|| json!({ "files": files }))?;
    Ok(!(args.check && changed_any))
}

/// The line of the first comment. In types (in brackets), strings and constraints, `//` is something
/// else.
fn comment(text: &str) -> Option<usize> {
    let is_comment = |line: &str| {
        let trimmed = line.trim_start();
        if trimmed.starts_with("//") {
            return true;
        }
        if trimmed.starts_with("where ") || trimmed.starts_with("guard ") {
            return false;
        }
        let (mut depth, mut quoted, mut escaped, mut slash) = (0usize, false, false, false);
        for c in trimmed.chars() {
            let plain = !quoted && depth == 0;
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '[' if !quoted => depth += 1,
                ']' if !quoted => depth = depth.saturating_sub(1),
                '/' if plain && slash => return true,
                _ => {}
            }
            slash = plain && c == '/';
        }
        false
    };
    text.lines().position(is_comment).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::comment;

    #[test]
    fn comments_are_told_from_divisions_and_strings() {
        assert_eq!(
            comment(
                "graph @g(%x: f32[n // 2])\n  where n // 2 == 1\n  %w = weight {name = \"a//b\"}"
            ),
            None
        );
        assert_eq!(comment("a\n  // b"), Some(2));
        assert_eq!(comment("a\n\n%a = exp %x : f32[n // 2] // half"), Some(3));
    }
}
