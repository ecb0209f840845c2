//! Rotary frequencies as `config.json` describes them: which rule (`rope_type`), its numbers, and
//! the inverse frequencies that follow, in f32 as transformers computes them. The rotation itself
//! is in [`super`].

use serde_json::Value;

use crate::error::ConfigProblem;
use crate::fields::Fields;

/// How the frequencies follow from the base.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// `1 / theta^(2i/d)` (Su et al., arXiv:2104.09864).
    Default,
    /// All frequencies divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// The base grows with the sequence beyond `max_positions`; up to there, which is the context
    /// length here, the frequencies are those of `Default`.
    Dynamic {
        /// The factor.
        factor: f64,
        /// `max_position_embeddings`.
        max_positions: usize,
    },
    /// Low frequencies divided, high ones kept, a blend between (Llama 3.1).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// The context length before scaling.
        original: usize,
    },
    /// Blended by the number of rotations in the original context (Peng et al., arXiv:2309.00071).
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// What cos and sin are multiplied by; `None` follows from factor and the two scales.
        attention_factor: Option<f64>,
        /// Numerator and denominator of the attention factor, if both are set.
        mscale: Option<(f64, f64)>,
        /// Rotations above which a dimension keeps its frequency.
        beta_fast: f64,
        /// Rotations below which a dimension is divided.
        beta_slow: f64,
        /// Whether the range of the blend is widened to whole dimensions.
        truncate: bool,
        /// The context length before scaling.
        original: usize,
    },
    /// A divisor for each frequency, one list for sequences up to the original context, one beyond
    /// (Ding et al., arXiv:2402.13753).
    LongRope {
        /// Divisors up to `original` positions.
        short: Vec<f64>,
        /// Divisors beyond.
        long: Vec<f64>,
        /// What cos and sin are multiplied by; `None` follows from factor and `original`.
        attention_factor: Option<f64>,
        /// Context length after scaling over that before.
        factor: f64,
        /// The context length before scaling.
        original: usize,
    },
}

/// Rotary embedding of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// The base of the frequencies (`rope_theta`).
    pub theta: f64,
    /// The leading part of each head that is rotated: even, at most the head's size.
    pub rotary_dim: usize,
    /// How the frequencies follow from the base.
    pub scaling: RopeScaling,
}

/// Inverse frequencies, `rotary_dim / 2` of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies {
    /// Radians per position.
    pub inv_freq: Vec<f32>,
    /// Beyond this many positions, these frequencies hold for the whole sequence.
    pub long: Option<(usize, Vec<f32>)>,
    /// What cos and sin are multiplied by.
    pub attention_factor: f32,
}

impl RopeConfig {
    /// The frequencies, each step in f32 in transformers' order.
    pub fn frequencies(&self) -> Frequencies {
        let (attention_factor, long) = (1.0, None);
        let inv_freq = match &self.scaling {
            RopeScaling::Default => self.base_frequencies(self.theta),
            RopeScaling::Linear { factor } => self
                .base_frequencies(self.theta)
                .iter()
                .map(|f| f / *factor as f32)
                .collect(),
            RopeScaling::Dynamic {
                factor,
                max_positions,
            } => {
                let (d, max) = (self.rotary_dim as f64, *max_positions as f64);
                let growth = (factor * max / max) - (factor - 1.0);
                self.base_frequencies(self.theta * libm::pow(growth, d / (d - 2.0)))
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original,
            } => {
                let original = *original as f64;
                self.llama3(*factor, *low_freq_factor, *high_freq_factor, original)
            }
            RopeScaling::Yarn { .. } => return self.yarn(),
            RopeScaling::LongRope { .. } => return self.longrope(),
        };
        Frequencies {
            inv_freq,
            long,
            attention_factor,
        }
    }

    /// `theta^(2i/d)`: the exponent is rounded to f32, the power once more.
    fn powers(&self, theta: f64) -> impl Iterator<Item = f32> {
        let d = self.rotary_dim as f32;
        (0..self.rotary_dim / 2).map(move |i| {
            let exponent = (2 * i) as f32 / d;
            libm::pow(f64::from(theta as f32), f64::from(exponent)) as f32
        })
    }

    fn base_frequencies(&self, theta: f64) -> Vec<f32> {
        self.powers(theta).map(|p| 1.0 / p).collect()
    }

    fn llama3(&self, factor: f64, low: f64, high: f64, original: f64) -> Vec<f32> {
        let (factor, low32) = (factor as f32, low as f32);
        let (low_wavelength, high_wavelength) = ((original / low) as f32, (original / high) as f32);
        let scaled = |f: f32| {
            let wavelength = (1.0 / f) * (2.0 * std::f64::consts::PI) as f32;
            if wavelength > low_wavelength {
                f / factor
            } else if wavelength < high_wavelength {
                f
            } else {
                let smooth = ((1.0 / wavelength) * original as f32 - low32) / (high - low) as f32;
                (1.0 - smooth) * f / factor + smooth * f
            }
        };
        self.base_frequencies(self.theta)
            .into_iter()
            .map(scaled)
            .collect()
    }

