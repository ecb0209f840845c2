//! The rotary fields of `config.json`, in the old and in the new form.

use serde_json::Value;

use super::scaling::{RopeConfig, RopeScaling};
use crate::error::ConfigProblem;
use crate::fields::Fields;

/// What the rotary fields of a configuration depend on beside themselves.
pub(crate) struct RopeContext {
    /// `None` where it could not be read: what depends on it is not checked then.
    pub(crate) head_dim: Option<usize>,
    pub(crate) partial: PartialRotary,
    /// `None` where it could not be read.
    pub(crate) max_positions: Option<usize>,
    /// Phi-3's older files call its one rule `su` or `yarn`.
    pub(crate) longrope_aliases: &'static [&'static str],
}

/// What `partial_rotary_factor` means to a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PartialRotary {
    /// The leading `int(head_dim * factor)` values of a head rotate (Phi-3).
    Honoured,
    /// The families of this name rotate whole heads. Their default rule does not read the factor;
    /// the other rules would give a table of cos and sin that is narrower than a head, which
    /// transformers fails on.
    WholeHeads(&'static str),
    /// The factor is the ratio of two integers: the nearest integer is meant.
    Ratio,
}

const TYPES: &str = "default, linear, dynamic, llama3, yarn or longrope";

/// The rotary fields: `rope_parameters` (the new form), or `rope_theta`, `rope_scaling` and
/// `partial_rotary_factor` at the root (the old one). Both may be there if they agree.
pub(crate) fn read_rope(root: &mut Fields<'_>, context: &RopeContext) -> RopeConfig {
    let parameters = section(root, "rope_parameters");
    let scaling = section(root, "rope_scaling");
    let parent = if parameters.is_none() && scaling.is_some() {
        "rope_scaling"
    } else {
        "rope_parameters"
    };
    let merged = merge(root, parameters, scaling);
    let mut rope = Fields::new(&merged, parent);
    let theta = agreed(root, &mut rope, "rope_theta").unwrap_or(10_000.0);
    let rotary_dim = rotary_dim(root, &mut rope, context);
    let original = original_positions(root, &mut rope).or(context.max_positions);
    let scaling = read_scaling(&mut rope, context, rotary_dim, original);
    root.problems.append(&mut rope.problems);
    RopeConfig {
        theta,
        rotary_dim: rotary_dim.unwrap_or(2),
        scaling,
    }
}

fn section(root: &mut Fields<'_>, field: &str) -> Option<Value> {
    let value = root.get(field)?;
    if value.is_object() {
        return Some(value);
    }
    root.invalid(field, "an object", &value);
    None
}

