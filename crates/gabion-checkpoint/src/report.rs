//! Comparing what a model expects with what a checkpoint holds: everything that is wrong, at once, before anything is loaded.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use gabion_tensor::DType;
use indexmap::IndexMap;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, TensorInfo};
use crate::fused::{self, Param};
use crate::nearest::nearest;
use crate::stored::StoredType;

/// A tensor that a model expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The full name.
    pub name: String,
    /// The dtypes that will do; none for any that can be decoded.
    pub dtypes: Vec<DType>,
    /// The shape, row-major.
    pub shape: Vec<usize>,
}

/// A tensor that is not in the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What was expected.
    pub expected: Expected,
    /// Up to three names that are in the checkpoint and that nothing expects; given for the first few only.
    pub nearest: Vec<String>,
}

/// A tensor that the model does not expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// The name.
    pub name: String,
    /// The element type in the file.
    pub stored: StoredType,
    /// The shape.
    pub shape: Vec<usize>,
}

/// A tensor of another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// The name.
    pub name: String,
    /// The shape that the model expects.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
    /// The file.
    pub path: PathBuf,
}

/// A tensor of another dtype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistyped {
    /// The name.
    pub name: String,
    /// The dtypes that would do; none where the stored type cannot be decoded at all.
    pub expected: Vec<DType>,
    /// The element type in the file.
    pub found: StoredType,
    /// The file.
    pub path: PathBuf,
}

/// Everything in which a checkpoint does not fit a model. Nothing has been loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Error)]
pub struct LoadReport {
    /// What was opened.
    pub path: PathBuf,
    /// Expected and not there, in the model's order.
    pub missing: Vec<Missing>,
    /// There and not expected, in file order.
    pub unexpected: Vec<Unexpected>,
    /// Of another shape, in the model's order.
    pub misshapen: Vec<Misshapen>,
    /// Of another dtype, in the model's order.
    pub mistyped: Vec<Mistyped>,
    /// What may have gone wrong, and the way out.
    pub hints: Vec<String>,
}

/// A predicate that tells by its name that an extra tensor is harmless.
pub type Ignorable<'a> = &'a dyn Fn(&str) -> bool;

