//! BERT encoders (Devlin et al., arXiv:1810.04805), and sentence embeddings on top of them.

mod config;
mod pooling;

use gabion_ir::{Builder, Diagnostics, Graph, TensorValue};
use gabion_tensor::{DType, TensorType};

pub use config::BertConfig;
pub use pooling::{Pooling, UnknownPooling, l2_normalize};

use crate::attention::score_scale;
use crate::causal_lm::{linear, stack, symbol};
use crate::embedding::Embedding;
use crate::linear::Linear;
use crate::norm::LayerNorm;
use crate::scope::Scope;
use crate::stack::{StackedLinear, StackedLinearConfig};
use crate::weights::{ExpectedWeight, ModelErrors, Stored, StoredDTypes, expected_weights};

/// What the graph of an encoder takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BertOptions {
    /// There is an input `token_type_ids`; otherwise every token is of type 0.
    pub token_type_ids: bool,
    /// The output `last_hidden_state`, f32 `[batch, seq, hidden]`.
    pub hidden_state: bool,
    /// The output `embedding`, f32 `[batch, hidden]`, by this rule.
    pub pooling: Option<Pooling>,
    /// The embedding is divided by its length.
    pub normalize: bool,
}

impl Default for BertOptions {
    /// The hidden states alone.
    fn default() -> Self {
        Self {
            token_type_ids: false,
            hidden_state: true,
            pooling: None,
            normalize: false,
        }
    }
}

impl BertOptions {
    /// The embedding alone.
    pub fn embedding(pooling: Pooling, normalize: bool) -> Self {
        Self {
            token_type_ids: false,
            hidden_state: false,
            pooling: Some(pooling),
            normalize,
        }
    }
}

/// One layer: `h = norm(x + attention(x))`, then `norm(h + down(act(up(h))))`.
#[derive(Clone, Debug)]
struct EncoderLayer {
    qkv: StackedLinear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
}

/// An encoder: names, sizes and stored dtypes of its tensors, no data.
///
/// Its graph is `@bert(%ids: i64[batch, seq], %mask: i64[batch, seq], %token_type_ids: i64[batch,
/// seq] if asked for) -> (last_hidden_state: f32[batch, seq, hidden] and/or embedding: f32[batch,
/// hidden])`. Tokens under a mask of 0 are attended by none; what stands in their rows of the hidden
/// state means nothing.
#[derive(Clone, Debug)]
pub struct BertEncoder {
    config: BertConfig,
    prefix: String,
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    embedding_norm: LayerNorm,
    layers: Vec<EncoderLayer>,
}

