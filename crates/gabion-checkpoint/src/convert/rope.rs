//! The rotary fields of `config.json`, in the new form (`rope_parameters`) or the old one (`rope_scaling` and fields at the
//! root), as the keys and the tensor of GGUF. The reverse is in `gguf::rope`.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::numbers::{Normal, ROPE, WAY_OUT, f32_of};
use crate::error::CheckpointError;
use crate::gguf::{GgufValue, llama3_factors, yarn_attention};
use crate::json::Fields;

/// Every field of a rotary section whose meaning is known. Another one might change the numbers, so it is an error.
const KNOWN: &[&str] = &[
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "factor",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "beta_fast",
    "beta_slow",
    "truncate",
    "low_freq_factor",
    "high_freq_factor",
    "short_factor",
    "long_factor",
    // Says how the model was made.
    "finetuned",
];

/// What the rotary fields depend on beside themselves.
#[derive(Clone, Copy)]
pub(super) struct RopeContext {
    pub(super) head_dim: usize,
    pub(super) max_positions: usize,
}

/// How a model turns its heads.
pub(super) struct Rope {
    /// The field that says it.
    pub(super) section: &'static str,
    head_dim: usize,
    theta: f64,
    scaling: Scaling,
}

enum Scaling {
    Default,
    Linear {
        factor: f64,
    },
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: usize,
    },
    Yarn {
        factor: f64,
        original: usize,
        /// What cos and sin are multiplied by, if the config says it.
        attention: Option<f64>,
        beta_fast: f64,
        beta_slow: f64,
    },
    /// Each frequency divided by a number of its own.
    Divisors(Vec<f32>),
}

impl Rope {
    pub(super) fn read(
        path: &Path,
        config: &Value,
        context: RopeContext,
    ) -> Result<Self, CheckpointError> {
        let root = Fields::of(path, config)?;
        let (section, merged) = merged(&root)?;
        let fields = Fields::section(path, section, &merged);
        if let Some(other) = fields.names().find(|name| !KNOWN.contains(name)) {
            let message = format!("has no place in a GGUF file as far as is known here: {WAY_OUT}");
            return Err(fields.wrong(other, message));
        }
        let both = |name: &str| -> Result<Option<f64>, CheckpointError> {
            agreed(&fields, name, root.positive(name)?, fields.positive(name)?)
        };
        let theta = both("rope_theta")?.unwrap_or(10_000.0);
        if both("partial_rotary_factor")?.is_some_and(|partial| partial != 1.0) {
            let message = format!(
                "is not 1, which the GGUF architectures written here do not know: {WAY_OUT}"
            );
            return Err(root.wrong("partial_rotary_factor", message));
        }
        const ORIGINAL: &str = "original_max_position_embeddings";
        let original = agreed(
            &fields,
            ORIGINAL,
            root.size(ORIGINAL)?,
            fields.size(ORIGINAL)?,
        )?;
        let original = original.unwrap_or(context.max_positions);
        if original == 0 {
            return Err(fields.wrong(ORIGINAL, "is 0, expected at least 1"));
        }
        let scaling = Scaling::read(&fields, context.max_positions, original)?;
        Ok(Rope {
            section,
            head_dim: context.head_dim,
            theta,
            scaling,
        })
    }

    /// Adds the keys of `architecture`.
    pub(super) fn insert(
        &self,
        path: &Path,
        architecture: &str,
        values: &mut IndexMap<String, GgufValue>,
    ) -> Result<(), CheckpointError> {
        let mut insert = |key: &str, value: GgufValue| {
            values.insert(format!("{architecture}.rope.{key}"), value);
        };
        let number = |field: &str, value: f64| {
            f32_of(path, &format!("{}.{field}", self.section), value).map(GgufValue::F32)
        };
        insert(
            "freq_base",
            GgufValue::F32(f32_of(path, "rope_theta", self.theta)?),
        );
        // Llama 3's rule and any other divisors go into a tensor; the length that belongs to the rule goes here.
        let (kind, factor, original) = match &self.scaling {
            Scaling::Default | Scaling::Divisors(_) => (None, None, None),
            Scaling::Linear { factor } => (Some("linear"), Some(*factor), None),
            Scaling::Llama3 { original, .. } => (None, None, Some(*original)),
            Scaling::Yarn {
                factor, original, ..
            } => (Some("yarn"), Some(*factor), Some(*original)),
        };
        if let Some(kind) = kind {
            insert("scaling.type", GgufValue::String(kind.into()));
        }
        if let Some(factor) = factor {
            insert("scaling.factor", number("factor", factor)?);
        }
        if let Some(original) = original {
            let value = u32::try_from(original).map_err(|_| {
                let message = format!("is {original}, beyond the range of GGUF's u32: {WAY_OUT}");
                Fields::section(path, self.section, &Map::new())
                    .wrong("original_max_position_embeddings", message)
            })?;
            insert("scaling.original_context_length", GgufValue::U32(value));
        }
        for (key, field, value) in self.yarn_keys() {
            insert(key, number(field, value)?);
        }
        Ok(())
    }

