//! The rotary fields of the config that a GGUF file's keys and its tensor `rope_freqs.weight` amount to.

use serde_json::{Map, Value, json};

use super::config::Keys;
use super::names::ROPE_FACTORS;
use crate::error::{CheckpointError, TensorProblem};

/// Adds `rope_theta` and, where they say anything, `partial_rotary_factor` and `rope_scaling`.
pub(super) fn insert(
    config: &mut Map<String, Value>,
    keys: &Keys<'_>,
    head_dim: usize,
    context: usize,
    factors: Option<&[f32]>,
) -> Result<(), CheckpointError> {
    let theta = keys.positive("rope.freq_base")?.unwrap_or(10_000.0);
    config.insert("rope_theta".into(), json!(theta));
    let rotary = keys
        .metadata
        .size(&keys.key("rope.dimension_count"))?
        .unwrap_or(head_dim);
    if rotary == 0 || rotary > head_dim || rotary % 2 != 0 {
        let message =
            format!("is {rotary}, expected an even number up to the head size {head_dim}");
        return Err(keys.wrong("rope.dimension_count", message));
    }
    if rotary != head_dim {
        let factor = rotary as f64 / head_dim as f64;
        config.insert("partial_rotary_factor".into(), json!(factor));
    }
    let divided = Divided {
        rotary,
        theta,
        context,
    };
    let scaling = match (factors, scaling_of(keys)?) {
        (None, scaling) => scaling,
        (Some(factors), None) => Some(divided.scaling(keys, factors)?),
        (Some(_), Some(_)) => {
            let message = "contradicts the tensor `rope_freqs.weight`: expected one of the two";
            return Err(keys.wrong("rope.scaling.type", message));
        }
    };
    if let Some(scaling) = scaling {
        config.insert("rope_scaling".into(), scaling);
    }
    Ok(())
}

/// The scaling that the keys describe.
fn scaling_of(keys: &Keys<'_>) -> Result<Option<Value>, CheckpointError> {
    let scaling = keys.metadata.string(&keys.key("rope.scaling.type"))?;
    let factor = match factor(keys, "rope.scaling.factor")? {
        Some(factor) => Some(factor),
        // Files of 2023 say the linear factor under another name and have no type.
        None => factor(keys, "rope.scale_linear")?,
    };
    if scaling != Some("yarn")
        && let Some(magnitude) = keys.positive("rope.scaling.attn_factor")?
        && magnitude != 1.0
    {
        let message = format!("is {magnitude}, which is known with the scaling yarn only");
        return Err(keys.wrong("rope.scaling.attn_factor", message));
    }
    match (scaling, factor) {
        (Some("none"), _) | (None, None) => Ok(None),
        (None | Some("linear"), Some(1.0)) => Ok(None),
        (None | Some("linear"), Some(factor)) => {
            Ok(Some(json!({"rope_type": "linear", "factor": factor})))
        }
        (Some("yarn"), Some(factor)) => yarn(keys, factor).map(Some),
        // Absent or 0, which is an error here.
        (Some("linear" | "yarn"), None) => {
            let key = keys.key("rope.scaling.factor");
            keys.metadata.need_positive(&key).map(|_| None)
        }
        (Some(other), _) => Err(keys.wrong(
            "rope.scaling.type",
            format!("is `{other}`, expected none, linear or yarn"),
        )),
    }
}

/// A factor; some writers say 0 where there is none.
fn factor(keys: &Keys<'_>, rest: &str) -> Result<Option<f64>, CheckpointError> {
    match keys.metadata.number(&keys.key(rest))? {
        Some(0.0) => Ok(None),
        _ => keys.positive(rest),
    }
}

/// What YaRN multiplies cos and sin by where nothing else is said (Peng et al., arXiv:2309.00071).
pub(crate) fn yarn_attention(factor: f64) -> f64 {
    if factor <= 1.0 {
        return 1.0;
    }
    0.1 * factor.ln() + 1.0
}

