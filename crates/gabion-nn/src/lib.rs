//! Layers and models that build graphs: [`StackedLinear`] and what stands around it, decoders
//! ([`CausalLm`]: Llama, Mistral, Qwen2, Phi-3) and encoders ([`BertEncoder`]).
//!
//! A layer holds names, sizes and stored dtypes of tensors, never data and never values of a graph:
//! it may be traced into any number of graphs. Graphs compute in f32 with the numbers that the
//! stored tensors mean; turning that into fast kernels is the compiler's work.
//!
//! ```
//! use gabion_nn::{CausalLm, CausalLmConfig};
//!
//! let config = serde_json::json!({
//!     "model_type": "llama", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96,
//!     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
//!     "max_position_embeddings": 128, "tie_word_embeddings": true,
//! });
//! let model = CausalLm::new(CausalLmConfig::from_json(&config, "config.json")?, &|_| None)?;
//! let graph = model.build_graph()?;
//! assert_eq!(graph.outputs()[0].name.as_ref(), "logits");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod attention;
mod bert;
mod causal_lm;
mod embedding;
mod error;
mod fields;
mod linear;
mod mlp;
mod norm;
mod rope;
mod scope;
mod stack;
mod weights;

pub use activation::Activation;
pub use attention::{KvCache, SelfAttention};
pub use bert::{BertConfig, BertEncoder, BertOptions, Pooling, UnknownPooling, l2_normalize};
pub use causal_lm::{CausalLm, CausalLmConfig, CausalLmOptions, DecoderLayer, Family};
pub use embedding::Embedding;
pub use error::{ConfigErrors, ConfigProblem};
pub use linear::{Linear, Projection};
pub use mlp::Mlp;
pub use norm::{LayerNorm, RmsNorm};
pub use rope::{Frequencies, Pairing, RopeConfig, RopeScaling, Rotary};
pub use scope::{OpenScope, Scope, holds};
pub use stack::{
    Device, PerProjection, StackErrors, StackProblem, StackedLinear, StackedLinearConfig,
    UnknownDevice,
};
pub use weights::{ExpectedWeight, ModelErrors, ModelProblem, StoredDTypes, expected_weights};