/// The two forms as one object; a field that both have must agree.
fn merge(root: &mut Fields<'_>, parameters: Option<Value>, scaling: Option<Value>) -> Value {
    let (Some(Value::Object(mut merged)), Some(Value::Object(old))) =
        (parameters.clone(), scaling.clone())
    else {
        return parameters
            .or(scaling)
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    };
    for (field, value) in old {
        // The old form says `type` where the new one says `rope_type`.
        let field = if field == "type" {
            "rope_type".to_owned()
        } else {
            field
        };
        match merged.get(&field) {
            Some(new) if !same(new, &value) => {
                let fields = [
                    format!("rope_parameters.{field}"),
                    format!("rope_scaling.{field}"),
                ];
                let message =
                    format!("the first is {new}, the second {value}; remove one of the two forms");
                root.problem(ConfigProblem::Contradiction {
                    fields: fields.into(),
                    message,
                });
            }
            Some(_) => {}
            None => {
                merged.insert(field, value);
            }
        }
    }
    Value::Object(merged)
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A positive number that may stand at the root, inside, or at both if the two agree.
fn agreed(root: &mut Fields<'_>, rope: &mut Fields<'_>, field: &str) -> Option<f64> {
    let (outer, inner) = (root.positive(field), rope.positive(field));
    if let (Some(a), Some(b)) = (outer, inner)
        && a != b
    {
        let fields = vec![field.to_owned(), rope.path(field)];
        let message = format!("the first is {a}, the second {b}; remove the one that is not meant");
        root.problem(ConfigProblem::Contradiction { fields, message });
    }
    inner.or(outer)
}

/// How many leading values of a head rotate; `None` after a problem.
fn rotary_dim(
    root: &mut Fields<'_>,
    rope: &mut Fields<'_>,
    context: &RopeContext,
) -> Option<usize> {
    const FIELD: &str = "partial_rotary_factor";
    let rule = rule_word(rope);
    if matches!(context.partial, PartialRotary::WholeHeads(_)) && rule == "default" {
        return even(root, &["head_dim"], context.head_dim?, None);
    }
    let partial = agreed(root, rope, FIELD);
    let head_dim = context.head_dim?;
    let Some(partial) = partial else {
        return even(root, &["head_dim"], head_dim, None);
    };
    if partial > 1.0 {
        let message =
            format!("the factor is {partial}; at most the whole head of {head_dim} can be rotated");
        root.contradiction(&[FIELD, "head_dim"], message);
        return None;
    }
    let exact = head_dim as f64 * partial;
    let dim = match context.partial {
        PartialRotary::Ratio => exact.round() as usize,
        // Rounded towards zero, as Python's `int` does.
        PartialRotary::Honoured | PartialRotary::WholeHeads(_) => exact as usize,
    };
    if let PartialRotary::WholeHeads(family) = context.partial
        && dim != head_dim
    {
        let message = format!(
            "{family} rotates whole heads, and `{rule}` with the factor {partial} makes frequencies for {dim} of {head_dim} values; remove the factor if whole heads are meant"
        );
        root.contradiction(&[FIELD, "rope_type"], message);
        return None;
    }
    even(root, &[FIELD, "head_dim"], dim, Some((head_dim, partial)))
}

/// Values rotate in pairs.
fn even(
    root: &mut Fields<'_>,
    fields: &[&str],
    dim: usize,
    product: Option<(usize, f64)>,
) -> Option<usize> {
    if dim != 0 && dim.is_multiple_of(2) {
        return Some(dim);
    }
    let must = "they rotate in pairs, so it must be even and not 0";
    match product {
        Some((head_dim, partial)) => {
            let message = format!(
                "head_dim {head_dim} x {partial} rotates {dim} values of each head; {must}"
            );
            root.contradiction(fields, message);
        }
        None => {
            let found = Value::from(dim);
            root.unsupported(
                fields[0],
                &found,
                &format!("all values of a head rotate; {must}"),
            );
        }
    }
    None
}

/// The rule's name; an absent one is `default`.
fn rule_word(rope: &Fields<'_>) -> String {
    let word = |field: &str| rope.get(field)?.as_str().map(str::to_owned);
    word("rope_type")
        .or_else(|| word("type"))
        .unwrap_or_else(|| "default".to_owned())
}

fn original_positions(root: &mut Fields<'_>, rope: &mut Fields<'_>) -> Option<usize> {
    const FIELD: &str = "original_max_position_embeddings";
    let (outer, inner) = (root.size(FIELD), rope.size(FIELD));
    if let (Some(a), Some(b)) = (outer, inner)
        && a != b
    {
        let fields = vec![FIELD.to_owned(), rope.path(FIELD)];
        root.problem(ConfigProblem::Contradiction {
            fields,
            message: format!("the first is {a}, the second {b}; remove the one that is not meant"),
        });
    }
    outer.or(inner)
}

fn read_scaling(
    rope: &mut Fields<'_>,
    context: &RopeContext,
    rotary_dim: Option<usize>,
    original: Option<usize>,
) -> RopeScaling {
    let word = read_rule(rope);
    // 2 stands for what could not be read: the problem is recorded, and 2 makes no other.
    let original = original.unwrap_or(2);
    let max_positions = context.max_positions.unwrap_or(original);
    let ratio = max_positions as f64 / original as f64;
    match word.as_str() {
        alias if context.longrope_aliases.contains(&alias) => {
            read_longrope(rope, rotary_dim, ratio, original)
        }
        "default" => RopeScaling::Default,
        "linear" => RopeScaling::Linear {
            factor: rope.required_positive("factor"),
        },
        "dynamic" => read_dynamic(rope, rotary_dim, max_positions),
        "llama3" => read_llama3(rope, original),
        "yarn" => read_yarn(rope, ratio, original),
        "longrope" => read_longrope(rope, rotary_dim, ratio, original),
        _ => {
            let field = if rope.has("rope_type") {
                "rope_type"
            } else {
                "type"
            };
            rope.unsupported(
                field,
                &Value::String(word),
                &format!("supported are {TYPES}"),
            );
            RopeScaling::Default
        }
    }
}

/// The rule's name, which may stand under two fields.
fn read_rule(rope: &mut Fields<'_>) -> String {
    let (new, old) = (rope.word("rope_type"), rope.word("type"));
    if let (Some(a), Some(b)) = (&new, &old)
        && a != b
    {
        rope.contradiction(
            &["rope_type", "type"],
            format!("the first is {a}, the second {b}"),
        );
    }
    new.or(old).unwrap_or_else(|| "default".to_owned())
}

fn read_dynamic(
    rope: &mut Fields<'_>,
    rotary_dim: Option<usize>,
    max_positions: usize,
) -> RopeScaling {
    let factor = rope.required_positive("factor");
    if rotary_dim.is_some_and(|dim| dim <= 2) {
        rope.contradiction(
            &["rope_type", "partial_rotary_factor"],
            "`dynamic` needs more than one frequency".to_owned(),
        );
    }
    RopeScaling::Dynamic {
        factor,
        max_positions,
    }
}

fn read_llama3(rope: &mut Fields<'_>, original: usize) -> RopeScaling {
    let factor = rope.required_positive("factor");
    let low_freq_factor = rope.required_positive("low_freq_factor");
    let high_freq_factor = rope.required_positive("high_freq_factor");
    if rope.problems.is_empty() && high_freq_factor <= low_freq_factor {
        let message =
            format!("low is {low_freq_factor}, high is {high_freq_factor}: high must be above low");
        rope.contradiction(&["low_freq_factor", "high_freq_factor"], message);
    }
    RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original,
    }
}