/// The keys of YaRN. Two of them say how cos and sin grow: `yarn_attn_factor` all of it, as in `config.json`, and
/// `attn_factor` what comes on top of YaRN's own rule.
fn yarn(keys: &Keys<'_>, factor: f64) -> Result<Value, CheckpointError> {
    let original = keys.size("rope.scaling.original_context_length")?;
    let mut yarn = json!({
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
    });
    let on_top = keys.positive("rope.scaling.attn_factor")?;
    let by_rule = on_top.map(|on_top| on_top * yarn_attention(factor));
    let whole = keys.positive("rope.scaling.yarn_attn_factor")?;
    if let (Some(by_rule), Some(whole)) = (by_rule, whole)
        && (by_rule - whole).abs() > 1e-5 * whole
    {
        let message = format!(
            "is {whole}, and `{}` makes it {by_rule}: expected the same",
            keys.key("rope.scaling.attn_factor")
        );
        return Err(keys.wrong("rope.scaling.yarn_attn_factor", message));
    }
    let fields = [
        ("attention_factor", whole.or(by_rule)),
        ("beta_fast", keys.positive("rope.scaling.yarn_beta_fast")?),
        ("beta_slow", keys.positive("rope.scaling.yarn_beta_slow")?),
    ];
    for (field, value) in fields {
        if let Some(value) = value {
            yarn[field] = json!(value);
        }
    }
    // Keys of other architectures' YaRN: what they mean here is not said anywhere.
    for (rest, neutral) in [
        ("rope.scaling.yarn_ext_factor", 1.0),
        ("rope.scaling.yarn_log_multiplier", 0.0),
    ] {
        let value = keys.metadata.number(&keys.key(rest))?;
        if let Some(value) = value.filter(|value| *value != neutral) {
            let message = format!("is {value}, expected {neutral}: no other value is read");
            return Err(keys.wrong(rest, message));
        }
    }
    Ok(yarn)
}

/// What the divisors of the rotary frequencies depend on.
struct Divided {
    rotary: usize,
    theta: f64,
    context: usize,
}

impl Divided {
    /// The scaling that a list of divisors is: Llama 3's where its rule gives them, else the list itself.
    fn scaling(&self, keys: &Keys<'_>, factors: &[f32]) -> Result<Value, CheckpointError> {
        if factors.len() != self.rotary / 2 {
            let message = format!(
                "gives {} rotary pairs, and the tensor `{ROPE_FACTORS}` has {} values",
                self.rotary / 2,
                factors.len()
            );
            return Err(keys.wrong("rope.dimension_count", message));
        }
        let positive = |it: &f32| it.is_finite() && *it > 0.0;
        if let Some(wrong) = factors.iter().find(|it| !positive(it)) {
            let problem =
                TensorProblem::Tensor(format!("holds {wrong}, expected finite values above 0"));
            let path = keys.metadata.path();
            return Err(CheckpointError::tensor(path, ROPE_FACTORS, problem));
        }
        // The parameters of all Llama 3.1 to 3.3 checkpoints but for the factor; other files say their original context.
        let (low, high) = (1.0, 4.0);
        let original = keys
            .metadata
            .size(&keys.key("rope.scaling.original_context_length"))?
            .unwrap_or(8192);
        if let Some(factor) = self.llama3_factor(factors, low, high, original as f64) {
            return Ok(json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }));
        }
        Ok(json!({
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "attention_factor": 1.0,
            "original_max_position_embeddings": self.context,
        }))
    }

    /// The factor by which Llama 3's rule gives these divisors: to the bit, or a whole number within what other writers
    /// lose to rounding.
    fn llama3_factor(&self, factors: &[f32], low: f64, high: f64, original: f64) -> Option<f64> {
        let ramps = llama3_ramps(self.rotary, self.theta, low, high, original);
        let (&divisor, &ramp) = (factors.last()?, ramps.last()?);
        // The longest wave is divided by the factor itself, or by what the ramp leaves of it.
        let (estimate, lost) = match ramp {
            0.0 => (f64::from(divisor), 1e-6),
            _ => ((1.0 - ramp) / (1.0 / f64::from(divisor) - ramp), 1e-4),
        };
        let fits = |factor: f64, same: fn(f64, f64) -> bool| {
            let by_rule =
                llama3_factors(self.rotary, self.theta, factor, low, high, original).into_iter();
            let mut pairs = factors.iter().zip(by_rule);
            factor > 1.0 && pairs.all(|(&found, expected)| same(found.into(), expected))
        };
        let whole = estimate.round();
        // An f32 as the shortest decimal that means it.
        let exact: f64 = (estimate as f32).to_string().parse().ok()?;
        let near = match (estimate - whole).abs() <= lost * whole {
            true => whole,
            false => exact,
        };
        let to_the_bit = |found, expected| found == f64::from(expected as f32);
        let about = |found: f64, expected: f64| (found - expected).abs() <= 1e-4 * expected;
        let exactly = [whole, exact].into_iter().find(|it| fits(*it, to_the_bit));
        exactly.or_else(|| fits(near, about).then_some(near))
    }
}

