//! The arguments of a `StackedLinear`, in code and as JSON, with the checks of names and sizes.

use std::collections::BTreeMap;

use gabion_tensor::DType;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::ConfigErrors;
use crate::fields::Fields;
use crate::linear::{Linear, rounded_clip};

use super::device::Device;
use super::problem::{DTYPES, StackErrors, StackProblem};

/// One setting for all projections, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerProjection<T> {
    /// The same for all.
    All(T),
    /// In the order of the names.
    Each(Vec<T>),
}

impl<T: Clone> PerProjection<T> {
    /// The setting of projection `index`; `None` beyond the end of a list.
    pub fn get(&self, index: usize) -> Option<T> {
        match self {
            PerProjection::All(one) => Some(one.clone()),
            PerProjection::Each(each) => each.get(index).cloned(),
        }
    }

    fn len(&self) -> Option<usize> {
        match self {
            PerProjection::All(_) => None,
            PerProjection::Each(each) => Some(each.len()),
        }
    }
}

/// The arguments of a [`StackedLinear`](super::StackedLinear).
///
/// As JSON each is a field of the same name; `dtype`, `device`, `stacked`, `has_bias`,
/// `clip_weight` and `attribute` may be absent, and `dtype`, `has_bias` and `clip_weight` may be
/// lists with one entry for each projection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StackedLinearConfig {
    /// K: the size of `x`'s last axis.
    pub in_dim: usize,
    /// The rows of each projection.
    pub out_dims: Vec<usize>,
    /// The attribute of each projection (`q_proj`), a segment of its tensors' names.
    pub names: Vec<String>,
    /// How the weights are stored: f32, f16, bf16, f64 or a block format.
    pub dtype: PerProjection<DType>,
    /// Where the layer is meant to live.
    pub device: Device,
    /// True: the checkpoint holds one weight `[ΣN, K]` (and one bias `[ΣN]`) for all projections.
    /// False: it holds a weight and a bias for each.
    pub stacked: bool,
    /// Whether there are biases.
    pub has_bias: PerProjection<bool>,
    /// The stored weight is clamped to `-clip..=clip` before it is decoded (of a block format, the
    /// decoded values are); see [`Linear::clip_weight`]. Zero and null are no clip.
    pub clip_weight: PerProjection<Option<f64>>,
    /// The layer's own attribute in its parent: a segment of the tensors' names in stacked mode,
    /// left out of them otherwise.
    pub attribute: String,
}

const FIELDS: [&str; 9] = [
    "in_dim",
    "out_dims",
    "names",
    "dtype",
    "device",
    "stacked",
    "has_bias",
    "clip_weight",
    "attribute",
];
/// Fields of quantised stacks: read, so that what they ask for can be answered.
const FORMAT_FIELDS: [&str; 2] = ["format", "block_size"];
const SIZE: &str = "a positive integer";

impl StackedLinearConfig {
    /// An unfused f32 stack under `qkv_proj`, without bias and clip.
    pub fn new<S: Into<String>>(
        in_dim: usize,
        projections: impl IntoIterator<Item = (S, usize)>,
    ) -> Self {
        let (names, out_dims) = projections
            .into_iter()
            .map(|(name, rows)| (name.into(), rows))
            .unzip();
        Self {
            in_dim,
            out_dims,
            names,
            dtype: PerProjection::All(DType::F32),
            device: Device::Cpu,
            stacked: false,
            has_bias: PerProjection::All(false),
            clip_weight: PerProjection::All(None),
            attribute: "qkv_proj".to_owned(),
        }
    }

    /// The arguments as JSON holds them. `file` names the source in messages.
    ///
    /// # Errors
    /// Every field that is missing, of the wrong kind, unknown, or asks for a number format that
    /// stacks do not know yet. Names and sizes are checked by [`StackedLinearConfig::check`].
    pub fn from_json(value: &Value, file: &str) -> Result<Self, ConfigErrors> {
        let mut fields = Fields::new(value, "");
        let config = Self {
            in_dim: read_in_dim(&mut fields),
            out_dims: read_list(
                &mut fields,
                "out_dims",
                "a list of positive integers",
                as_count,
            ),
            names: read_list(&mut fields, "names", "a list of strings", |name| {
                name.as_str().map(str::to_owned)
            }),
            dtype: read_dtype(&mut fields),
            device: read_device(&mut fields),
            has_bias: per_projection(
                &mut fields,
                "has_bias",
                "true, false or a list of them",
                false,
                Value::as_bool,
            ),
            clip_weight: per_projection(
                &mut fields,
                "clip_weight",
                "a number, null or a list of them",
                None,
                number_or_null,
            ),
            stacked: fields.flag("stacked", false),
            attribute: fields
                .word("attribute")
                .unwrap_or_else(|| "qkv_proj".to_owned()),
        };
        let known: Vec<&str> = FIELDS.iter().chain(&FORMAT_FIELDS).copied().collect();
        fields.refuse_others(&known);
        fields.finish(file, config)
    }

