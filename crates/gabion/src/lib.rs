//! Gabion builds neural-network graphs in code, compiles them, and runs them: the facade over its
//! crates. Start with [`prelude`], [`Engine`], [`LanguageModel`] and [`SentenceEncoder`].
//!
//! A stacked linear layer by hand:
//!
//! ```
//! use std::collections::BTreeMap;
//! use gabion::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = StackedLinear::new(StackedLinearConfig::new(4, [("q_proj", 4), ("k_proj", 2), ("v_proj", 2)]))?;
//! let b = Builder::new("qkv");
//! let x = b.input("x", "f32[tokens, 4]".parse()?);
//! b.output("y", layer.forward(&Scope::root(&b), x));
//! let graph = b.finish()?;
//!
//! let mut weights = BTreeMap::new();
//! for (name, rows) in [("q_proj", 4), ("k_proj", 2), ("v_proj", 2)] {
//!     weights.insert(format!("{name}.weight"), HostTensor::from_slice(&[rows, 4], &vec![0.5f32; rows * 4])?);
//! }
//! let compiled = Engine::cpu()?.compile(&graph, &weights)?;
//! let x = HostTensor::from_slice(&[1, 4], &[1.0f32, 2.0, 3.0, 4.0])?;
//! let outputs = compiled.run(&[("x", &x)])?;
//! assert_eq!(outputs[0].1.as_slice::<f32>()?, &[5.0; 8]);
//! // Three tensors, one matrix product, and no concat at run time:
//! assert_eq!(compiled.plan().weights[0].parts.len(), 3);
//! assert_eq!(compiled.plan().steps.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! Text from a checkpoint:
//!
//! ```no_run
//! use gabion::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let files = ModelFiles::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref())?;
//! let tokenizer = files.tokenizer()?;
//! let model = LanguageModel::load(&Engine::cpu()?, &files)?;
//! let prompt = tokenizer.encode("The capital of France is", true)?;
//! let request = Request { prompt: &prompt, new: 32, end: &files.generation_ids()?.eos, top_logits: 0 };
//! let made = model.generate(&request, &mut Sampler::new(Sampling::default())?, &mut |_| true)?;
//! assert!(tokenizer.decode(&made.ids, true)?.starts_with(" Paris."));
//! # Ok(())
//! # }
//! ```
//!
//! Sentence embeddings:
//!
//! ```no_run
//! use gabion::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let files = ModelFiles::open("all-MiniLM-L6-v2".as_ref())?;
//! let mut encoder = SentenceEncoder::load(&Engine::cpu()?, &files)?;
//! let made = encoder.embed(&["The cat sits on the mat.", "A cat is on a mat."])?;
//! let cosine: f32 = made.vectors[0].iter().zip(&made.vectors[1]).map(|(a, b)| a * b).sum();
//! assert!(cosine > 0.8);
//! # Ok(())
//! # }
//! ```

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

pub mod encoder;
pub mod engine;
pub mod explain;
pub mod folders;
pub mod language_model;
pub mod presets;
pub mod sampling;

pub use encoder::{Embeddings, SentenceEncoder};
pub use engine::{CheckpointWeights, Compiled, Engine, EngineError};
pub use language_model::{Generation, Generator, LanguageModel, Measured, ModelError, Request};
pub use sampling::{Sampler, Sampling};

pub use gabion_checkpoint as checkpoint;
pub use gabion_cpu as cpu;
pub use gabion_ir as ir;
pub use gabion_lower as lower;
pub use gabion_nn as nn;
pub use gabion_plan as plan;
pub use gabion_tensor as tensor;

/// What most programs import.
pub mod prelude {
    pub use crate::{
        Compiled, Engine, Generation, LanguageModel, Request, Sampler, Sampling, SentenceEncoder,
    };
    pub use gabion_checkpoint::{Checkpoint, ModelFiles};
    pub use gabion_ir::{Builder, Graph, TensorValue};
    pub use gabion_lower::{LowerOptions, lower};
    pub use gabion_nn::{CausalLm, Linear, Scope, StackedLinear, StackedLinearConfig};
    pub use gabion_plan::{Plan, Session};
    pub use gabion_tensor::{DType, Dim, HostTensor, Shape, TensorType};
}