/// Buffers that old checkpoints carry and no model reads: rotary frequencies, position ids, causal masks.
pub fn is_stale_buffer(name: &str) -> bool {
    let ends = |suffix: &str| {
        name.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    [
        "rotary_emb.inv_freq",
        "position_ids",
        "masked_bias",
        "attn.bias",
        "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",
    ]
    .iter()
    .any(|suffix| ends(suffix))
}

/// How many missing names get their nearest names looked up, and how many lines of each group are shown.
const SHOWN: usize = 12;

impl Checkpoint {
    /// Compares the checkpoint with what a model expects. `ignorable` says which extra tensors do not matter
    /// ([`is_stale_buffer`], the head of a model whose head is tied).
    ///
    /// # Errors
    /// The report, if there is anything in it but hints.
    pub fn check(
        &self,
        expected: &[Expected],
        ignorable: &[Ignorable<'_>],
    ) -> Result<(), Box<LoadReport>> {
        let mut report = LoadReport {
            path: self.path().to_path_buf(),
            ..LoadReport::default()
        };
        let wanted: BTreeSet<&str> = expected.iter().map(|it| it.name.as_str()).collect();
        report.unexpected = self
            .tensors()
            .values()
            .filter(|info| !wanted.contains(info.name.as_str()))
            .filter(|info| !ignorable.iter().any(|ignore| ignore(&info.name)))
            .map(|info| Unexpected {
                name: info.name.clone(),
                stored: info.stored,
                shape: info.shape.clone(),
            })
            .collect();
        let mut missing = IndexMap::new();
        for it in expected {
            match self.info(&it.name) {
                None => {
                    missing.entry(it.name.as_str()).or_insert(it);
                }
                Some(info) => self.compare(it, info, &mut report),
            }
        }
        report.missing = missing
            .into_values()
            .enumerate()
            .map(|(index, it)| Missing {
                expected: it.clone(),
                nearest: match index {
                    0..SHOWN => nearest(
                        &it.name,
                        report.unexpected.iter().map(|extra| extra.name.as_str()),
                    ),
                    _ => Vec::new(),
                },
            })
            .collect();
        if report.is_empty() {
            return Ok(());
        }
        report.hints = self.hints(&report);
        Err(Box::new(report))
    }

    fn compare(&self, expected: &Expected, info: &TensorInfo, report: &mut LoadReport) {
        if info.shape != expected.shape {
            report.misshapen.push(Misshapen {
                name: expected.name.clone(),
                expected: expected.shape.clone(),
                found: info.shape.clone(),
                path: self.path_of(info).to_path_buf(),
            });
        }
        let fits = info
            .dtype()
            .is_some_and(|dtype| expected.dtypes.is_empty() || expected.dtypes.contains(&dtype));
        if !fits {
            report.mistyped.push(Mistyped {
                name: expected.name.clone(),
                expected: expected.dtypes.clone(),
                found: info.stored,
                path: self.path_of(info).to_path_buf(),
            });
        }
    }

    fn hints(&self, report: &LoadReport) -> Vec<String> {
        let missing: Vec<Param<'_>> = report
            .missing
            .iter()
            .map(|it| Param {
                name: &it.expected.name,
                shape: &it.expected.shape,
            })
            .collect();
        let unexpected: Vec<Param<'_>> = report
            .unexpected
            .iter()
            .map(|it| Param {
                name: &it.name,
                shape: &it.shape,
            })
            .collect();
        let mut hints = fused::hints(&missing, &unexpected);
        hints.extend(prefix_hint(&missing, &unexpected));
        let head = missing
            .iter()
            .find(|it| it.name.ends_with("lm_head.weight"));
        if let Some(head) = head
            && let Some(embedding) = self
                .names()
                .find(|name| name.ends_with("embed_tokens.weight"))
        {
            hints.push(format!(
                "`{}` is not there and `{embedding}` is: if the head is the embedding, config.json must say `tie_word_embeddings: true`",
                head.name
            ));
        }
        hints
    }
}

/// A prefix that the file has and the model has not, or the reverse, if it explains all that is missing.
fn prefix_hint(missing: &[Param<'_>], unexpected: &[Param<'_>]) -> Option<String> {
    let first = missing.first()?;
    let all = |from: &dyn Fn(&str) -> Option<String>| {
        let there: BTreeSet<&str> = unexpected.iter().map(|it| it.name).collect();
        missing
            .iter()
            .all(|it| from(it.name).is_some_and(|name| there.contains(name.as_str())))
    };
    for extra in unexpected {
        if let Some(prefix) = extra
            .name
            .strip_suffix(first.name)
            .filter(|prefix| prefix.ends_with('.'))
            && all(&|name| Some(format!("{prefix}{name}")))
        {
            return Some(format!(
                "all missing names are there behind the prefix `{prefix}`: load from that prefix"
            ));
        }
        if let Some(prefix) = first
            .name
            .strip_suffix(extra.name)
            .filter(|prefix| prefix.ends_with('.'))
            && all(&|name| name.strip_prefix(prefix).map(str::to_string))
        {
            return Some(format!(
                "all missing names are there without the prefix `{prefix}`: build the model without it"
            ));
        }
    }
    None
}

impl LoadReport {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.misshapen.is_empty()
            && self.mistyped.is_empty()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} does not fit the model: {} missing, {} unexpected, {} of another shape, {} of another dtype; nothing was loaded",
            self.path.display(),
            self.missing.len(),
            self.unexpected.len(),
            self.misshapen.len(),
            self.mistyped.len()
        )?;
        group(f, "missing", &self.missing)?;
        group(f, "unexpected", &self.unexpected)?;
        group(f, "of another shape", &self.misshapen)?;
        group(f, "of another dtype", &self.mistyped)?;
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

fn group<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "\n  {title}:")?;
    for item in items.iter().take(SHOWN) {
        write!(f, "\n    {item}")?;
    }
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, "\n    and {more} more"),
    }
}

/// `f32`, or `f32 or bf16`; `any dtype` for none.
fn one_of(dtypes: &[DType]) -> String {
    if dtypes.is_empty() {
        return "any dtype".to_string();
    }
    let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.name()).collect();
    names.join(" or ")
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expected {
            name,
            dtypes,
            shape,
        } = &self.expected;
        write!(f, "{name} {shape:?} of {}", one_of(dtypes))?;
        match self.nearest.as_slice() {
            [] => Ok(()),
            nearest => write!(f, " (nearest: {})", nearest.join(", ")),
        }
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} of {}", self.name, self.shape, self.stored)
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Misshapen {
            name,
            expected,
            found,
            path,
        } = self;
        write!(
            f,
            "{name}: expected {expected:?}, found {found:?} in {}",
            path.display()
        )
    }
}

impl fmt::Display for Mistyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistyped {
            name,
            expected,
            found,
            path,
        } = self;
        match found.dtype() {
            Some(_) => write!(
                f,
                "{name}: expected {}, found {found} in {}",
                one_of(expected),
                path.display()
            ),
            None => write!(
                f,
                "{name}: {found} in {} cannot be decoded yet, expected one of {}",
                path.display(),
                found.supported()
            ),
        }
    }
}