    /// ΣN.
    pub fn total_rows(&self) -> usize {
        self.out_dims
            .iter()
            .fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// Checks names and sizes.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn check(&self) -> Result<(), StackErrors> {
        let mut problems = Vec::new();
        self.check_names(&mut problems);
        self.check_sizes(&mut problems);
        self.check_settings(&mut problems);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(StackErrors {
                attribute: self.attribute.clone(),
                problems,
            })
        }
    }

    fn check_names(&self, problems: &mut Vec<StackProblem>) {
        check_name("attribute", &self.attribute, problems);
        if self.names.is_empty() {
            problems.push(StackProblem::Empty);
        }
        let mut first = BTreeMap::new();
        for (index, name) in self.names.iter().enumerate() {
            check_name(&format!("names[{index}]"), name, problems);
            if let Some(earlier) = first.get(name.as_str()) {
                problems.push(StackProblem::Duplicate {
                    name: name.clone(),
                    first: *earlier,
                    second: index,
                });
            } else {
                first.insert(name.as_str(), index);
            }
        }
        let lists = [
            ("out_dims", Some(self.out_dims.len())),
            ("dtype", self.dtype.len()),
            ("has_bias", self.has_bias.len()),
            ("clip_weight", self.clip_weight.len()),
        ];
        for (list, len) in lists {
            if let Some(found) = len.filter(|&n| n != self.names.len()) {
                problems.push(StackProblem::Length {
                    list,
                    expected: self.names.len(),
                    found,
                });
            }
        }
    }

    fn check_sizes(&self, problems: &mut Vec<StackProblem>) {
        if self.in_dim == 0 {
            problems.push(StackProblem::Zero {
                what: "in_dim".to_owned(),
            });
        }
        for (index, _) in self.out_dims.iter().enumerate().filter(|(_, n)| **n == 0) {
            problems.push(StackProblem::Zero {
                what: format!("out_dims[{index}]"),
            });
        }
        let rows = self
            .out_dims
            .iter()
            .try_fold(0usize, |sum, &n| sum.checked_add(n));
        // 8 bytes is the widest dtype; byte counts then fit a signed 64-bit dimension.
        let bytes = rows
            .and_then(|n| n.checked_mul(self.in_dim))
            .and_then(|n| n.checked_mul(8));
        if bytes.is_none_or(|n| i64::try_from(n).is_err()) {
            problems.push(StackProblem::Overflow {
                in_dim: self.in_dim,
                out_dims: self.out_dims.clone(),
            });
        }
    }

    fn check_settings(&self, problems: &mut Vec<StackProblem>) {
        let n = self.names.len();
        for (index, dtype) in self.dtypes().enumerate().take(n.max(1)) {
            let what = setting("dtype", self.dtype.len(), index);
            if !(dtype.is_float() || dtype.is_block()) {
                problems.push(StackProblem::DType { what, found: dtype });
            } else if dtype.is_block() && !self.in_dim.is_multiple_of(dtype.block_elems()) {
                let (in_dim, block) = (self.in_dim, dtype.block_elems());
                problems.push(StackProblem::Block {
                    what,
                    dtype,
                    in_dim,
                    block,
                });
            }
            if self.dtype.len().is_none() {
                break;
            }
        }
        self.check_clips(problems);
        if self.stacked {
            if differs(&self.dtype) {
                problems.push(StackProblem::OneTensor { field: "dtype" });
            }
            if differs(&self.has_bias) {
                problems.push(StackProblem::OneTensor { field: "has_bias" });
            }
        }
    }

    fn check_clips(&self, problems: &mut Vec<StackProblem>) {
        let clips: &[Option<f64>] = match &self.clip_weight {
            PerProjection::All(clip) => std::slice::from_ref(clip),
            PerProjection::Each(clips) => clips,
        };
        for (index, clip) in clips.iter().enumerate() {
            let what = || setting("clip_weight", self.clip_weight.len(), index);
            if let Some(found) = clip.filter(|c| c.is_nan() || c.is_sign_negative() && *c != 0.0) {
                problems.push(StackProblem::Clip {
                    what: what(),
                    found: found.to_string(),
                });
            }
        }
        for (index, dtype) in self.dtypes().take(self.names.len()).enumerate() {
            let clip = self.clip_weight.get(index).flatten().filter(|c| *c > 0.0);
            if let Some(clip) = clip.filter(|c| rounded_clip(*c, dtype) == 0.0) {
                let problem = StackProblem::TinyClip {
                    what: setting("clip_weight", self.clip_weight.len(), index),
                    found: format!("{clip:e}"),
                    dtype,
                };
                // One clip for all is one problem.
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
    }

    fn dtypes(&self) -> impl Iterator<Item = DType> + '_ {
        (0..).map_while(|i| self.dtype.get(i))
    }

    /// Projection `index` of a checked configuration as a plain [`Linear`].
    pub(crate) fn linear(&self, index: usize) -> Linear {
        Linear::new(&self.names[index], self.in_dim, self.out_dims[index])
            .stored_as(self.dtype.get(index).unwrap_or(DType::F32))
            .with_bias(self.has_bias.get(index).unwrap_or(false))
            .clipped(self.clip_weight.get(index).flatten())
    }
}

