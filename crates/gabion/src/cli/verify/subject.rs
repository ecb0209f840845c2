//! What `gabion verify` evaluates a graph on: random inputs and weights of a graph, or random inputs
//! of a model beside its own weights.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use gabion::checkpoint::{Checkpoint, ModelFiles};
use gabion::ir::eval::{SampleOptions, WeightSource, sample_inputs};
use gabion::ir::{EvalError, Graph, Sampler};
use gabion::plan::{LoadError, StoredWeight};
use gabion::tensor::{Bindings, HostTensor, TensorType};

use super::ranges;
use crate::cli::model_arg;

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, HostTensor>;

/// Ranges of integer inputs by name.
type Ranges = BTreeMap<String, Range<i64>>;

/// A graph with what it is evaluated on.
pub(super) struct Subject {
    pub(super) graph: Graph,
    pub(super) inputs: Tensors,
    pub(super) sizes: Bindings,
    pub(super) weights: Weights,
}

/// Random weights of a graph, or those of a model.
pub(super) enum Weights {
    Random(Tensors),
    Model(Checkpoint),
}

impl WeightSource for Weights {
    fn weight(&self, name: &str, ty: &TensorType) -> Result<HostTensor, EvalError> {
        match self {
            Weights::Random(tensors) => WeightSource::weight(tensors, name, ty),
            Weights::Model(checkpoint) => {
                checkpoint.get(name).map_err(|error| EvalError::Binding {
                    kind: "weight",
                    name: name.to_owned(),
                    problem: error.to_string(),
                })
            }
        }
    }
}

impl gabion::plan::WeightSource for Weights {
    fn weight(&self, name: &str) -> Result<StoredWeight, LoadError> {
        match self {
            Weights::Random(tensors) => gabion::plan::WeightSource::weight(tensors, name),
            Weights::Model(checkpoint) => gabion::plan::WeightSource::weight(
                &gabion::CheckpointWeights::new(checkpoint),
                name,
            ),
        }
    }
}

impl Subject {
    /// Random inputs and weights.
    pub(super) fn of_graph(graph: Graph, seed: u64, ranges: Ranges) -> anyhow::Result<Self> {
        let options = SampleOptions {
            ranges,
            ..SampleOptions::default()
        };
        let samples = sample_inputs(&graph, seed, &options)?;
        Ok(Self {
            graph,
            inputs: samples.inputs,
            sizes: samples.bindings,
            weights: Weights::Random(samples.weights),
        })
    }

    /// A few random tokens in the middle of a cache that holds random numbers; for an encoder, a
    /// padded batch of two.
    pub(super) fn of_model(
        graph: Graph,
        path: &Path,
        seed: u64,
        tokens: usize,
        ranges: &Ranges,
    ) -> anyhow::Result<Self> {
        let files = ModelFiles::open(path)?;
        let lengths = Lengths::of(&files, tokens);
        let sizes = lengths.sizes()?;
        let mut sampler = Sampler::new(seed);
        let mut inputs = Tensors::new();
        for input in graph.inputs() {
            let ty = &graph.node(input.node).results[0];
            let name = &*input.name;
            let shape = ty.shape.eval(&sizes)?;
            let tensor = match ranges.get(name) {
                Some(range) => ranges::sample(&mut sampler, ty.dtype, &shape, range)?,
                None if name == "position" => HostTensor::scalar(lengths.before as i64),
                None if name == "mask" => lengths.mask(&shape)?,
                None if ty.dtype.is_int() => sampler.indices(ty.dtype, &shape, lengths.vocabulary),
                None => sampler.tensor_in(ty.dtype, &shape, -1.0, 1.0),
            };
            inputs.insert(name.to_owned(), tensor);
        }
        Ok(Self {
            graph,
            inputs,
            sizes,
            weights: Weights::Model(files.checkpoint().clone()),
        })
    }
}

/// How long the sample of a model is.
struct Lengths {
    tokens: usize,
    /// Tokens that the cache holds already.
    before: usize,
    vocabulary: usize,
}

impl Lengths {
    /// As many tokens as were asked for, if the model has so many positions.
    fn of(files: &ModelFiles, tokens: usize) -> Self {
        let field = |name: &str| {
            let value = files.config().get(name).and_then(serde_json::Value::as_u64);
            value.map_or(1, |n| n as usize)
        };
        let positions = field("max_position_embeddings").max(1);
        let tokens = tokens.min(positions);
        let before = if model_arg::is_encoder(files) {
            0
        } else {
            2.min(positions - tokens)
        };
        Self {
            tokens,
            before,
            vocabulary: field("vocab_size"),
        }
    }

    fn sizes(&self) -> anyhow::Result<Bindings> {
        let mut sizes = Bindings::new();
        for (name, value) in [
            ("tokens", self.tokens),
            ("capacity", self.tokens + self.before),
            ("batch", 2),
            ("seq", self.tokens),
        ] {
            sizes.bind(name, value as i64)?;
        }
        Ok(sizes)
    }

    /// The second text is one token shorter.
    fn mask(&self, shape: &[usize]) -> anyhow::Result<HostTensor> {
        let n: usize = shape.iter().product();
        let short = n - usize::from(self.tokens > 1);
        let mask: Vec<i64> = (0..n).map(|i| i64::from(i < short)).collect();
        Ok(HostTensor::from_slice(shape, &mask)?)
    }
}
