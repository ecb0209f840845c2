//! Decoders that predict the next token: Llama, Mistral, Qwen2, Phi-3, as graphs over a cache.

mod config;
mod family;

use gabion_ir::{Builder, Diagnostics, Graph, TensorValue};
use gabion_tensor::{DType, Dim, Shape, TensorType};

pub use config::CausalLmConfig;
pub(crate) use config::{read_activation, read_dtype, refuse_quantized};
pub use family::Family;

use crate::attention::{KvCache, SelfAttention};
use crate::embedding::Embedding;
use crate::linear::Linear;
use crate::mlp::Mlp;
use crate::norm::RmsNorm;
use crate::rope::{Frequencies, Pairing, Rotary};
use crate::scope::Scope;
use crate::stack::{PerProjection, StackedLinear, StackedLinearConfig};
use crate::weights::{ExpectedWeight, ModelErrors, Stored, StoredDTypes, expected_weights};

/// `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
#[derive(Clone, Debug)]
pub struct DecoderLayer {
    input_norm: RmsNorm,
    attention: SelfAttention,
    post_norm: RmsNorm,
    mlp: Mlp,
}

impl DecoderLayer {
    /// f32 `[tokens, hidden]` to f32 `[tokens, hidden]`, and the cache with what was appended.
    /// `scope` is the layer's own.
    #[track_caller]
    pub fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        x: TensorValue<'g>,
        rotary: &Rotary<'g>,
        cache: KvCache<'g>,
        position: TensorValue<'g>,
    ) -> (TensorValue<'g>, KvCache<'g>) {
        let normed = self.input_norm.forward(scope, x);
        let (attended, cache) = self
            .attention
            .forward(scope, normed, rotary, cache, position);
        let h = x + attended;
        let normed = self.post_norm.forward(scope, h);
        (h + self.mlp.forward(scope, normed), cache)
    }
}

/// What the graph of a decoder gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CausalLmOptions {
    /// Logits of every token, `[tokens, vocab]`; otherwise those of the last, `[1, vocab]`.
    pub all_logits: bool,
}

/// A decoder: names, sizes and stored dtypes of its tensors, no data.
///
/// Its graph is `@<model_type>(%ids: i32[tokens], %position: i64[], donate %k_cache.0: f32[capacity,
/// kv_heads, head_dim], donate %v_cache.0, ..) -> (logits: f32[1, vocab], k_cache.0.out,
/// v_cache.0.out, ..)`: the ids stand at `position..position + tokens`, and rows of the caches
/// before `position` hold what earlier runs put there.
#[derive(Clone, Debug)]
pub struct CausalLm {
    config: CausalLmConfig,
    pairing: Pairing,
    frequencies: Frequencies,
    embedding: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    head: Option<Linear>,
}

impl CausalLm {
    /// The decoder of a configuration. `stored` says how the checkpoint stores each tensor; where it
    /// says nothing, `config.dtype` is assumed.
    ///
    /// # Errors
    /// Every tensor that is stored as something no layer reads.
    pub fn new(config: CausalLmConfig, stored: &StoredDTypes<'_>) -> Result<Self, ModelErrors> {
        let mut stored = Stored::new(stored, config.dtype);
        let embedding = Embedding {
            name: "embed_tokens".to_owned(),
            rows: config.vocab_size,
            dim: config.hidden_size,
            dtype: stored.dtype(
                "model.embed_tokens.weight",
                &[config.vocab_size, config.hidden_size],
            ),
        };
        let layers: Vec<Option<_>> = (0..config.n_layers)
            .map(|i| layer(&config, &format!("model.layers.{i}"), &mut stored))
            .collect();
        let norm = norm(&config, "model", "norm", &mut stored);
        let head = (!config.tie_word_embeddings).then(|| {
            linear(
                "",
                "lm_head",
                config.hidden_size,
                config.vocab_size,
                false,
                &mut stored,
            )
        });
        let model = config.family.model_type();
        let layers = stored.finish(model, layers.into_iter().collect())?;
        let frequencies = frequencies(&config);
        Ok(Self {
            config,
            pairing: Pairing::Half,
            frequencies,
            embedding,
            layers,
            norm,
            head,
        })
    }

    /// The same decoder on a checkpoint whose q and k rows lie so that neighbours rotate together
    /// (GGUF files of Llama), or in halves as transformers keeps them (the default).
    pub fn with_pairing(mut self, pairing: Pairing) -> Self {
        self.pairing = pairing;
        self
    }

    /// The same decoder with other rotary frequencies than its configuration's: as many, for
    /// experiments with rules that have no name.
    pub fn with_frequencies(mut self, frequencies: Frequencies) -> Self {
        self.frequencies = frequencies;
        self
    }

    /// The rotary frequencies.
    pub fn frequencies(&self) -> &Frequencies {
        &self.frequencies
    }

    /// The configuration.
    pub fn config(&self) -> &CausalLmConfig {
        &self.config
    }

