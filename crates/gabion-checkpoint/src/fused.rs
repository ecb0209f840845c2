//! Recognising that a checkpoint holds stacked projections where a model wants separate ones, or the reverse: by the sums of
//! the rows first, by well-known names where the sums do not say it.

use std::collections::BTreeMap;

/// A parameter as this module sees it.
#[derive(Clone, Debug)]
pub(crate) struct Param<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
}

/// Names of stacked projections and of their parts, in the order of the rows.
const FAMILIES: &[(&str, &[&[&str]])] = &[
    ("qkv_proj", &[&["q_proj", "k_proj", "v_proj"]]),
    (
        "query_key_value",
        &[&["q_proj", "k_proj", "v_proj"], &["query", "key", "value"]],
    ),
    (
        "Wqkv",
        &[&["q_proj", "k_proj", "v_proj"], &["query", "key", "value"]],
    ),
    (
        "c_attn",
        &[&["q_proj", "k_proj", "v_proj"], &["query", "key", "value"]],
    ),
    ("in_proj", &[&["q_proj", "k_proj", "v_proj"]]),
    ("gate_up_proj", &[&["gate_proj", "up_proj"]]),
    ("w13", &[&["w1", "w3"]]),
];

/// A name split into module, projection and kind: `model.layers.0.self_attn`, `q_proj`, `weight`.
fn split(name: &str) -> Option<(&str, &str, &str)> {
    let (rest, kind) = name.rsplit_once('.')?;
    let (module, leaf) = rest.rsplit_once('.').unwrap_or(("", rest));
    Some((module, leaf, kind))
}

/// One hint for each pattern of names: the layers of a model give one hint, with a count.
pub(crate) fn hints(missing: &[Param<'_>], unexpected: &[Param<'_>]) -> Vec<String> {
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut note = |pattern: &str, text: String| {
        found.entry(digits_removed(pattern)).or_insert((text, 0)).1 += 1;
    };
    for fused in unexpected {
        if let Some(text) = file_is_fused(fused, missing) {
            note(fused.name, text);
        }
    }
    for fused in missing {
        if let Some(text) = model_is_fused(fused, unexpected) {
            note(fused.name, text);
        }
    }
    found
        .into_values()
        .map(|(text, count)| match count {
            1 => text,
            _ => format!("{text} ({} more like it)", count - 1),
        })
        .collect()
}

fn digits_removed(name: &str) -> String {
    name.split('.')
        .map(|part| {
            if part.parse::<usize>().is_ok() {
                "#"
            } else {
                part
            }
        })
        .collect::<Vec<_>>()
        .join(".")
}

/// The parameters of the same module and kind, with their leaf names.
fn siblings<'a>(of: &Param<'_>, among: &'a [Param<'a>]) -> Vec<(&'a str, &'a Param<'a>)> {
    let Some((module, _, kind)) = split(of.name) else {
        return Vec::new();
    };
    among
        .iter()
        .filter_map(|param| {
            let (other_module, leaf, other_kind) = split(param.name)?;
            (other_module == module && other_kind == kind).then_some((leaf, param))
        })
        .collect()
}

fn file_is_fused(fused: &Param<'_>, missing: &[Param<'_>]) -> Option<String> {
    let parts = siblings(fused, missing);
    let (_, leaf, _) = split(fused.name)?;
    if let Some(stack) = parts_of(leaf, fused.shape, &parts) {
        return Some(format!(
            "`{}` {:?} is there and has the {} rows of {}: build the model with stacked layers, or run `gabion convert --unfuse`",
            fused.name,
            fused.shape,
            row_sum(&stack),
            leaves(&stack),
        ));
    }
    let named = named_parts(leaf, &parts)?;
    if let [rows, columns] = fused.shape
        && parts_of(leaf, &[*columns, *rows], &named).is_some()
    {
        return Some(format!(
            "`{}` {:?} is there and holds {} transposed, as [in, out] with {} columns: transpose it and split it before loading",
            fused.name,
            fused.shape,
            leaves(&named),
            row_sum(&named),
        ));
    }
    Some(format!(
        "`{}` {:?} is there and by its name holds {}, but it does not have their {} rows: the file belongs to a model of other sizes",
        fused.name,
        fused.shape,
        leaves(&named),
        row_sum(&named),
    ))
}

fn model_is_fused(fused: &Param<'_>, unexpected: &[Param<'_>]) -> Option<String> {
    let parts = siblings(fused, unexpected);
    let (module, leaf, kind) = split(fused.name)?;
    if let Some(stack) = parts_of(leaf, fused.shape, &parts) {
        return Some(format!(
            "{} of `{module}` are there and have the {} rows of {leaf}.{kind} {:?}, which the model expects: build the model with separate projections, or run `gabion convert --fuse`",
            leaves(&stack),
            row_sum(&stack),
            fused.shape,
        ));
    }
    let named = named_parts(leaf, &parts)?;
    Some(format!(
        "{} of `{module}` are there with {} rows, and the model expects {leaf}.{kind} {:?}: the file belongs to a model of other sizes",
        leaves(&named),
        row_sum(&named),
        fused.shape,
    ))
}

/// The siblings whose rows add up to those of the stack and whose other dims are equal: the family's own parts if its name is
/// known, else any two or more neighbours.
fn parts_of<'a>(
    leaf: &str,
    shape: &[usize],
    siblings: &[(&'a str, &'a Param<'a>)],
) -> Option<Vec<(&'a str, &'a Param<'a>)>> {
    let (&rows, rest) = shape.split_first()?;
    let adds_up = |parts: &[(&str, &Param<'_>)]| {
        let same_rest = parts
            .iter()
            .all(|(_, part)| part.shape.get(1..) == Some(rest));
        let sum: usize = parts
            .iter()
            .filter_map(|(_, part)| part.shape.first())
            .sum();
        same_rest && sum == rows
    };
    if let Some(named) = named_parts(leaf, siblings) {
        return adds_up(&named).then_some(named);
    }
    let n_siblings = siblings.len();
    (2..=n_siblings)
        .flat_map(|length| siblings.windows(length))
        .find(|parts| adds_up(parts))
        .map(<[_]>::to_vec)
}

fn named_parts<'a>(
    leaf: &str,
    siblings: &[(&'a str, &'a Param<'a>)],
) -> Option<Vec<(&'a str, &'a Param<'a>)>> {
    let (_, families) = FAMILIES.iter().find(|(name, _)| *name == leaf)?;
    families.iter().find_map(|parts| {
        parts
            .iter()
            .map(|part| siblings.iter().find(|(leaf, _)| leaf == part).copied())
            .collect::<Option<Vec<_>>>()
    })
}

fn row_sum(parts: &[(&str, &Param<'_>)]) -> String {
    let rows: Vec<String> = parts
        .iter()
        .map(|(_, part)| part.shape.first().copied().unwrap_or(1).to_string())
        .collect();
    rows.join("+")
}

fn leaves(parts: &[(&str, &Param<'_>)]) -> String {
    let names: Vec<&str> = parts.iter().map(|(leaf, _)| *leaf).collect();
    names.join(", ")
}
