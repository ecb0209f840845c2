//! `StackedLinear`: separately stored projections of one input (q, k, v; gate, up) as one
//! projection. How its arguments are read and checked is in [`config`].
//!
//! The layer says what the stacked weight *is*, a concatenation of what the stored tensors mean,
//! each in its own format. That no executor materialises it is the compiler's work.

mod config;
mod device;
mod problem;

use std::sync::Arc;

use gabion_ir::TensorValue;
use gabion_tensor::{DType, HostTensor};

pub(crate) use config::dtype_by_name;
pub use config::{PerProjection, StackedLinearConfig};
pub use device::{Device, UnknownDevice};
pub use problem::{StackErrors, StackProblem};

use crate::linear::{Linear, Projection, clipped_f32, effective};
use crate::scope::Scope;

/// Several projections of one input as one: `y = x · Wᵀ + b`, where `W` is `[ΣN, K]`, the
/// projections' weights on top of each other.
///
/// - *Unfused* (the default): each projection has its own tensors, named as if it were a direct
///   child of the parent (`self_attn.q_proj.weight`); the stacked tensors are concat nodes.
/// - *Stacked*: the checkpoint holds one weight (and one bias) under the layer's own attribute
///   (`self_attn.qkv_proj.weight`).
///
/// A layer holds no graph values: it may be traced into any number of graphs, any number of times.
///
/// ```
/// use gabion_ir::Builder;
/// use gabion_nn::{Scope, StackedLinear, StackedLinearConfig};
///
/// let stack = StackedLinear::new(StackedLinearConfig::new(8, [("q_proj", 8), ("k_proj", 4), ("v_proj", 4)]))?;
/// let b = Builder::new("qkv");
/// let x = b.input("x", "f32[tokens, 8]".parse()?);
/// let y = stack.forward(&Scope::at(&b, "model.layers.0.self_attn"), x);
/// b.output("y", y);
/// let graph = b.finish()?;
/// assert_eq!(&*graph.weights()[1].0, "model.layers.0.self_attn.k_proj.weight");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct StackedLinear {
    config: StackedLinearConfig,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// One projection of all rows, under the layer's own attribute.
    Stacked(Arc<dyn Projection>),
    /// One for each name.
    Unfused(Vec<Arc<dyn Projection>>),
}

impl StackedLinear {
    /// A stack of plain [`Linear`]s.
    ///
    /// # Errors
    /// Every problem of the names, sizes and settings at once.
    pub fn new(config: StackedLinearConfig) -> Result<Self, StackErrors> {
        Self::with_projections(config, |linear| Arc::new(linear.clone()))
    }

    /// A stack of projections of any kind: `make` is called with what a plain [`Linear`] would be,
    /// for each name in unfused mode, once (all rows, under the attribute) in stacked mode.
    ///
    /// # Errors
    /// Every problem of the names, sizes and settings, or every projection whose row count is not
    /// the declared one.
    pub fn with_projections(
        config: StackedLinearConfig,
        mut make: impl FnMut(&Linear) -> Arc<dyn Projection>,
    ) -> Result<Self, StackErrors> {
        config.check()?;
        let source = if config.stacked {
            let mut whole = config.linear(0).clipped(None);
            whole.name.clone_from(&config.attribute);
            whole.out_dim = config.total_rows();
            Source::Stacked(make(&whole))
        } else {
            Source::Unfused(
                (0..config.names.len())
                    .map(|i| make(&config.linear(i)))
                    .collect(),
            )
        };
        let stack = Self { config, source };
        stack.check_rows()?;
        Ok(stack)
    }