    /// The layers.
    pub fn layers(&self) -> &[DecoderLayer] {
        &self.layers
    }

    /// The graph that gives the last token's logits.
    ///
    /// # Errors
    /// What the type rules refuse; a configuration that was read without errors gives none.
    pub fn build_graph(&self) -> Result<Graph, Diagnostics> {
        self.build_graph_with(CausalLmOptions::default())
    }

    /// The graph; see [`CausalLm`].
    ///
    /// # Errors
    /// As [`CausalLm::build_graph`].
    pub fn build_graph_with(&self, options: CausalLmOptions) -> Result<Graph, Diagnostics> {
        let b = Builder::new(self.config.family.model_type());
        b.declare("tokens >= 1");
        let ids = b.input("ids", TensorType::new(DType::I32, [symbol(&b, "tokens")]));
        let position = b.input("position", TensorType::new(DType::I64, Shape::default()));
        let mut caches: Vec<_> = (0..self.layers.len())
            .map(|i| self.cache_inputs(&b, i))
            .collect();
        let root = Scope::root(&b);
        let h = {
            let (model, _open) = root.enter("model");
            let mut h = self.embedding.forward(&model, ids);
            let rotary = self.rotary(&model, ids.dim(0), position);
            for (i, layer) in self.layers.iter().enumerate() {
                let (scope, _open) = model.enter(&format!("layers.{i}"));
                (h, caches[i]) = layer.forward(&scope, h, &rotary, caches[i], position);
            }
            self.norm.forward(&model, h)
        };
        let logits = self.logits(&root, h);
        let logits = if options.all_logits {
            logits
        } else {
            let _open = root.nameless_child("lm_head").open();
            logits.slice(&[(-1..).into()])
        };
        b.output("logits", logits);
        for (i, cache) in caches.iter().enumerate() {
            output_cache(&b, i, cache);
        }
        b.finish()
    }

    /// One layer as a graph of its own: `@<model_type>.layer(%x: f32[tokens, hidden], %position,
    /// donate %k_cache.N, donate %v_cache.N) -> (y, k_cache.N.out, v_cache.N.out)`.
    ///
    /// # Errors
    /// As [`CausalLm::build_graph`], and an index beyond the last layer.
    pub fn layer_graph(&self, index: usize) -> Result<Graph, Diagnostics> {
        let b = Builder::new(&format!("{}.layer", self.config.family.model_type()));
        let tokens = symbol(&b, "tokens");
        let x = b.input(
            "x",
            TensorType::new(DType::F32, [tokens.clone(), self.config.hidden_size.into()]),
        );
        let position = b.input("position", TensorType::new(DType::I64, Shape::default()));
        let Some(layer) = self.layers.get(index) else {
            let n = self.layers.len();
            b.poison(
                "layer_graph",
                format!("layer {index} is outside the model's {n} layers"),
            );
            return b.finish();
        };
        let cache = self.cache_inputs(&b, index);
        {
            let (model, _open) = Scope::root(&b).enter("model");
            let rotary = self.rotary(&model, tokens, position);
            let (scope, _open) = model.enter(&format!("layers.{index}"));
            let (y, cache) = layer.forward(&scope, x, &rotary, cache, position);
            b.output("y", y);
            output_cache(&b, index, &cache);
        }
        b.finish()
    }

    /// Every tensor that the graph reads.
    ///
    /// # Errors
    /// As [`CausalLm::build_graph`].
    pub fn expected_weights(&self) -> Result<Vec<ExpectedWeight>, Diagnostics> {
        Ok(expected_weights(&self.build_graph()?))
    }

    /// True for tensors that checkpoints of this family may hold and no graph reads: rotary tables
    /// of old files, and the head of a model that ties it.
    pub fn may_ignore(&self, tensor: &str) -> bool {
        tensor.ends_with(".rotary_emb.inv_freq")
            || (self.head.is_none() && tensor == "lm_head.weight")
    }

    fn cache_inputs<'g>(&self, b: &'g Builder, layer: usize) -> KvCache<'g> {
        let shape = [
            symbol(b, "capacity"),
            self.config.kv_heads.into(),
            self.config.head_dim.into(),
        ];
        let input = |kind: &str| {
            b.donated_input(
                &format!("{kind}_cache.{layer}"),
                TensorType::new(DType::F32, shape.clone()),
            )
        };
        KvCache {
            keys: input("k"),
            values: input("v"),
        }
    }

    fn rotary<'g>(&self, scope: &Scope<'g>, tokens: Dim, position: TensorValue<'g>) -> Rotary<'g> {
        let positions = {
            let _open = scope.nameless_child("rotary_emb").open();
            scope.builder().range(tokens, DType::I64) + position
        };
        Rotary::new(scope, &self.frequencies, positions, self.pairing)
    }

    fn logits<'g>(&self, root: &Scope<'g>, h: TensorValue<'g>) -> TensorValue<'g> {
        match &self.head {
            Some(head) => head.forward(root, h),
            None => {
                let table = self.embedding.table(&root.child("model"));
                let _open = root.nameless_child("lm_head").open();
                h.matmul_t(crate::scope::to_f32(table))
            }
        }
    }
}