/// The divisors by Llama 3's rule: long waves are divided by `factor`, short ones not at all, with a ramp between.
pub(crate) fn llama3_factors(
    rotary: usize,
    theta: f64,
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
) -> Vec<f64> {
    let ramps = llama3_ramps(rotary, theta, low, high, original);
    ramps
        .into_iter()
        .map(|ramp| 1.0 / ((1.0 - ramp) / factor + ramp))
        .collect()
}

/// Where each pair stands between the long waves (0) and the short ones (1).
fn llama3_ramps(rotary: usize, theta: f64, low: f64, high: f64, original: f64) -> Vec<f64> {
    (0..rotary / 2)
        .map(|pair| {
            let wavelength =
                2.0 * std::f64::consts::PI * theta.powf(2.0 * pair as f64 / rotary as f64);
            ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::config::gguf_config;
    use super::super::config::tests::file;
    use super::super::value::GgufValue;
    use super::*;

    #[test]
    fn scaling_keys_become_rope_scaling() {
        let scaled = file(&[
            ("llama.rope.scaling.type", GgufValue::String("yarn".into())),
            ("llama.rope.scaling.factor", GgufValue::F32(4.0)),
            (
                "llama.rope.scaling.original_context_length",
                GgufValue::U32(32),
            ),
            ("llama.rope.dimension_count", GgufValue::U32(8)),
        ]);
        let config = gguf_config(&scaled, None).unwrap();
        assert_eq!(
            config["rope_scaling"],
            json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32})
        );
        assert_eq!(config["partial_rotary_factor"], json!(0.5));
        let old = file(&[("llama.rope.scale_linear", GgufValue::F32(2.0))]);
        let config = gguf_config(&old, None).unwrap();
        assert_eq!(
            config["rope_scaling"],
            json!({"rope_type": "linear", "factor": 2.0})
        );
    }

    #[test]
    fn frequency_divisors_are_recognised_as_llama3_or_kept() {
        let base = file(&[("llama.rope.freq_base", GgufValue::F32(500_000.0))]);
        let by_rule: Vec<f32> = llama3_factors(16, 500_000.0, 8.0, 1.0, 4.0, 8192.0)
            .iter()
            .map(|&it| it as f32)
            .collect();
        assert!(
            by_rule.iter().any(|&it| it > 1.0 && it < 8.0),
            "the ramp is reached: {by_rule:?}"
        );
        let config = gguf_config(&base, Some(&by_rule)).unwrap();
        assert_eq!(config["rope_scaling"]["rope_type"], "llama3");
        assert_eq!(config["rope_scaling"]["factor"], 8.0);
        let other = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let config = gguf_config(&base, Some(&other)).unwrap();
        assert_eq!(config["rope_scaling"]["rope_type"], "longrope");
        assert_eq!(config["rope_scaling"]["long_factor"], json!(other));
        let error = gguf_config(&base, Some(&other[1..]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("has 7 values"), "{error}");
    }
}
