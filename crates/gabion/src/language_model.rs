//! Language models: a folder or GGUF file in, tokens out.

use std::time::{Duration, Instant};

use gabion_checkpoint::{
    Checkpoint, CheckpointError, Expected, LoadReport, ModelFiles, is_stale_buffer,
};
use gabion_ir::{Diagnostics, Graph};
use gabion_nn::{
    CausalLm, CausalLmConfig, ConfigErrors, ExpectedWeight, ModelErrors, expected_weights,
};
use gabion_plan::profile::Phase;
use gabion_plan::{InputRef, MemoryUse, Profile, ProfileOptions, RunError, Session};
use gabion_tensor::{Bindings, DType, DimError};

use crate::engine::{CheckpointWeights, Compiled, Engine, EngineError};
use crate::sampling::{Sampler, SamplingError, top_logits};

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
    #[error("{prompt} prompt tokens and {new} new ones need {} positions, the model has {context}: shorten the prompt or ask for fewer tokens", prompt.saturating_add(*new))]
    Context {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens asked for.
        new: usize,
        /// `max_position_embeddings`.
        context: usize,
    },
    /// The ids of one text do not fit an encoder.
    #[error("{found} token ids, the model has {limit} positions: give fewer")]
    Positions {
        /// How many were given.
        found: usize,
        /// How many the model takes.
        limit: usize,
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
    |name| {
        checkpoint
            .info(name)
            .and_then(gabion_checkpoint::TensorInfo::dtype)
    }
}

/// What a model expects, in the load report's words.
pub(crate) fn expectations(weights: Vec<ExpectedWeight>) -> Vec<Expected> {
    weights
        .into_iter()
        .map(|w| Expected {
            name: w.name,
            dtypes: w.accepted,
            shape: w.shape,
        })
        .collect()
}

/// The graph of a language model on disk, after its checkpoint was compared with it.
///
/// # Errors
/// See [`ModelError`].
pub fn causal_lm(files: &ModelFiles) -> Result<(CausalLm, Graph), ModelError> {
    causal_lm_layers(files, None)
}