impl BertEncoder {
    /// The encoder of a configuration. `prefix` stands before all names in the checkpoint (`bert`,
    /// or nothing); `stored` says how the checkpoint stores each tensor; where it says nothing,
    /// `config.dtype` is assumed.
    ///
    /// # Errors
    /// Every tensor that is stored as something no layer reads.
    pub fn new(
        config: BertConfig,
        prefix: &str,
        stored: &StoredDTypes<'_>,
    ) -> Result<Self, ModelErrors> {
        let mut stored = Stored::new(stored, config.dtype);
        let prefix = prefix.trim_end_matches('.').to_owned();
        let embeddings = under(&prefix, "embeddings");
        let mut table = |name: &str, rows: usize| Embedding {
            name: name.to_owned(),
            rows,
            dim: config.hidden_size,
            dtype: stored.dtype(
                &format!("{embeddings}.{name}.weight"),
                &[rows, config.hidden_size],
            ),
        };
        let words = table("word_embeddings", config.vocab_size);
        let positions = table("position_embeddings", config.context_length);
        let types = table("token_type_embeddings", config.type_vocab_size);
        let embedding_norm = norm(&config, &embeddings, &mut stored);
        let encoder = under(&prefix, "encoder");
        let layers: Vec<Option<_>> = (0..config.n_layers)
            .map(|i| layer(&config, &format!("{encoder}.layer.{i}"), &mut stored))
            .collect();
        let layers = stored.finish("bert", layers.into_iter().collect())?;
        Ok(Self {
            config,
            prefix,
            words,
            positions,
            types,
            embedding_norm,
            layers,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// The graph; see [`BertEncoder`].
    ///
    /// # Errors
    /// What the type rules refuse, and options that ask for no output.
    pub fn build_graph(&self, options: BertOptions) -> Result<Graph, Diagnostics> {
        let b = Builder::new("bert");
        b.declare("seq >= 1");
        b.declare(&format!("seq <= {}", self.config.context_length));
        let shape = [symbol(&b, "batch"), symbol(&b, "seq")];
        let integers = |name: &str| b.input(name, TensorType::new(DType::I64, shape.clone()));
        let (ids, mask) = (integers("ids"), integers("mask"));
        let types = options.token_type_ids.then(|| integers("token_type_ids"));
        {
            let scope = Scope::at(&b, &self.prefix);
            let attends = attends(&b, mask);
            let mut h = self.embed(&scope, ids, types);
            for (i, layer) in self.layers.iter().enumerate() {
                let scope = scope.child("encoder").item("layer", i);
                let _open = scope.open();
                h = layer.forward(&scope, &self.config, h, attends);
            }
            if options.hidden_state {
                b.output("last_hidden_state", h);
            }
            if let Some(pooling) = options.pooling {
                let _open = scope.nameless_child("pooling").open();
                let pooled = pooling.apply(h, mask);
                b.output(
                    "embedding",
                    if options.normalize {
                        l2_normalize(pooled)
                    } else {
                        pooled
                    },
                );
            }
        }
        b.finish()
    }

    /// One layer as a graph of its own: `@bert.layer(%x: f32[batch, seq, hidden], %mask: i64[batch,
    /// seq]) -> (y)`.
    ///
    /// # Errors
    /// As [`BertEncoder::build_graph`], and an index beyond the last layer.
    pub fn layer_graph(&self, index: usize) -> Result<Graph, Diagnostics> {
        let b = Builder::new("bert.layer");
        let (batch, seq) = (symbol(&b, "batch"), symbol(&b, "seq"));
        let x = TensorType::new(
            DType::F32,
            [batch.clone(), seq.clone(), self.config.hidden_size.into()],
        );
        let x = b.input("x", x);
        let mask = b.input("mask", TensorType::new(DType::I64, [batch, seq]));
        match self.layers.get(index) {
            Some(layer) => {
                let attends = attends(&b, mask);
                let scope = Scope::at(&b, &self.prefix)
                    .child("encoder")
                    .item("layer", index);
                let _open = scope.open();
                b.output("y", layer.forward(&scope, &self.config, x, attends));
            }
            None => {
                let n = self.layers.len();
                b.poison(
                    "layer_graph",
                    format!("layer {index} is outside the model's {n} layers"),
                );
            }
        }
        b.finish()
    }

    /// Every tensor that the graph reads.
    ///
    /// # Errors
    /// As [`BertEncoder::build_graph`].
    pub fn expected_weights(&self) -> Result<Vec<ExpectedWeight>, Diagnostics> {
        Ok(expected_weights(&self.build_graph(BertOptions::default())?))
    }

    /// True for tensors that checkpoints hold and no graph reads: position ids of old files, BERT's
    /// own pooler, and the heads of its pre-training.
    pub fn may_ignore(&self, tensor: &str) -> bool {
        let ours = tensor
            .strip_prefix(&self.prefix)
            .map_or(tensor, |t| t.trim_start_matches('.'));
        ["embeddings.position_ids", "pooler", "cls"]
            .iter()
            .any(|module| crate::scope::holds(module, ours))
            || crate::scope::holds("cls", tensor)
    }

    fn embed<'g>(
        &self,
        scope: &Scope<'g>,
        ids: TensorValue<'g>,
        types: Option<TensorValue<'g>>,
    ) -> TensorValue<'g> {
        let (scope, _open) = scope.enter("embeddings");
        let b = scope.builder();
        let words = self.words.forward(&scope, ids);
        let types = types.unwrap_or_else(|| b.scalar(DType::I64, 0.0));
        let types = self.types.forward(&scope, types);
        let positions = self
            .positions
            .forward(&scope, b.range(ids.dim(1), DType::I64));
        self.embedding_norm
            .forward(&scope, words + types + positions)
    }
}

impl EncoderLayer {
    /// f32 `[batch, seq, hidden]`; `attends` is bool `[batch, 1, 1, seq]`. `scope` is the layer's.
    #[track_caller]
    fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        config: &BertConfig,
        x: TensorValue<'g>,
        attends: TensorValue<'g>,
    ) -> TensorValue<'g> {
        let h = {
            let (scope, _open) = scope.enter("attention");
            let joined = self.attend(&scope, config, x, attends);
            let (scope, _open) = scope.enter("output");
            let projected = self.attention_output.forward(&scope, joined);
            self.attention_norm.forward(&scope, projected + x)
        };
        let up = {
            let (scope, _open) = scope.enter("intermediate");
            config.activation.apply(self.up.forward(&scope, h))
        };
        let (scope, _open) = scope.enter("output");
        let down = self.down.forward(&scope, up);
        self.norm.forward(&scope, down + h)
    }

    #[track_caller]
    fn attend<'g>(
        &self,
        scope: &Scope<'g>,
        config: &BertConfig,
        x: TensorValue<'g>,
        attends: TensorValue<'g>,
    ) -> TensorValue<'g> {
        let (scope, _open) = scope.enter("self");
        let (batch, seq) = (x.dim(0), x.dim(1));
        let heads = [
            batch.clone(),
            seq.clone(),
            config.heads.into(),
            config.head_dim().into(),
        ];
        let projected = self.qkv.forward_split(&scope, x);
        let [q, k, v] = projected[..] else {
            let message = format!("attention needs 3 projections, found {}", projected.len());
            return scope.builder().poison("attention", message);
        };
        let [q, k, v] = [q, k, v].map(|x| x.reshape(heads.clone()));
        let attended = q.attention(
            k,
            v,
            score_scale(config.head_dim()),
            false,
            Some(attends),
            None,
        );
        attended.reshape([batch, seq, config.hidden_size.into()])
    }
}