    fn yarn(&self) -> Frequencies {
        let RopeScaling::Yarn {
            factor,
            attention_factor,
            mscale,
            beta_fast,
            beta_slow,
            truncate,
            original,
        } = &self.scaling
        else {
            return self.plain();
        };
        let d = self.rotary_dim as f64;
        let dimension = |rotations: f64| {
            d * libm::log(*original as f64 / (rotations * 2.0 * std::f64::consts::PI))
                / (2.0 * libm::log(self.theta))
        };
        let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
        if *truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(d - 1.0));
        if low == high {
            high += 0.001;
        }
        let blend = |(i, power): (usize, f32)| {
            let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let keep = 1.0 - ramp;
            let (kept, divided) = (1.0 / power, 1.0 / (*factor as f32 * power));
            divided * (1.0 - keep) + kept * keep
        };
        let inv_freq = self.powers(self.theta).enumerate().map(blend).collect();
        let scale = |by: f64| {
            if *factor <= 1.0 {
                1.0
            } else {
                0.1 * by * libm::log(*factor) + 1.0
            }
        };
        let implied = mscale.map_or(scale(1.0), |(numerator, denominator)| {
            scale(numerator) / scale(denominator)
        });
        Frequencies {
            inv_freq,
            long: None,
            attention_factor: attention_factor.unwrap_or(implied) as f32,
        }
    }

    fn longrope(&self) -> Frequencies {
        let RopeScaling::LongRope {
            short,
            long,
            attention_factor,
            factor,
            original,
        } = &self.scaling
        else {
            return self.plain();
        };
        let divided = |by: &[f64]| -> Vec<f32> {
            self.powers(self.theta)
                .zip(by)
                .map(|(power, by)| 1.0 / (*by as f32 * power))
                .collect()
        };
        let implied = if *factor <= 1.0 {
            1.0
        } else {
            libm::sqrt(1.0 + libm::log(*factor) / libm::log(*original as f64))
        };
        Frequencies {
            inv_freq: divided(short),
            long: Some((*original, divided(long))),
            attention_factor: attention_factor.unwrap_or(implied) as f32,
        }
    }

    fn plain(&self) -> Frequencies {
        Frequencies {
            inv_freq: self.base_frequencies(self.theta),
            long: None,
            attention_factor: 1.0,
        }
    }
}

/// What the rotary fields of a configuration depend on beside themselves.
pub(crate) struct RopeContext {
    pub(crate) head_dim: usize,
    pub(crate) max_positions: usize,
    /// Phi-3's older files call its one rule `su` or `yarn`.
    pub(crate) longrope_aliases: &'static [&'static str],
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
    let partial = agreed(root, &mut rope, "partial_rotary_factor").unwrap_or(1.0);
    let rotary_dim = rotary_dim(root, context, partial);
    let original = original_positions(root, &mut rope).unwrap_or(context.max_positions);
    let scaling = read_scaling(&mut rope, context, rotary_dim, original);
    root.problems.append(&mut rope.problems);
    RopeConfig {
        theta,
        rotary_dim,
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

fn rotary_dim(root: &mut Fields<'_>, context: &RopeContext, partial: f64) -> usize {
    // Rounded towards zero, as Python's `int` does.
    let dim = (context.head_dim as f64 * partial) as usize;
    if partial > 1.0 {
        let message = format!(
            "the factor is {partial}; at most the whole head of {} can be rotated",
            context.head_dim
        );
        root.contradiction(&["partial_rotary_factor", "head_dim"], message);
    } else if dim == 0 || !dim.is_multiple_of(2) {
        let message = format!(
            "head_dim {} x {partial} rotates {dim} values of each head; they rotate in pairs, so it must be even and not 0",
            context.head_dim
        );
        root.contradiction(&["partial_rotary_factor", "head_dim"], message);
    }
    dim
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
    rotary_dim: usize,
    original: usize,
) -> RopeScaling {
    let (new, old) = (rope.word("rope_type"), rope.word("type"));
    if let (Some(a), Some(b)) = (&new, &old)
        && a != b
    {
        rope.contradiction(
            &["rope_type", "type"],
            format!("the first is {a}, the second {b}"),
        );
    }
    let word = new.or(old).unwrap_or_else(|| "default".to_owned());
    let ratio = context.max_positions as f64 / original as f64;
    match word.as_str() {
        alias if context.longrope_aliases.contains(&alias) => {
            read_longrope(rope, rotary_dim, ratio, original)
        }
        "default" => RopeScaling::Default,
        "linear" => RopeScaling::Linear {
            factor: rope.required_positive("factor"),
        },
        "dynamic" => {
            let factor = rope.required_positive("factor");
            if rotary_dim <= 2 {
                rope.contradiction(
                    &["rope_type", "partial_rotary_factor"],
                    "`dynamic` needs more than one frequency".to_owned(),
                );
            }
            RopeScaling::Dynamic {
                factor,
                max_positions: context.max_positions,
            }
        }
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
    rotary_dim: usize,
    ratio: f64,
    original: usize,
) -> RopeScaling {
    let (short, long) = (
        rope.required_positives("short_factor"),
        rope.required_positives("long_factor"),
    );
    for (field, list) in [("short_factor", &short), ("long_factor", &long)] {
        if !list.is_empty() && list.len() != rotary_dim / 2 {
            let message = format!(
                "{} factors for {} frequencies: one for each pair that rotates",
                list.len(),
                rotary_dim / 2
            );
            rope.contradiction(&[field], message);
        }
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
