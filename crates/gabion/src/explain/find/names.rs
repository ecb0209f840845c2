//! Names as they are asked for: with words left out, or misspelt.

use std::collections::BTreeSet;

use gabion_ir::{Graph, Op};
use strsim::levenshtein;

/// Every module path, outer ones too.
pub(super) fn scopes(graph: &Graph) -> BTreeSet<String> {
    let mut scopes = BTreeSet::new();
    for id in graph.node_ids() {
        let scope = graph.node(id).scope.as_deref().unwrap_or_default();
        let ends = scope.match_indices('.').map(|(at, _)| at);
        for end in ends.chain([scope.len()]).filter(|end| *end > 0) {
            scopes.insert(scope[..end].to_owned());
        }
    }
    scopes
}

/// The names that values were given.
pub(super) fn value_names(graph: &Graph) -> impl Iterator<Item = &str> {
    let nodes = graph.node_ids();
    let names = nodes.flat_map(|id| graph.node(id).names.iter().flatten());
    names.map(|name| &**name)
}

/// Up to three modules, weights and values of a graph whose names resemble `name`, nearest first.
pub fn names_like(graph: &Graph, name: &str) -> Vec<String> {
    let mut names = scopes(graph);
    names.extend(value_names(graph).map(str::to_owned));
    let weights = graph.node_ids().filter_map(|id| match graph.op(id) {
        Op::Weight(weight) => Some(weight.name.to_string()),
        _ => None,
    });
    names.extend(weights);
    nearest(name, names.iter().map(String::as_str))
}

/// A projection's name may be said without the word for it: `qkv` for `qkv_proj`.
fn short(word: &str) -> &str {
    word.strip_suffix("_proj").unwrap_or(word)
}

/// The words of `name` are words of `scope` in their order, and the last words are the same.
pub(super) fn ends_like(scope: &str, name: &str) -> bool {
    let mut wanted = name.split('.').rev().map(short).peekable();
    let mut words = scope.split('.').rev().map(short);
    if words.next() != wanted.next() {
        return false;
    }
    for word in words {
        if wanted.peek() == Some(&word) {
            wanted.next();
        }
    }
    wanted.peek().is_none()
}

/// Up to three names that resemble `name`, nearest first: as a whole, or else in their last words and
/// then in how many of the others they have.
pub(in crate::explain) fn nearest<'n>(
    name: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Vec<String> {
    let whole = nearest_whole(name, names.clone());
    if !whole.is_empty() {
        return whole;
    }
    let last = |name: &'n str| short(name.rsplit('.').next().unwrap_or(name));
    let wanted: Vec<&str> = name.split('.').map(short).collect();
    let own = wanted.last().copied().unwrap_or_default();
    let missing = |it: &str| {
        let has = |word: &&&str| it.split('.').map(short).any(|other| other == **word);
        wanted.len() - wanted.iter().filter(has).count()
    };
    let mut near: Vec<(usize, usize, &str)> = names
        .map(|it| (levenshtein(own, last(it)), missing(it), it))
        .filter(|(distance, missing, _)| *distance <= own.len() / 3 && *missing < wanted.len())
        .collect();
    near.sort_unstable();
    near.truncate(3);
    near.into_iter().map(|(_, _, it)| it.to_owned()).collect()
}

fn nearest_whole<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let limit = (name.chars().count() / 3).max(2);
    let mut near: Vec<(usize, &str)> = names
        .filter(|it| it.len().abs_diff(name.len()) <= 4 * limit)
        .map(|it| (levenshtein(name, it), it))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    near.truncate(3);
    near.into_iter().map(|(_, it)| it.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_may_leave_words_out() {
        let scope = "model.layers.3.self_attn.qkv";
        for name in ["qkv", "layers.3.qkv", "layers.3.qkv_proj", "3.qkv", scope] {
            assert!(ends_like(scope, name), "{name}");
        }
        for name in [
            "layers.4.qkv",
            "qkv.layers.3",
            "layers.3",
            "3.layers.qkv",
            "kv",
        ] {
            assert!(!ends_like(scope, name), "{name}");
        }
    }

    #[test]
    fn near_names_are_offered_nearest_first() {
        let names = ["layers.3.qkv", "layers.13.qkv", "lm_head"];
        assert_eq!(
            nearest("layer.3.qkv", names.into_iter()),
            ["layers.3.qkv", "layers.13.qkv"]
        );
        let long = ["model.layers.3.self_attn.qkv_proj", "model.layers.4.mlp"];
        assert_eq!(nearest("layer.3.qkv", long.into_iter()), long[..1]);
        assert!(nearest("x", ["embedding"].into_iter()).is_empty());
    }
}