impl<'de> Deserialize<'de> for StackedLinearConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value, "stack").map_err(serde::de::Error::custom)
    }
}

fn setting(field: &str, len: Option<usize>, index: usize) -> String {
    if len.is_some() {
        format!("{field}[{index}]")
    } else {
        field.to_owned()
    }
}

fn differs<T: PartialEq>(setting: &PerProjection<T>) -> bool {
    match setting {
        PerProjection::All(_) => false,
        PerProjection::Each(each) => each.windows(2).any(|w| w[0] != w[1]),
    }
}

fn check_name(what: &str, name: &str, problems: &mut Vec<StackProblem>) {
    if name.is_empty() {
        problems.push(StackProblem::EmptyName {
            what: what.to_owned(),
        });
    } else if name.contains('.') {
        problems.push(StackProblem::Dotted {
            what: what.to_owned(),
            name: name.to_owned(),
        });
    }
}

/// A count; zero is refused later, together with what else is wrong with the sizes.
fn as_count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}

fn number_or_null(value: &Value) -> Option<Option<f64>> {
    if value.is_null() {
        return Some(None);
    }
    value.as_f64().map(Some)
}

/// 1 after a problem.
fn read_in_dim(fields: &mut Fields<'_>) -> usize {
    const FIELD: &str = "in_dim";
    let Some(value) = fields.required(FIELD, SIZE) else {
        return 1;
    };
    as_count(&value).unwrap_or_else(|| {
        fields.invalid(FIELD, SIZE, &value);
        1
    })
}

fn read_device(fields: &mut Fields<'_>) -> Device {
    match fields.word("device").map(|word| word.parse::<Device>()) {
        Some(Ok(device)) => device,
        Some(Err(error)) => {
            let found = Value::String(error.0);
            fields.invalid("device", "cpu, cuda or cuda:N", &found);
            Device::Cpu
        }
        None => Device::Cpu,
    }
}

/// A list that must be there; empty after a problem.
fn read_list<T>(
    fields: &mut Fields<'_>,
    field: &str,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Vec<T> {
    let Some(value) = fields.required(field, expected) else {
        return Vec::new();
    };
    let list = value
        .as_array()
        .and_then(|list| list.iter().map(read).collect());
    list.unwrap_or_else(|| {
        fields.invalid(field, expected, &value);
        Vec::new()
    })
}

fn per_projection<T: Clone>(
    fields: &mut Fields<'_>,
    field: &str,
    expected: &str,
    default: T,
    read: impl Fn(&Value) -> Option<T>,
) -> PerProjection<T> {
    let Some(value) = fields.get(field) else {
        return PerProjection::All(default);
    };
    let made = match &value {
        Value::Array(each) => each
            .iter()
            .map(&read)
            .collect::<Option<_>>()
            .map(PerProjection::Each),
        one => read(one).map(PerProjection::All),
    };
    made.unwrap_or_else(|| {
        fields.invalid(field, expected, &value);
        PerProjection::All(default)
    })
}

/// `dtype`, or `format` where that names a format that stacks can hold.
fn read_dtype(fields: &mut Fields<'_>) -> PerProjection<DType> {
    let word = |v: &Value| v.as_str().and_then(dtype_by_name);
    let dtype = per_projection(fields, "dtype", DTYPES, DType::F32, word);
    let block_size = fields.get("block_size");
    let Some(format) = fields.get("format") else {
        if let Some(size) = block_size {
            fields.unsupported(
                "block_size",
                &size,
                "a block size goes with a `format` that has one; leave it out",
            );
        }
        return dtype;
    };
    match word(&format) {
        Some(found) if fields.has("dtype") && dtype != PerProjection::All(found) => {
            let message = format!("format is {found} and dtype is another; leave one of them out");
            fields.contradiction(&["format", "dtype"], message);
            dtype
        }
        Some(found) => PerProjection::All(found),
        None => {
            let message =
                format!("stacks of this number format are not built yet; supported are {DTYPES}");
            fields.unsupported("format", &format, &message);
            dtype
        }
    }
}

/// A dtype by our name or by the one that Python libraries use.
pub(crate) fn dtype_by_name(word: &str) -> Option<DType> {
    match word {
        "float32" | "float" => Some(DType::F32),
        "float16" | "half" => Some(DType::F16),
        "bfloat16" => Some(DType::BF16),
        "float64" | "double" => Some(DType::F64),
        other => other.parse().ok(),
    }
}