/// As [`causal_lm`], with the first `layers` layers only (all, if that is more than there are). The
/// tensors of the layers that are left out need not be looked at.
///
/// # Errors
/// See [`ModelError`].
pub fn causal_lm_layers(
    files: &ModelFiles,
    layers: Option<usize>,
) -> Result<(CausalLm, Graph), ModelError> {
    let file = files.config_path().display().to_string();
    let checkpoint = files.checkpoint();
    let mut config = if checkpoint.gguf().is_some() {
        CausalLmConfig::from_gguf(files.config(), &file)?
    } else {
        CausalLmConfig::from_json(files.config(), &file)?
    };
    // How the projections lie on disk is the checkpoint's to say, whatever the family does.
    if checkpoint.has_stacked_projections() {
        config.stacked = true;
    } else if checkpoint
        .names()
        .any(|name| name.ends_with(".self_attn.q_proj.weight"))
    {
        config.stacked = false;
    }
    config.tie_word_embeddings &= !checkpoint.has_own_head();
    let all = config.n_layers;
    config.n_layers = layers.map_or(all, |n| n.clamp(1, all));
    let cut = config.n_layers < all;
    let model = CausalLm::new(config, &stored_dtypes(checkpoint))?;
    let graph = model.build_graph()?;
    let expected = expectations(expected_weights(&graph));
    let harmless = |name: &str| cut || model.may_ignore(name);
    checkpoint.check(&expected, &[&is_stale_buffer, &harmless])?;
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
        let start = Instant::now();
        let (model, graph) = causal_lm(files)?;
        let build_time = start.elapsed();
        let compiled = engine.compile(&graph, &CheckpointWeights::new(files.checkpoint()))?;
        Ok(Self {
            compiled,
            config: model.config().clone(),
            build_time,
        })
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
        if let Some((at, &id)) = prompt
            .iter()
            .enumerate()
            .find(|(_, id)| **id as usize >= vocab)
        {
            return Err(ModelError::TokenId { id, at, vocab });
        }
        if prompt.len().saturating_add(new) > context {
            return Err(ModelError::Context {
                prompt: prompt.len(),
                new,
                context,
            });
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
        Ok(Generator {
            session,
            position: 0,
            history: Vec::new(),
            ids: Vec::new(),
            switch: self.config.rope_switch(),
        })
    }

    /// Generates tokens after a prompt, handing each to `sink`; stops early after an end token
    /// (which is handed over too), or when `sink` returns false.
    ///
    /// # Errors
    /// See [`LanguageModel::check_prompt`]; a run that fails.
    pub fn generate(
        &self,
        request: &Request<'_>,
        sampler: &mut Sampler,
        sink: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Generation, ModelError> {
        self.run(request, sampler, sink, None)
    }

    /// As [`LanguageModel::generate`], with every step of every run measured.
    ///
    /// # Errors
    /// As [`LanguageModel::generate`], and an executor that cannot measure.
    pub fn generate_measured(
        &self,
        request: &Request<'_>,
        sampler: &mut Sampler,
        sink: &mut dyn FnMut(u32) -> bool,
        options: ProfileOptions,
    ) -> Result<(Generation, Measured), ModelError> {
        let mut measured = Measured::default();
        let made = self.run(request, sampler, sink, Some((options, &mut measured)))?;
        Ok((made, measured))
    }

    fn run(
        &self,
        request: &Request<'_>,
        sampler: &mut Sampler,
        sink: &mut dyn FnMut(u32) -> bool,
        mut measure: Option<(ProfileOptions, &mut Measured)>,
    ) -> Result<Generation, ModelError> {
        self.check_prompt(request.prompt, request.new)?;
        let mut generator = self.generator(request.prompt.len() + request.new)?;
        if let Some((options, _)) = &measure {
            generator.session.set_profile(Some(*options))?;
        }
        let mut note = |name: &dyn Fn() -> String, start: Instant, time: Duration| {
            if let Some((options, measured)) = &mut measure {
                let start = start.saturating_duration_since(options.since);
                let name = name();
                measured.phases.push(Phase { name, start, time });
            }
        };
        let start = Instant::now();
        let logits = generator.feed(request.prompt)?;
        let mut next = sampler.choose(logits);
        let prefill_time = start.elapsed();
        let top_logits = top_logits(logits, request.top_logits);
        let prompt = request.prompt.len();
        note(
            &|| format!("prefill of {prompt} tokens"),
            start,
            prefill_time,
        );
        let mut ids = Vec::new();
        let mut decode_time = Duration::ZERO;
        while ids.len() < request.new {
            ids.push(next);
            if !sink(next) || request.end.contains(&next) || ids.len() == request.new {
                break;
            }
            let start = Instant::now();
            next = sampler.choose(generator.feed(&[next])?);
            let time = start.elapsed();
            decode_time += time;
            note(&|| format!("token {}", ids.len()), start, time);
        }
        if let Some((_, measured)) = measure {
            measured.profile = generator.session.take_profile().unwrap_or_default();
        }
        Ok(Generation {
            ids,
            top_logits,
            prefill_time,
            decode_time,
            memory: generator.memory(),
        })
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The tokens to begin with.
    pub prompt: &'a [u32],
    /// How many tokens to add at most.
    pub new: usize,
    /// The tokens that end the text; none: it goes on to the last of `new`.
    pub end: &'a [u32],
    /// How many of the first step's best logits to keep.
    pub top_logits: usize,
}

/// What was generated.
#[derive(Clone, Debug, Default)]
pub struct Generation {
    /// The new tokens, with the end token if one ended them.
    pub ids: Vec<u32>,
    /// The best tokens of the first step with their logits, best first.
    pub top_logits: Vec<(u32, f32)>,
    /// From the prompt to the first new token.
    pub prefill_time: Duration,
    /// The steps after the first new token, without the time that the sink took.
    pub decode_time: Duration,
    /// Bytes in use at the end.
    pub memory: MemoryUse,
}

/// What was measured while a text was generated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The steps of each run: the prompt's, then one for each token.
    pub profile: Profile,
    /// When each run began and how long it took, with the choice of the token.
    pub phases: Vec<Phase>,
}

/// One text being continued: a session with its caches.
pub struct Generator {
    session: Box<dyn Session>,
    position: usize,
    /// Every token in the caches, kept where the whole text may have to run again.
    history: Vec<u32>,
    ids: Vec<i32>,
    /// See [`CausalLmConfig::rope_switch`].
    switch: Option<usize>,
}

impl Generator {
    /// How many tokens the caches hold.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Forgets all but the first `position` tokens.
    pub fn rewind(&mut self, position: usize) {
        // Rows that were written after a switch of frequencies are of no use before it.
        let crossed = self
            .switch
            .is_some_and(|n| position <= n && n < self.position);
        self.position = self.position.min(position);
        self.history.truncate(self.position);
        if crossed && self.position > 0 {
            self.position = 0;
        }
    }

    /// Bytes in use.
    pub fn memory(&self) -> MemoryUse {
        self.session.memory()
    }

    /// Appends tokens; the logits after the last, `[vocab]`. Where the text grows over the length
    /// at which the rotary frequencies change, all of it runs again.
    ///
    /// # Errors
    /// No tokens, or more than the caches hold.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<&[f32], ModelError> {
        if tokens.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        self.ids.clear();
        if let Some(switch) = self.switch {
            let held = self.history.len();
            if held <= switch && switch < held + tokens.len() {
                self.position = 0;
            }
            let again = &self.history[self.position..];
            self.ids.extend(again.iter().map(|&id| id as i32));
            self.history.extend_from_slice(tokens);
        }
        self.ids.extend(tokens.iter().map(|&id| id as i32));
        let position = [self.position as i64];
        let shape = [self.ids.len()];
        let ran = self.session.execute(&[
            InputRef {
                name: "ids",
                dtype: DType::I32,
                shape: &shape,
                bytes: bytemuck::cast_slice(&self.ids),
            },
            InputRef {
                name: "position",
                dtype: DType::I64,
                shape: &[],
                bytes: bytemuck::cast_slice(&position),
            },
        ]);
        if let Err(error) = ran {
            // What was not run is not remembered.
            let known = self.history.len().saturating_sub(tokens.len());
            self.history.truncate(known);
            return Err(error.into());
        }
        self.position += self.ids.len();
        let logits = self.session.output(0)?;
        bytemuck::try_cast_slice(logits.bytes).map_err(|error| {
            let problem = format!("the logits are not aligned f32: {error}");
            ModelError::from(RunError::Output { index: 0, problem })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str) -> LanguageModel {
        let fixtures =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let files = ModelFiles::open(&fixtures.join(name)).unwrap();
        LanguageModel::load(&Engine::cpu().unwrap(), &files).unwrap()
    }

    fn ids(n: u32) -> Vec<u32> {
        (0..n).map(|i| (i * 37 + 5) % 160).collect()
    }

    fn apart(a: &[f32], b: &[f32]) -> f32 {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    }

    /// A rewound text goes on as a fresh one does, on either side of a change of frequencies (at 10
    /// tokens in the second model) and across it.
    #[test]
    fn rewinding_forgets() {
        for name in [
            "tiny_models/llama_gqa",
            "tiny_models_more/phi3_partial_longrope",
        ] {
            let model = load(name);
            let fresh = |n: u32| model.generator(32).unwrap().feed(&ids(n)).unwrap().to_vec();
            for (held, back, then) in [
                (5, 3, 8),
                (5, 3, 12),
                (12, 8, 9),
                (12, 8, 14),
                (12, 11, 13),
                (12, 0, 4),
            ] {
                let mut generator = model.generator(32).unwrap();
                generator.feed(&ids(held)).unwrap();
                generator.rewind(back as usize);
                let logits = generator
                    .feed(&ids(then)[back as usize..])
                    .unwrap()
                    .to_vec();
                assert_eq!(generator.position(), then as usize);
                let error = apart(&logits, &fresh(then));
                assert!(
                    error < 1e-4,
                    "{name}: {held} back to {back}, on to {then}: {error}"
                );
            }
        }
    }

    #[test]
    fn one_by_one_is_as_all_at_once() {
        for name in [
            "tiny_models/qwen2",
            "tiny_models_more/phi3_partial_longrope",
        ] {
            let model = load(name);
            let mut generator = model.generator(20).unwrap();
            for n in 1..=20 {
                let logits = generator.feed(&ids(n)[n as usize - 1..]).unwrap().to_vec();
                let whole = model.generator(20).unwrap().feed(&ids(n)).unwrap().to_vec();
                assert!(apart(&logits, &whole) < 1e-4, "{name}, token {n}");
            }
        }
    }

    #[test]
    fn a_cache_that_is_full_refuses_more() {
        let model = load("tiny_models/llama_gqa");
        let mut generator = model.generator(4).unwrap();
        generator.feed(&ids(4)).unwrap();
        let error = generator.feed(&[1]).unwrap_err().to_string();
        assert!(error.contains('4'), "{error}");
        assert!(matches!(
            model.generator(4).unwrap().feed(&[]),
            Err(ModelError::EmptyPrompt)
        ));
    }
}
