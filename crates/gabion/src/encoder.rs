//! Sentence encoders: texts in, vectors out, pooled and normalised as the folder says.

use std::time::Duration;

use gabion_checkpoint::{Checkpoint, ModelFiles, Pooling, SentenceConfig, Tokenizer, is_stale_buffer};
use gabion_ir::Graph;
use gabion_nn::{BertConfig, BertEncoder, BertOptions};
use gabion_plan::{InputRef, MemoryUse, RunError, Session};
use gabion_tensor::DType;

use crate::engine::{CheckpointWeights, Compiled, Engine};
use crate::language_model::{ModelError, expectations, stored_dtypes};

/// The names under `bert.` where a checkpoint was saved with a head, else at the root.
fn prefix(checkpoint: &Checkpoint) -> &'static str {
    let at = |prefix: &str| checkpoint.contains(&format!("{prefix}embeddings.word_embeddings.weight"));
    if !at("") && at("bert.") { "bert" } else { "" }
}

/// The encoder of a folder and its graph, after the checkpoint was compared with it.
///
/// # Errors
/// See [`ModelError`].
pub fn bert_encoder(files: &ModelFiles, options: BertOptions) -> Result<(BertEncoder, Graph), ModelError> {
    let file = files.config_path().display().to_string();
    let config = BertConfig::from_json(files.config(), &file)?;
    let checkpoint = files.checkpoint();
    let encoder = BertEncoder::new(config, prefix(checkpoint), &stored_dtypes(checkpoint))?;
    let expected = expectations(encoder.expected_weights()?);
    let harmless = |name: &str| encoder.may_ignore(name);
    checkpoint.check(&expected, &[&is_stale_buffer, &harmless])?;
    let graph = encoder.build_graph(options)?;
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
            return Err(ModelError::Kind { file: files.path().display().to_string(), problem });
        }
    };
    let options = BertOptions::embedding(pooling, sentence.normalize);
    Ok((sentence, options))
}

/// A sentence encoder, compiled.
pub struct SentenceEncoder {
    compiled: Compiled,
    session: Box<dyn Session>,
    tokenizer: Tokenizer,
    sentence: SentenceConfig,
    context: usize,
    width: usize,
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
        let tokenizer = files.tokenizer()?;
        let (encoder, graph) = bert_encoder(files, options)?;
        let build_time = start.elapsed();
        let compiled = engine.compile(&graph, &CheckpointWeights::new(files.checkpoint()))?;
        let session = compiled.session()?;
        let config = encoder.config();
        let context = sentence.max_seq_length.unwrap_or(config.context_length).min(config.context_length);
        let width = config.hidden_size;
        Ok(Self { compiled, session, tokenizer, sentence, context, width, build_time })
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
    /// A text that the tokenizer refuses; a run that fails.
    pub fn embed<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<Embeddings, ModelError> {
        let mut embeddings = Embeddings::default();
        for (i, text) in texts.iter().enumerate() {
            let lower = self.sentence.do_lower_case.then(|| text.as_ref().to_lowercase());
            let text = lower.as_deref().unwrap_or(text.as_ref());
            let encoded = self.tokenizer.encode_truncated(text, self.context)?;
            if encoded.ids.is_empty() {
                return Err(ModelError::EmptyPrompt);
            }
            if encoded.dropped > 0 {
                embeddings.cut.push((i, encoded.ids.len() + encoded.dropped, encoded.ids.len()));
            }
            embeddings.token_ids.push(encoded.ids);
        }
        // Texts of like length share a batch, so little of it is padding.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| (embeddings.token_ids[i].len(), i));
        embeddings.vectors = vec![Vec::new(); texts.len()];
        let mut at = 0;
        while at < order.len() {
            let mut end = at + 1;
            while end < order.len() && (end + 1 - at) * embeddings.token_ids[order[end]].len() <= BATCH_TOKENS {
                end += 1;
            }
            let batch = &order[at..end];
            let ids: Vec<&[u32]> = batch.iter().map(|&i| embeddings.token_ids[i].as_slice()).collect();
            let vectors = self.run(&ids)?;
            for (&i, vector) in batch.iter().zip(vectors) {
                embeddings.vectors[i] = vector;
            }
            at = end;
        }
        Ok(embeddings)
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
        let input = |name, values| InputRef { name, dtype: DType::I64, shape: &shape, bytes: bytemuck::cast_slice(values) };
        self.session.execute(&[input("ids", &tokens), input("mask", &mask)])?;
        let output = self.session.output(0)?;
        let values: &[f32] = bytemuck::try_cast_slice(output.bytes).map_err(|error| {
            let problem = format!("the embedding is not aligned f32: {error}");
            ModelError::from(RunError::Output { index: 0, problem })
        })?;
        Ok(values.chunks_exact(self.width).map(<[f32]>::to_vec).collect())
    }
}
