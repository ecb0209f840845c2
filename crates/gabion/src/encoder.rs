//! Sentence encoders: texts in, vectors out, pooled and normalised as the folder says.

use std::time::Duration;

use gabion_checkpoint::{
    Checkpoint, ModelFiles, Pooling, SentenceConfig, Tokenizer, is_stale_buffer,
};
use gabion_ir::Graph;
use gabion_nn::{BertConfig, BertEncoder, BertOptions, expected_weights};
use gabion_plan::{InputRef, MemoryUse, RunError, Session};
use gabion_tensor::DType;

use crate::engine::{CheckpointWeights, Compiled, Engine};
use crate::language_model::{ModelError, expectations, stored_dtypes};

/// The names under `bert.` where a checkpoint was saved with a head, else at the root.
fn prefix(checkpoint: &Checkpoint) -> &'static str {
    let at =
        |prefix: &str| checkpoint.contains(&format!("{prefix}embeddings.word_embeddings.weight"));
    if !at("") && at("bert.") { "bert" } else { "" }
}

/// The encoder of a folder and its graph, after the checkpoint was compared with it.
///
/// # Errors
/// See [`ModelError`].
pub fn bert_encoder(
    files: &ModelFiles,
    options: BertOptions,
) -> Result<(BertEncoder, Graph), ModelError> {
    bert_encoder_layers(files, options, None)
}

/// As [`bert_encoder`], with the first `layers` layers only (all, if that is more than there are).
///
/// # Errors
/// See [`ModelError`].
pub fn bert_encoder_layers(
    files: &ModelFiles,
    options: BertOptions,
    layers: Option<usize>,
) -> Result<(BertEncoder, Graph), ModelError> {
    let file = files.config_path().display().to_string();
    let mut config = BertConfig::from_json(files.config(), &file)?;
    let all = config.n_layers;
    config.n_layers = layers.map_or(all, |n| n.clamp(1, all));
    let cut = config.n_layers < all;
    let checkpoint = files.checkpoint();
    let encoder = BertEncoder::new(config, prefix(checkpoint), &stored_dtypes(checkpoint))?;
    let graph = encoder.build_graph(options)?;
    let expected = expectations(expected_weights(&graph));
    let harmless = |name: &str| cut || encoder.may_ignore(name);
    checkpoint.check(&expected, &[&is_stale_buffer, &harmless])?;
    Ok((encoder, graph))
}

/// How a folder wants its texts pooled; a plain encoder without `modules.json` gets the mean,
/// normalised.
///
/// # Errors
/// Files that lack or contradict fields, and poolings that are not built.
pub fn sentence_options(files: &ModelFiles) -> Result<(SentenceConfig, BertOptions), ModelError> {
    let sentence = files.sentence_config()?.unwrap_or(SentenceConfig {
        pooling: Pooling::Mean,
        normalize: true,
        max_seq_length: None,
        do_lower_case: false,
    });
    let pooling = match sentence.pooling {
        Pooling::Mean => gabion_nn::Pooling::Mean,
        Pooling::Cls => gabion_nn::Pooling::Cls,
        Pooling::Max => gabion_nn::Pooling::Max,
        other @ (Pooling::MeanSqrtLen | Pooling::WeightedMean | Pooling::LastToken) => {
            let problem = format!("pooling {other:?} is not supported; mean, cls and max are");
            return Err(ModelError::Kind {
                file: files.path().display().to_string(),
                problem,
            });
        }
    };
    let options = BertOptions::embedding(pooling, sentence.normalize);
    Ok((sentence, options))
}

/// A sentence encoder, compiled.
pub struct SentenceEncoder {
    compiled: Compiled,
    session: Box<dyn Session>,
    tokenizer: Option<Tokenizer>,
    folder: String,
    sentence: SentenceConfig,
    context: usize,
    width: usize,
    vocab: usize,
    /// How long building the graph took.
    pub build_time: Duration,
}

/// Texts turned into vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// One vector per text.
    pub vectors: Vec<Vec<f32>>,
    /// The token ids of each text, special tokens included.
    pub token_ids: Vec<Vec<u32>>,
    /// The texts that were cut to the model's length: (text number, tokens before, tokens after).
    pub cut: Vec<(usize, usize, usize)>,
}

/// Rows of one batch that are computed together, at most.
const BATCH_TOKENS: usize = 8 * 512;

