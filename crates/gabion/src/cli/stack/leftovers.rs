//! Tensors beside those of a stack, under the same parent: they may belong to the parent's other
//! modules, or to this layer under a name that was misspelt, so they are shown and refused nothing.

use std::path::PathBuf;

use gabion::checkpoint::Checkpoint;
use gabion::ir::Graph;

/// How many are named.
const SHOWN: usize = 8;

/// A warning that names the tensors of other modules directly under the parent, each with the
/// nearest name that the layer reads; none if there are none.
pub(super) fn warning(
    checkpoint: &Checkpoint,
    graph: &Graph,
    prefix: &str,
    files: &[PathBuf],
) -> Option<String> {
    let read: Vec<String> = graph
        .weights()
        .into_iter()
        .map(|(name, _, _)| name.to_string())
        .collect();
    let left: Vec<&str> = checkpoint
        .names()
        .filter(|name| is_sibling(prefix, name) && !read.iter().any(|read| read == name))
        .collect();
    if left.is_empty() {
        return None;
    }
    let named: Vec<String> = left.iter().take(SHOWN).map(|n| shown(n, &read)).collect();
    let more = match left.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!(", and {n} more"),
    };
    let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
    let parent = match prefix {
        "" => "the root".to_owned(),
        prefix => format!("`{prefix}`"),
    };
    Some(format!(
        "{}: under {parent} the layer does not read {}{more}",
        files.join(", "),
        named.join(", ")
    ))
}

/// Whether a tensor is one of a module right under the parent: deeper ones are another layer's.
fn is_sibling(prefix: &str, name: &str) -> bool {
    let inside = match prefix {
        "" => Some(name),
        prefix => name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.')),
    };
    inside.is_some_and(|inside| inside.matches('.').count() <= 1)
}

fn shown(name: &str, read: &[String]) -> String {
    let nearest = read
        .iter()
        .min_by_key(|other| strsim::levenshtein(name, other));
    match nearest {
        Some(other) => format!("{name} (the nearest name that it reads is {other})"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_sibling;

    #[test]
    fn siblings_are_right_under_the_parent() {
        for (prefix, name, expected) in [
            ("", "o.weight", true),
            ("", "scale", true),
            ("", "layers.0.o.weight", false),
            ("a.b", "a.b.o.weight", true),
            ("a.b", "a.bc.o.weight", false),
            ("a.b", "a.o.weight", false),
            ("a.b", "a.b.c.o.weight", false),
        ] {
            assert_eq!(is_sibling(prefix, name), expected, "{prefix} {name}");
        }
    }
}