fn read_yarn(rope: &mut Fields<'_>, ratio: f64, original: usize) -> RopeScaling {
    let factor = rope.positive("factor").unwrap_or(ratio);
    let attention_factor = rope.positive("attention_factor");
    // Zero counts as unset.
    let nonzero = |x: Option<f64>| x.filter(|x| *x != 0.0);
    let scales = (
        nonzero(rope.number("mscale")),
        nonzero(rope.number("mscale_all_dim")),
    );
    RopeScaling::Yarn {
        factor,
        attention_factor,
        mscale: scales.0.zip(scales.1),
        beta_fast: rope.positive("beta_fast").unwrap_or(32.0),
        beta_slow: rope.positive("beta_slow").unwrap_or(1.0),
        truncate: rope.flag("truncate", true),
        original,
    }
}

fn read_longrope(
    rope: &mut Fields<'_>,
    rotary_dim: Option<usize>,
    ratio: f64,
    original: usize,
) -> RopeScaling {
    let (short, long) = (
        rope.required_positives("short_factor"),
        rope.required_positives("long_factor"),
    );
    for (field, list) in [("short_factor", &short), ("long_factor", &long)] {
        let Some(pairs) = rotary_dim.map(|dim| dim / 2) else {
            continue;
        };
        if !list.is_empty() && list.len() != pairs {
            let message = format!(
                "{} factors for {pairs} frequencies: one for each pair that rotates",
                list.len()
            );
            rope.contradiction(&[field], message);
        }
    }
    if original < 2 {
        let message =
            format!("a context of {original} has no logarithm to scale by: it must be at least 2");
        rope.contradiction(&["original_max_position_embeddings"], message);
    }
    let attention_factor = rope.positive("attention_factor");
    let factor = rope.positive("factor").unwrap_or(ratio);
    RopeScaling::LongRope {
        short,
        long,
        attention_factor,
        factor,
        original,
    }
}