    /// What YaRN's keys say beside factor and length: the key, the field it comes from, and the value.
    fn yarn_keys(&self) -> Vec<(&'static str, &'static str, f64)> {
        let Scaling::Yarn {
            factor,
            attention,
            beta_fast,
            beta_slow,
            ..
        } = &self.scaling
        else {
            return Vec::new();
        };
        let mut keys = Vec::new();
        let rule = yarn_attention(*factor);
        // Where the rule's own value is lost with the digits that an f32 has not, the file says the value.
        if let Some(stated) = attention.or((shortest(*factor) != *factor).then_some(rule)) {
            keys.push(("scaling.yarn_attn_factor", "attention_factor", stated));
            keys.push(("scaling.attn_factor", "attention_factor", stated / rule));
        }
        if *beta_fast != BETA_FAST {
            keys.push(("scaling.yarn_beta_fast", "beta_fast", *beta_fast));
        }
        if *beta_slow != BETA_SLOW {
            keys.push(("scaling.yarn_beta_slow", "beta_slow", *beta_slow));
        }
        keys
    }

    /// The divisors of the frequencies, which GGUF keeps as a tensor.
    pub(super) fn divisors(&self) -> Option<Vec<f32>> {
        match &self.scaling {
            Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let original = *original as f64;
                let divisors =
                    llama3_factors(self.head_dim, self.theta, *factor, *low, *high, original);
                Some(divisors.into_iter().map(|it| it as f32).collect())
            }
            Scaling::Divisors(divisors) => Some(divisors.clone()),
            Scaling::Default | Scaling::Linear { .. } | Scaling::Yarn { .. } => None,
        }
    }

    /// Adds what the frequencies depend on, as it can be compared.
    pub(super) fn normal(&self, normal: &mut Normal) {
        let mut put = |field: &str, value: String| normal.put(format!("{ROPE}{field}"), value);
        put("rope_theta", (self.theta as f32).to_string());
        let kind = match &self.scaling {
            Scaling::Linear { factor } if *factor == 1.0 => "default",
            Scaling::Default => "default",
            Scaling::Linear { factor } => {
                put("factor", (*factor as f32).to_string());
                "linear"
            }
            Scaling::Llama3 { .. } | Scaling::Divisors(_) => {
                put("factor", format!("{:?}", self.divisors()));
                "divisors"
            }
            Scaling::Yarn {
                factor,
                original,
                attention,
                beta_fast,
                beta_slow,
            } => {
                put("factor", (*factor as f32).to_string());
                let attention = attention.unwrap_or_else(|| yarn_attention(*factor));
                put("attention_factor", (attention as f32).to_string());
                let turn = |turns: f64| {
                    let turns = *original as f64 / (turns * 2.0 * std::f64::consts::PI);
                    self.head_dim as f64 * turns.ln() / (2.0 * self.theta.ln())
                };
                // The betas enter as the pairs at which the blend begins and ends.
                put("beta_fast", turn(*beta_fast).floor().to_string());
                put("beta_slow", turn(*beta_slow).ceil().to_string());
                "yarn"
            }
        };
        put("rope_type", kind.to_string());
    }
}

const BETA_FAST: f64 = 32.0;
const BETA_SLOW: f64 = 1.0;

/// What an f32 keeps of a number, as the shortest decimal that means it: what comes back from a file.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

impl Scaling {
    fn read(
        fields: &Fields<'_>,
        max_positions: usize,
        original: usize,
    ) -> Result<Self, CheckpointError> {
        let (new, old) = (fields.string("rope_type")?, fields.string("type")?);
        if let (Some(new), Some(old)) = (new, old)
            && new != old
        {
            let message = format!("is `{old}`, and `rope_type` is `{new}`: expected the same");
            return Err(fields.wrong("type", message));
        }
        let field = if new.is_some() { "rope_type" } else { "type" };
        match new.or(old).unwrap_or("default") {
            "default" => Ok(Scaling::Default),
            "linear" => Ok(Scaling::Linear {
                factor: fields.need_positive("factor")?,
            }),
            "llama3" => Self::llama3(fields, original),
            "yarn" => Self::yarn(fields, max_positions as f64 / original as f64, original),
            "longrope" => Self::longrope(fields, max_positions, original),
            other => {
                let message = format!(
                    "is `{other}`, and GGUF files are written with default, linear, yarn and llama3: {WAY_OUT}"
                );
                Err(fields.wrong(field, message))
            }
        }
    }

