//! Language models: a folder or GGUF file in, tokens out.

use std::time::Duration;

use gabion_checkpoint::{Checkpoint, CheckpointError, Expected, LoadReport, ModelFiles, is_stale_buffer};
use gabion_ir::{Diagnostics, Graph};
use gabion_nn::{CausalLm, CausalLmConfig, ConfigErrors, ExpectedWeight, ModelErrors};
use gabion_plan::{InputRef, MemoryUse, RunError, Session};
use gabion_tensor::{Bindings, DType, DimError};

use crate::engine::{CheckpointWeights, Compiled, Engine, EngineError};
use crate::sampling::{Sampler, SamplingError};

/// Why a model could not be opened, compiled or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is missing, damaged or not understood.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The config lacks or contradicts fields.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The config describes a model that cannot be built on these stored tensors.
    #[error(transparent)]
    Model(#[from] ModelErrors),
    /// The checkpoint's tensors are not the model's.
    #[error(transparent)]
    Tensors(#[from] Box<LoadReport>),
    /// The graph could not be built.
    #[error(transparent)]
    Graph(#[from] Diagnostics),
    /// The graph could not be compiled or run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A sampling setting means nothing.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// No tokens to begin with.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// The text does not fit the model's context.
    #[error("{prompt} prompt tokens and {new} new ones need {} positions, the model has {context}: shorten the prompt or ask for fewer tokens", prompt + new)]
    Context {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens asked for.
        new: usize,
        /// `max_position_embeddings`.
        context: usize,
    },
    /// A token id that the model does not have.
    #[error("token id {id} at {at} is outside the vocabulary 0..{vocab}")]
    TokenId {
        /// The id.
        id: u32,
        /// Its place in the prompt.
        at: usize,
        /// The size of the vocabulary.
        vocab: usize,
    },
    /// The model is of another kind than asked for.
    #[error("{file}: {problem}")]
    Kind {
        /// The config file.
        file: String,
        /// What it is and what would fit.
        problem: String,
    },
}

impl From<RunError> for ModelError {
    fn from(error: RunError) -> Self {
        ModelError::Engine(EngineError::Run(error))
    }
}

impl From<DimError> for ModelError {
    fn from(error: DimError) -> Self {
        ModelError::Engine(EngineError::Run(RunError::Dim(error)))
    }
}

/// How a checkpoint stores each tensor.
pub(crate) fn stored_dtypes(checkpoint: &Checkpoint) -> impl Fn(&str) -> Option<DType> + '_ {
    |name| checkpoint.info(name).and_then(gabion_checkpoint::TensorInfo::dtype)
}

/// What a model expects, in the load report's words.
pub(crate) fn expectations(weights: Vec<ExpectedWeight>) -> Vec<Expected> {
    weights
        .into_iter()
        .map(|w| Expected { name: w.name, dtypes: w.accepted, shape: w.shape })
        .collect()
}

/// The graph of a language model on disk, after its checkpoint was compared with it.
///
/// # Errors
/// See [`ModelError`].
pub fn causal_lm(files: &ModelFiles) -> Result<(CausalLm, Graph), ModelError> {
    let file = files.config_path().display().to_string();
    let config = CausalLmConfig::from_json(files.config(), &file)?;
    let model = CausalLm::new(config, &stored_dtypes(files.checkpoint()))?;
    let expected = expectations(model.expected_weights()?);
    let harmless = |name: &str| model.may_ignore(name);
    files.checkpoint().check(&expected, &[&is_stale_buffer, &harmless])?;
    let graph = model.build_graph()?;
    Ok((model, graph))
}

/// A language model, compiled.
pub struct LanguageModel {
    compiled: Compiled,
    config: CausalLmConfig,
    /// How long building the graph took.
    pub build_time: Duration,
}

impl LanguageModel {
    /// Compiles the model of a folder or GGUF file.
    ///
    /// # Errors
    /// See [`ModelError`]; nothing is loaded if anything is wrong.
    pub fn load(engine: &Engine, files: &ModelFiles) -> Result<Self, ModelError> {
        let start = std::time::Instant::now();
        let (model, graph) = causal_lm(files)?;
        let build_time = start.elapsed();
        let compiled = engine.compile(&graph, &CheckpointWeights::new(files.checkpoint()))?;
        Ok(Self { compiled, config: model.config().clone(), build_time })
    }

    /// The configuration.
    pub fn config(&self) -> &CausalLmConfig {
        &self.config
    }

    /// The compiled graph.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Refuses a prompt that is empty, has unknown ids, or does not fit with `new` more tokens.
    ///
    /// # Errors
    /// Which of these it is.
    pub fn check_prompt(&self, prompt: &[u32], new: usize) -> Result<(), ModelError> {
        let (vocab, context) = (self.config.vocab_size, self.config.context_length);
        if prompt.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        if let Some((at, &id)) = prompt.iter().enumerate().find(|(_, id)| **id as usize >= vocab) {
            return Err(ModelError::TokenId { id, at, vocab });
        }
        if prompt.len().saturating_add(new) > context {
            return Err(ModelError::Context { prompt: prompt.len(), new, context });
        }
        Ok(())
    }

    /// A generator whose caches hold `capacity` positions.
    ///
    /// # Errors
    /// No memory.
    pub fn generator(&self, capacity: usize) -> Result<Generator, ModelError> {
        let mut sizes = Bindings::default();
        sizes.bind("capacity", capacity as i64)?;
        let session = self.compiled.session_with(&sizes)?;
        Ok(Generator { session, position: 0, ids: Vec::new() })
    }

    /// Generates up to `new` tokens after `prompt`, handing each to `sink`; stops early after an end
    /// token (which is handed over too) unless `ignore_end`, or when `sink` returns false.
    ///
    /// # Errors
    /// See [`LanguageModel::check_prompt`]; a run that fails.
    pub fn generate(
        &self,
        prompt: &[u32],
        new: usize,
        sampler: &mut Sampler,
        end: &[u32],
        sink: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Vec<u32>, ModelError> {
        self.check_prompt(prompt, new)?;
        let mut generator = self.generator(prompt.len() + new)?;
        let mut made = Vec::new();
        let mut next = sampler.choose(generator.feed(prompt)?);
        while made.len() < new {
            made.push(next);
            if !sink(next) || end.contains(&next) || made.len() == new {
                break;
            }
            next = sampler.choose(generator.feed(&[next])?);
        }
        Ok(made)
    }
}

/// One text being continued: a session with its caches.
pub struct Generator {
    session: Box<dyn Session>,
    position: usize,
    ids: Vec<i32>,
}

impl Generator {
    /// How many tokens the caches hold.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Forgets all but the first `position` tokens.
    pub fn rewind(&mut self, position: usize) {
        self.position = self.position.min(position);
    }

    /// Bytes in use.
    pub fn memory(&self) -> MemoryUse {
        self.session.memory()
    }

    /// The session.
    pub fn session(&mut self) -> &mut dyn Session {
        self.session.as_mut()
    }

    /// Appends tokens; the logits after the last, `[vocab]`.
    ///
    /// # Errors
    /// No tokens, or more than the caches hold.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<&[f32], ModelError> {
        if tokens.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        self.ids.clear();
        self.ids.extend(tokens.iter().map(|&id| id as i32));
        let position = [self.position as i64];
        let shape = [tokens.len()];
        self.session.execute(&[
            InputRef { name: "ids", dtype: DType::I32, shape: &shape, bytes: bytemuck::cast_slice(&self.ids) },
            InputRef { name: "position", dtype: DType::I64, shape: &[], bytes: bytemuck::cast_slice(&position) },
        ])?;
        self.position += tokens.len();
        let logits = self.session.output(0)?;
        bytemuck::try_cast_slice(logits.bytes).map_err(|error| {
            let problem = format!("the logits are not aligned f32: {error}");
            ModelError::from(RunError::Output { index: 0, problem })
        })
    }
}