/// bool `[batch, 1, 1, seq]`: which keys every head and every query may attend to.
fn attends<'g>(b: &'g Builder, mask: TensorValue<'g>) -> TensorValue<'g> {
    let _open = b.scope("mask");
    let shape = [mask.dim(0), 1.into(), 1.into(), mask.dim(1)];
    mask.ne(0_i64).reshape(shape)
}

fn under(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn norm(config: &BertConfig, scope: &str, stored: &mut Stored<'_>) -> LayerNorm {
    let dim = config.hidden_size;
    LayerNorm {
        name: "LayerNorm".to_owned(),
        dim,
        eps: config.layer_norm_eps,
        dtype: stored.dtype(&format!("{scope}.LayerNorm.weight"), &[dim]),
        bias_dtype: stored.dtype(&format!("{scope}.LayerNorm.bias"), &[dim]),
    }
}

fn layer(config: &BertConfig, scope: &str, stored: &mut Stored<'_>) -> Option<EncoderLayer> {
    let (hidden, inter) = (config.hidden_size, config.intermediate_size);
    let mut qkv = StackedLinearConfig::new(
        hidden,
        [("query", hidden), ("key", hidden), ("value", hidden)],
    );
    qkv.attribute = "qkv".to_owned();
    let qkv = stack(&format!("{scope}.attention.self"), qkv, true, stored);
    let (attention, output) = (
        format!("{scope}.attention.output"),
        format!("{scope}.output"),
    );
    Some(EncoderLayer {
        attention_output: linear(&attention, "dense", hidden, hidden, true, stored),
        attention_norm: norm(config, &attention, stored),
        up: linear(
            &format!("{scope}.intermediate"),
            "dense",
            hidden,
            inter,
            true,
            stored,
        ),
        down: linear(&output, "dense", inter, hidden, true, stored),
        norm: norm(config, &output, stored),
        qkv: qkv?,
    })
}