    fn check_rows(&self) -> Result<(), StackErrors> {
        let declared: Vec<(&str, usize, usize)> = match &self.source {
            Source::Stacked(whole) => vec![(
                &self.config.attribute,
                self.config.total_rows(),
                whole.rows(),
            )],
            Source::Unfused(each) => {
                let sizes = self.config.out_dims.iter().zip(each);
                self.config
                    .names
                    .iter()
                    .zip(sizes)
                    .map(|(n, (d, p))| (n.as_str(), *d, p.rows()))
                    .collect()
            }
        };
        let problems: Vec<StackProblem> = declared
            .into_iter()
            .filter(|(_, expected, found)| expected != found)
            .map(|(name, expected, found)| StackProblem::Rows {
                name: name.to_owned(),
                expected,
                found,
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(StackErrors {
                attribute: self.config.attribute.clone(),
                problems,
            })
        }
    }

    /// The arguments.
    pub fn config(&self) -> &StackedLinearConfig {
        &self.config
    }

    /// ΣN: the size of the output's last axis.
    pub fn out_dim(&self) -> usize {
        self.config.total_rows()
    }

    /// The stacked weight, clipped and decoded, as f32 `[ΣN, K]`: a concat of the projections'
    /// weights in unfused mode, the checkpoint's single weight in stacked mode. `scope` is the
    /// parent's.
    #[track_caller]
    pub fn stacked_weight<'g>(&self, scope: &Scope<'g>) -> TensorValue<'g> {
        match &self.source {
            Source::Stacked(whole) => {
                let (scope, _open) = scope.enter(&self.config.attribute);
                self.clip_rows(whole.weight(&scope))
            }
            Source::Unfused(each) => {
                let scope = scope.nameless_child(&self.config.attribute);
                let _open = scope.open();
                let weights: Vec<_> = self
                    .named(each)
                    .map(|(i, name, projection)| {
                        let (scope, _open) = scope.enter(name);
                        clipped_f32(projection.weight(&scope), self.clip_of(i))
                    })
                    .collect();
                scope.builder().concat(&weights, 0)
            }
        }
    }

    /// The stacked bias as f32 `[ΣN]`; `None` if no projection has one. A projection without a
    /// bias beside ones that have it counts as zeros. `scope` is the parent's.
    #[track_caller]
    pub fn stacked_bias<'g>(&self, scope: &Scope<'g>) -> Option<TensorValue<'g>> {
        match &self.source {
            Source::Stacked(whole) => whole.bias(&scope.child(&self.config.attribute)),
            Source::Unfused(each) => {
                let scope = scope.nameless_child(&self.config.attribute);
                let _open = scope.open();
                let biases: Vec<_> = self
                    .named(each)
                    .map(|(_, name, p)| (p.rows(), p.bias(&scope.child(name))))
                    .collect();
                if biases.iter().all(|(_, bias)| bias.is_none()) {
                    return None;
                }
                let b = scope.builder();
                let zeros = |rows| match HostTensor::zeros(DType::F32, &[rows]) {
                    Ok(zeros) => b.constant(zeros),
                    Err(error) => b.poison("constant", error.to_string()),
                };
                let biases: Vec<_> = biases
                    .into_iter()
                    .map(|(rows, bias)| bias.unwrap_or_else(|| zeros(rows)))
                    .collect();
                Some(b.concat(&biases, 0))
            }
        }
    }

    /// `x · Wᵀ + b`: f32 `[.., K]` to f32 `[.., ΣN]`, any rank from 1. `scope` is the parent's.
    #[track_caller]
    pub fn forward<'g>(&self, scope: &Scope<'g>, x: TensorValue<'g>) -> TensorValue<'g> {
        let weight = self.stacked_weight(scope);
        let bias = self.stacked_bias(scope);
        let _open = scope.nameless_child(&self.config.attribute).open();
        let y = x.matmul_t(weight);
        match bias {
            Some(bias) => y + bias,
            None => y,
        }
    }

    /// [`StackedLinear::forward`], split into the projections' outputs, f32 `[.., N_i]` each, in
    /// the order of the names.
    #[track_caller]
    pub fn forward_split<'g>(&self, scope: &Scope<'g>, x: TensorValue<'g>) -> Vec<TensorValue<'g>> {
        let y = self.forward(scope, x);
        let _open = scope.nameless_child(&self.config.attribute).open();
        self.split(y, -1)
    }

    /// Splits `axis` (of size ΣN) into the projections' parts.
    #[track_caller]
    fn split<'g>(&self, stacked: TensorValue<'g>, axis: i64) -> Vec<TensorValue<'g>> {
        stacked.split(self.config.out_dims.iter().copied(), axis)
    }

    /// Clips and decodes in stacked mode: the whole where the clip is one, each projection's rows
    /// otherwise.
    fn clip_rows<'g>(&self, weight: TensorValue<'g>) -> TensorValue<'g> {
        let clips: Vec<_> = (0..self.config.names.len())
            .map(|i| self.clip_of(i))
            .collect();
        if clips.iter().all(|c| *c == clips[0]) {
            return clipped_f32(weight, clips[0]);
        }
        let parts = self.split(weight, 0);
        let parts: Vec<_> = parts
            .into_iter()
            .zip(clips)
            .map(|(part, clip)| clipped_f32(part, clip))
            .collect();
        weight.builder().concat(&parts, 0)
    }

    fn clip_of(&self, index: usize) -> Option<f64> {
        effective(self.config.clip_weight.get(index).flatten())
    }

    fn named<'a>(
        &'a self,
        each: &'a [Arc<dyn Projection>],
    ) -> impl Iterator<Item = (usize, &'a str, &'a Arc<dyn Projection>)> {
        self.config
            .names
            .iter()
            .zip(each)
            .enumerate()
            .map(|(i, (name, p))| (i, name.as_str(), p))
    }
}