    fn llama3(fields: &Fields<'_>, original: usize) -> Result<Self, CheckpointError> {
        let factor = fields.need_positive("factor")?;
        let low = fields.need_positive("low_freq_factor")?;
        let high = fields.need_positive("high_freq_factor")?;
        if high <= low {
            let message = format!("is {high}, expected more than the low_freq_factor {low}");
            return Err(fields.wrong("high_freq_factor", message));
        }
        Ok(Scaling::Llama3 {
            factor,
            low,
            high,
            original,
        })
    }

    fn yarn(fields: &Fields<'_>, ratio: f64, original: usize) -> Result<Self, CheckpointError> {
        if fields.bool("truncate")? == Some(false) {
            let message = format!(
                "is false, for which GGUF has no key: its readers widen the blend: {WAY_OUT}"
            );
            return Err(fields.wrong("truncate", message));
        }
        let factor = fields.positive("factor")?.unwrap_or(ratio);
        let nonzero = |name| Ok(fields.number(name)?.filter(|it| *it != 0.0));
        let scales = (nonzero("mscale")?).zip(nonzero("mscale_all_dim")?);
        let scale = |by: f64| match factor <= 1.0 {
            true => 1.0,
            false => 0.1 * by * factor.ln() + 1.0,
        };
        let by_scales = scales.map(|(above, below)| scale(above) / scale(below));
        Ok(Scaling::Yarn {
            factor,
            original,
            attention: fields.positive("attention_factor")?.or(by_scales),
            beta_fast: fields.positive("beta_fast")?.unwrap_or(BETA_FAST),
            beta_slow: fields.positive("beta_slow")?.unwrap_or(BETA_SLOW),
        })
    }

    /// One list for all lengths is what the tensor of GGUF says; two lists are not.
    fn longrope(
        fields: &Fields<'_>,
        max_positions: usize,
        original: usize,
    ) -> Result<Self, CheckpointError> {
        let divisors = |name| {
            let list = fields.positives(name)?.unwrap_or_default();
            Ok(list.into_iter().map(|it| it as f32).collect::<Vec<_>>())
        };
        let (short, long) = (divisors("short_factor")?, divisors("long_factor")?);
        let factor = fields.positive("factor")?;
        let grows = match fields.positive("attention_factor")? {
            Some(attention) => attention as f32 != 1.0,
            None => factor.unwrap_or(max_positions as f64 / original as f64) > 1.0,
        };
        if short.is_empty() || short != long || grows {
            let message = format!(
                "is `longrope`, and GGUF files are written with default, linear, yarn and llama3: {WAY_OUT}"
            );
            return Err(fields.wrong("rope_type", message));
        }
        Ok(Scaling::Divisors(short))
    }
}

/// The rotary section, under the name that errors call it by. Where both forms are there, they must agree.
fn merged(root: &Fields<'_>) -> Result<(&'static str, Map<String, Value>), CheckpointError> {
    const NEW: &str = "rope_parameters";
    const OLD: &str = "rope_scaling";
    let (new, old) = match (root.object(NEW)?, root.object(OLD)?) {
        (None, None) => return Ok((NEW, Map::new())),
        (Some(only), None) => return Ok((NEW, only.clone())),
        (None, Some(only)) => return Ok((OLD, only.clone())),
        (Some(new), Some(old)) => (new, old),
    };
    let mut merged = new.clone();
    for (name, value) in old {
        // The old form says `type` where the new one says `rope_type`.
        let name = match name.as_str() {
            "type" => "rope_type",
            name => name,
        };
        match merged.get(name) {
            Some(found) if !same(found, value) => {
                let message =
                    format!("is {value}, and in `{NEW}` it is {found}: remove one of the two");
                return Err(root.wrong(&format!("{OLD}.{name}"), message));
            }
            Some(_) => {}
            None => drop(merged.insert(name.to_string(), value.clone())),
        }
    }
    Ok((NEW, merged))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A value that may stand at the root, in the section, or in both if they agree.
fn agreed<T: PartialEq + std::fmt::Display>(
    fields: &Fields<'_>,
    name: &str,
    outer: Option<T>,
    inner: Option<T>,
) -> Result<Option<T>, CheckpointError> {
    match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => {
            let message = format!("is {inner}, and outside it is {outer}: remove one of the two");
            Err(fields.wrong(name, message))
        }
        (outer, inner) => Ok(inner.or(outer)),
    }
}