fn output_cache(b: &Builder, layer: usize, cache: &KvCache<'_>) {
    b.output(&format!("k_cache.{layer}.out"), cache.keys);
    b.output(&format!("v_cache.{layer}.out"), cache.values);
}

/// A dimension by name; the names here are valid.
pub(crate) fn symbol(b: &Builder, name: &str) -> Dim {
    Dim::symbol(name).unwrap_or_else(|error| {
        b.poison("symbol", error.to_string());
        Dim::fixed(1)
    })
}

/// Without the second list where the context never reaches it.
fn frequencies(config: &CausalLmConfig) -> Frequencies {
    let mut frequencies = config.rope.frequencies();
    if config.rope_switch().is_none() {
        frequencies.long = None;
    }
    frequencies
}

fn norm(config: &CausalLmConfig, scope: &str, name: &str, stored: &mut Stored<'_>) -> RmsNorm {
    let dim = config.hidden_size;
    let dtype = stored.dtype(&format!("{scope}.{name}.weight"), &[dim]);
    RmsNorm {
        name: name.to_owned(),
        dim,
        eps: config.rms_norm_eps,
        dtype,
    }
}

/// A projection with the dtypes that the checkpoint has.
pub(crate) fn linear(
    scope: &str,
    name: &str,
    in_dim: usize,
    out_dim: usize,
    has_bias: bool,
    stored: &mut Stored<'_>,
) -> Linear {
    let path = if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    };
    let mut linear = Linear::new(name, in_dim, out_dim).with_bias(has_bias);
    linear.dtype = stored.dtype(&format!("{path}.weight"), &[out_dim, in_dim]);
    if has_bias {
        linear.bias_dtype = stored.dtype(&format!("{path}.bias"), &[out_dim]);
    }
    linear
}

/// A stack with the dtypes that the checkpoint has.
pub(crate) fn stack(
    scope: &str,
    mut config: StackedLinearConfig,
    has_bias: bool,
    stored: &mut Stored<'_>,
) -> Option<StackedLinear> {
    config.has_bias = PerProjection::All(has_bias);
    let in_dim = config.in_dim;
    let projections: Vec<(String, usize)> = if config.stacked {
        vec![(config.attribute.clone(), config.total_rows())]
    } else {
        config
            .names
            .iter()
            .cloned()
            .zip(config.out_dims.iter().copied())
            .collect()
    };
    let linears: Vec<Linear> = projections
        .iter()
        .map(|(name, rows)| linear(scope, name, in_dim, *rows, has_bias, stored))
        .collect();
    config.dtype = match &linears[..] {
        [one] => PerProjection::All(one.dtype),
        each => PerProjection::Each(each.iter().map(|l| l.dtype).collect()),
    };
    let mut made = linears.into_iter();
    let make = |plain: &Linear| -> std::sync::Arc<dyn crate::linear::Projection> {
        // The projections are made in the order of the names, with the dtypes of their biases.
        std::sync::Arc::new(made.next().unwrap_or_else(|| plain.clone()))
    };
    let stack = StackedLinear::with_projections(config, make);
    stored.stack(scope, stack)
}

fn layer(config: &CausalLmConfig, scope: &str, stored: &mut Stored<'_>) -> Option<DecoderLayer> {
    let (hidden, inter) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (
        config.heads * config.head_dim,
        config.kv_heads * config.head_dim,
    );
    let attn = format!("{scope}.self_attn");
    let mlp = format!("{scope}.mlp");
    let named = |attribute: &str, projections: &[(&str, usize)]| {
        let mut stack = StackedLinearConfig::new(hidden, projections.iter().copied());
        stack.attribute = attribute.to_owned();
        stack.stacked = config.stacked;
        stack
    };
    let qkv = named("qkv_proj", &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)]);
    let gate_up = named("gate_up_proj", &[("gate_proj", inter), ("up_proj", inter)]);
    let qkv = stack(&attn, qkv, config.qkv_bias, stored);
    let output = linear(&attn, "o_proj", q, hidden, config.output_bias, stored);
    let gate_up = stack(&mlp, gate_up, config.mlp_bias, stored);
    let down = linear(&mlp, "down_proj", inter, hidden, config.mlp_bias, stored);
    Some(DecoderLayer {
        input_norm: norm(config, scope, "input_layernorm", stored),
        attention: SelfAttention {
            name: "self_attn".to_owned(),
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            qkv: qkv?,
            output,
        },
        post_norm: norm(config, scope, "post_attention_layernorm", stored),
        mlp: Mlp {
            name: "mlp".to_owned(),
            gate_up: gate_up?,
            activation: config.activation,
            down,
        },
    })
}
