//! One HTML file that shows a document: it loads nothing, so it can be mailed, archived and opened without a network.
//!
//! Rust decides what is shown and in what order it stands; the page (its parts lie beside the Rust files) gives the
//! coordinates, since they depend on what its reader opens. The data travel in chunks: one that the page needs at
//! once, and one for the text of each stage, which is inflated when it is looked at.

mod chunk;
mod data;
mod ledger;
mod orders;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::document::{Document, Stage};
use crate::{Histogram, OtherSteps, Taken, Timings};

/// What a report says beside its document.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    /// How long the steps of the plan took, for each thing that was run.
    pub timings: Vec<Timings>,
    /// How the values are spread that the plan's weights take from stored tensors ([`Histogram::of_plan`]).
    pub histograms: BTreeMap<Taken, Histogram>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Times of another plan.
    #[error(transparent)]
    Steps(#[from] OtherSteps),
    /// The data could not be written down.
    #[error("the report's data cannot be written: {0}")]
    Data(#[from] serde_json::Error),
    /// The data could not be compressed.
    #[error("the report's data cannot be compressed: {0}")]
    Compress(#[from] std::io::Error),
}

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");

/// The page's script, in the order in which it is read.
const SCRIPTS: [&str; 21] = [
    include_str!("report/js/data.js"),
    include_str!("report/js/stage.js"),
    include_str!("report/js/columns.js"),
    include_str!("report/js/place.js"),
    include_str!("report/js/search.js"),
    include_str!("report/js/ledger.js"),
    include_str!("report/js/colour.js"),
    include_str!("report/js/paint.js"),
    include_str!("report/js/pane.js"),
    include_str!("report/js/export.js"),
    include_str!("report/js/list.js"),
    include_str!("report/js/tree.js"),
    include_str!("report/js/details.js"),
    include_str!("report/js/panels.js"),
    include_str!("report/js/weights.js"),
    include_str!("report/js/memory.js"),
    include_str!("report/js/look.js"),
    include_str!("report/js/slider.js"),
    include_str!("report/js/focus.js"),
    include_str!("report/js/app.js"),
    include_str!("report/js/main.js"),
];

/// The page.
///
/// # Errors
/// Times of another plan.
pub fn report(document: &Document, options: &ReportOptions) -> Result<String, ReportError> {
    for timings in &options.timings {
        timings.check(document.plan())?;
    }
    let texts = text_of_stages(document);
    let data = data::Data::new(document, options, &texts);
    let mut chunks = String::new();
    push_chunk(&mut chunks, "data", &chunk::encode(&data)?);
    for (stage, _) in texts.iter().enumerate().filter(|(at, of)| at == *of) {
        let text = document.text(stage);
        let text = data::Text::new(&text);
        push_chunk(
            &mut chunks,
            &format!("text-{stage}"),
            &chunk::encode(&text)?,
        );
    }
    Ok(page(&document.title, &chunks))
}

/// For each stage, the first that has the same text: most passes change nothing.
fn text_of_stages(document: &Document) -> Vec<usize> {
    let mut of: Vec<usize> = Vec::new();
    let mut last: Option<&Stage> = None;
    for (at, stage) in document.stages.iter().enumerate() {
        let same = last.is_some_and(|it| {
            it.kind != crate::document::StageKind::Plan
                && stage.kind != crate::document::StageKind::Plan
                && stage.rewrites == 0
                && it.boxes == stage.boxes
        });
        let first = match of.last() {
            Some(first) if same => *first,
            _ => at,
        };
        of.push(first);
        last = Some(stage);
    }
    of
}

fn push_chunk(chunks: &mut String, name: &str, base64: &str) {
    // Base64 has no character that ends a script.
    let _always_ok = writeln!(
        chunks,
        "<script type=\"application/octet-stream\" id=\"chunk-{name}\">{base64}</script>"
    );
}

/// Fills the page. Each part is put in once, so nothing in the data is taken for a mark.
fn page(title: &str, chunks: &str) -> String {
    let script = SCRIPTS.join("\n");
    let parts = [
        ("@TITLE@", escape(title)),
        ("@STYLE@", STYLE.to_owned()),
        ("@CHUNKS@", chunks.to_owned()),
        (
            "@SCRIPT@",
            format!("\"use strict\";\n(() => {{\n{script}\n}})();"),
        ),
    ];
    let size = parts.iter().map(|(_, part)| part.len()).sum::<usize>() + PAGE.len();
    let mut page = String::with_capacity(size);
    let mut rest = PAGE;
    while let Some((at, mark, part)) = next_mark(rest, &parts) {
        page.push_str(&rest[..at]);
        page.push_str(part);
        rest = &rest[at + mark.len()..];
    }
    page.push_str(rest);
    page
}

fn next_mark<'a>(
    text: &str,
    parts: &'a [(&'static str, String)],
) -> Option<(usize, &'static str, &'a str)> {
    let found = parts
        .iter()
        .filter_map(|(mark, part)| Some((text.find(mark)?, *mark, part.as_str())));
    found.min_by_key(|(at, ..)| *at)
}

/// Text as it stands in HTML, in elements and in attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod page_tests {
    use super::*;

    #[test]
    fn a_title_cannot_end_the_script_or_be_taken_for_a_mark() {
        let page = page("</script><b>&@SCRIPT@", "CHUNKS");
        assert!(page.contains("&lt;/script&gt;&lt;b&gt;&amp;@SCRIPT@"));
        assert_eq!(page.matches("CHUNKS").count(), 1);
    }

    #[test]
    fn the_script_and_the_style_do_not_end_themselves() {
        for part in SCRIPTS {
            assert!(!part.to_ascii_lowercase().contains("</script"));
            assert!(!part.contains("<!--"));
        }
        assert!(!STYLE.to_ascii_lowercase().contains("</style"));
    }

    #[test]
    fn nothing_outside_the_file_is_named() {
        // Names of XML spaces are not addresses.
        let spaces = ["http://www.w3.org/2000/svg"];
        for part in SCRIPTS.iter().chain([&PAGE, &STYLE]) {
            let mut part = (*part).to_owned();
            spaces.iter().for_each(|it| part = part.replace(it, ""));
            for word in ["http:", "https:", "@import", "url("] {
                assert!(!part.contains(word), "{word}");
            }
        }
    }
}