impl SentenceEncoder {
    /// Compiles the encoder of a folder.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn load(engine: &Engine, files: &ModelFiles) -> Result<Self, ModelError> {
        let start = std::time::Instant::now();
        let (sentence, options) = sentence_options(files)?;
        let tokenizer = if files.has_tokenizer() {
            Some(files.tokenizer()?)
        } else {
            None
        };
        let folder = files.path().display().to_string();
        let (encoder, graph) = bert_encoder(files, options)?;
        let build_time = start.elapsed();
        let compiled = engine.compile(&graph, &CheckpointWeights::new(files.checkpoint()))?;
        let session = compiled.session()?;
        let config = encoder.config();
        let context = sentence
            .max_seq_length
            .unwrap_or(config.context_length)
            .min(config.context_length);
        let (width, vocab) = (config.hidden_size, config.vocab_size);
        Ok(Self {
            compiled,
            session,
            tokenizer,
            folder,
            sentence,
            context,
            width,
            vocab,
            build_time,
        })
    }

    /// The compiled graph.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Bytes in use.
    pub fn memory(&self) -> MemoryUse {
        self.session.memory()
    }

    /// Tokens that a text is cut to.
    pub fn max_tokens(&self) -> usize {
        self.context
    }

    /// One vector per text. Texts of other lengths in the same call do not change a vector.
    ///
    /// # Errors
    /// A folder without a tokenizer, a text that the tokenizer refuses, a run that fails.
    pub fn embed<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Embeddings, ModelError> {
        let Some(tokenizer) = &self.tokenizer else {
            let problem =
                "there is no tokenizer: give token ids instead of texts, or add tokenizer.json"
                    .to_owned();
            return Err(ModelError::Kind {
                file: self.folder.clone(),
                problem,
            });
        };
        let mut ids = Vec::with_capacity(texts.len());
        let mut cut = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            let lower = self
                .sentence
                .do_lower_case
                .then(|| text.as_ref().to_lowercase());
            let text = lower.as_deref().unwrap_or(text.as_ref());
            let encoded = tokenizer.encode_truncated(text, self.context)?;
            if encoded.dropped > 0 {
                cut.push((i, encoded.ids.len() + encoded.dropped, encoded.ids.len()));
            }
            ids.push(encoded.ids);
        }
        let vectors = self.embed_ids(&ids)?;
        Ok(Embeddings {
            vectors,
            token_ids: ids,
            cut,
        })
    }

    /// One vector per list of token ids, special tokens included. Lists of like length share a
    /// batch, so little of it is padding.
    ///
    /// # Errors
    /// A list that is empty, longer than the model, or has an unknown id; a run that fails.
    pub fn embed_ids(&mut self, lists: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ModelError> {
        for ids in lists {
            self.check(ids)?;
        }
        let mut order: Vec<usize> = (0..lists.len()).collect();
        order.sort_by_key(|&i| (lists[i].len(), i));
        let mut vectors = vec![Vec::new(); lists.len()];
        let mut at = 0;
        while at < order.len() {
            let mut end = at + 1;
            while end < order.len() && (end + 1 - at) * lists[order[end]].len() <= BATCH_TOKENS {
                end += 1;
            }
            let batch = &order[at..end];
            let ids: Vec<&[u32]> = batch.iter().map(|&i| lists[i].as_slice()).collect();
            for (&i, vector) in batch.iter().zip(self.run(&ids)?) {
                vectors[i] = vector;
            }
            at = end;
        }
        Ok(vectors)
    }

    fn check(&self, ids: &[u32]) -> Result<(), ModelError> {
        if ids.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        if ids.len() > self.context {
            return Err(ModelError::Positions {
                found: ids.len(),
                limit: self.context,
            });
        }
        match ids
            .iter()
            .enumerate()
            .find(|(_, id)| **id as usize >= self.vocab)
        {
            Some((at, &id)) => Err(ModelError::TokenId {
                id,
                at,
                vocab: self.vocab,
            }),
            None => Ok(()),
        }
    }

    /// One vector per list of token ids.
    ///
    /// # Errors
    /// A run that fails.
    pub fn run(&mut self, ids: &[&[u32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        let seq = ids.iter().map(|i| i.len()).max().unwrap_or(0);
        let mut tokens = vec![0i64; ids.len() * seq];
        let mut mask = vec![0i64; ids.len() * seq];
        for (row, ids) in ids.iter().enumerate() {
            for (column, &id) in ids.iter().enumerate() {
                tokens[row * seq + column] = i64::from(id);
                mask[row * seq + column] = 1;
            }
        }
        let shape = [ids.len(), seq];
        let input = |name, values| InputRef {
            name,
            dtype: DType::I64,
            shape: &shape,
            bytes: bytemuck::cast_slice(values),
        };
        self.session
            .execute(&[input("ids", &tokens), input("mask", &mask)])?;
        let output = self.session.output(0)?;
        let values: &[f32] = bytemuck::try_cast_slice(output.bytes).map_err(|error| {
            let problem = format!("the embedding is not aligned f32: {error}");
            ModelError::from(RunError::Output { index: 0, problem })
        })?;
        Ok(values
            .chunks_exact(self.width)
            .map(<[f32]>::to_vec)
            .collect())
    }
}
