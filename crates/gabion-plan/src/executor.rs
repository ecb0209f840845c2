//! The traits between the compiler's output and an executor.

use std::path::PathBuf;
use std::sync::Arc;

use gabion_tensor::{Bindings, DType, DimError, GuardError, HostTensor, TensorError};

use crate::plan::Plan;
use crate::profile::{Profile, ProfileOptions};
use crate::target::Target;

/// Runs plans on one kind of hardware.
pub trait Executor {
    /// What it can do.
    fn target(&self) -> &Target;

    /// Packs the weights. The source is asked for each stored tensor once per use, in plan order,
    /// and told when its pages are no longer needed.
    ///
    /// # Errors
    /// A weight that is missing or wrong, or a plan that this executor does not support.
    fn load(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
    ) -> Result<Arc<dyn Loaded>, LoadError>;
}

/// A plan with its weights packed: shared by sessions.
pub trait Loaded: Send + Sync {
    /// The plan.
    fn plan(&self) -> &Plan;

    /// A session. `sizes` fixes symbols that only donated inputs have (a cache's capacity).
    ///
    /// # Errors
    /// A symbol of a donated input without a value, or no memory.
    fn session(&self, sizes: &Bindings) -> Result<Box<dyn Session>, RunError>;

    /// Bytes of packed weights.
    fn packed_weight_bytes(&self) -> usize;
}

/// One run's state: arena, caches, workers.
pub trait Session: Send {
    /// Runs the plan. Donated inputs that are not given keep their state (zeros at first).
    ///
    /// # Errors
    /// Inputs of wrong name, rank, dtype or shape, symbols that disagree, guards that fail, an index
    /// or position out of range.
    fn execute(&mut self, inputs: &[InputRef<'_>]) -> Result<(), RunError>;

    /// Output `index` of the last [`Session::execute`].
    ///
    /// # Errors
    /// No run yet, or no such output.
    fn output(&self, index: usize) -> Result<OutputRef<'_>, RunError>;

    /// The plan's output names, in order.
    fn output_names(&self) -> Vec<String>;

    /// Bytes in use.
    fn memory(&self) -> MemoryUse;

    /// Measures each step of the runs that follow, on every worker; `None`: no longer. What was
    /// measured before is dropped. Measured runs give the same bits and allocate nothing in their
    /// steps; runs that are not measured cost nothing more.
    ///
    /// # Errors
    /// The executor does not measure, or has no memory for it.
    fn set_profile(&mut self, options: Option<ProfileOptions>) -> Result<(), RunError> {
        match options {
            None => Ok(()),
            Some(_) => Err(RunError::Executor(
                "this executor does not measure its steps".to_owned(),
            )),
        }
    }

    /// What was measured since [`Session::set_profile`]; the runs that follow are counted from 0
    /// again. `None`: nothing is being measured.
    fn take_profile(&mut self) -> Option<Profile> {
        None
    }

    /// Runs the plan and copies every output.
    ///
    /// # Errors
    /// As [`Session::execute`].
    fn run(
        &mut self,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Vec<(String, HostTensor)>, RunError> {
        let refs: Vec<InputRef<'_>> = inputs
            .iter()
            .map(|(name, t)| InputRef {
                name,
                dtype: t.dtype(),
                shape: t.shape(),
                bytes: t.bytes(),
            })
            .collect();
        self.execute(&refs)?;
        let names = self.output_names();
        let mut outputs = Vec::with_capacity(names.len());
        for (index, name) in names.into_iter().enumerate() {
            let out = self.output(index)?;
            outputs.push((
                name,
                HostTensor::new(out.dtype, &out.shape, out.bytes.to_vec())?,
            ));
        }
        Ok(outputs)
    }
}

/// An input of one run.
#[derive(Clone, Copy, Debug)]
pub struct InputRef<'a> {
    /// The plan input's name.
    pub name: &'a str,
    /// Its dtype.
    pub dtype: DType,
    /// Its sizes.
    pub shape: &'a [usize],
    /// Its elements, row-major, little-endian.
    pub bytes: &'a [u8],
}

/// An output of one run: row-major bytes.
#[derive(Clone, Debug)]
pub struct OutputRef<'a> {
    /// Its dtype.
    pub dtype: DType,
    /// Its sizes.
    pub shape: smallvec::SmallVec<[usize; 4]>,
    /// Its elements.
    pub bytes: &'a [u8],
}

/// Where the bytes of a session are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// The arena of intermediate values.
    pub arena_bytes: usize,
    /// State kept between runs: donated inputs.
    pub state_bytes: usize,
}

/// Gives stored tensors by checkpoint name.
pub trait WeightSource {
    /// The stored tensor.
    ///
    /// # Errors
    /// It is missing, or cannot be read.
    fn weight(&self, name: &str) -> Result<StoredWeight, LoadError>;

    /// The tensor's pages are no longer needed.
    fn release(&self, name: &str) {
        let _ = name;
    }
}

/// A stored tensor, perhaps with its rows in another order than the graph's.
#[derive(Clone, Debug)]
pub struct StoredWeight {
    /// The data as stored.
    pub tensor: HostTensor,
    /// Row `i` of the graph's weight is row `row_map[i]` of the tensor; `None`: the same order.
    pub row_map: Option<Arc<[u32]>>,
}

impl WeightSource for std::collections::BTreeMap<String, HostTensor> {
    fn weight(&self, name: &str) -> Result<StoredWeight, LoadError> {
        match self.get(name) {
            Some(tensor) => Ok(StoredWeight {
                tensor: tensor.clone(),
                row_map: None,
            }),
            None => Err(LoadError::Missing {
                name: name.to_owned(),
            }),
        }
    }
}

/// Why a plan could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such tensor.
    #[error("weight `{name}` is not in the checkpoint")]
    Missing {
        /// The checkpoint name asked for.
        name: String,
    },
    /// The tensor is not what the plan expects.
    #[error("weight `{name}`: expected {expected}, found {found}")]
    Mismatch {
        /// The checkpoint name.
        name: String,
        /// The plan's type.
        expected: String,
        /// The checkpoint's type.
        found: String,
    },
    /// The file could not be read.
    #[error("weight `{name}` in {file}: {problem}")]
    Read {
        /// The checkpoint name.
        name: String,
        /// The file.
        file: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// The executor lacks something that the plan uses.
    #[error("{executor} cannot run this plan: {problem}")]
    Unsupported {
        /// The executor.
        executor: String,
        /// What it lacks.
        problem: String,
    },
    /// Workers or memory could not be had, or a setting is wrong.
    #[error("{0}")]
    Setup(String),
    /// A tensor could not be converted.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input is missing, unknown, or of the wrong type.
    #[error("input `{name}`: {problem}")]
    Input {
        /// The input.
        name: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// An index or position is out of range.
    #[error("{what}: {index} is outside 0..{size}")]
    Index {
        /// The step and operand.
        what: String,
        /// What was found.
        index: i64,
        /// The size of the axis.
        size: usize,
    },
    /// A value makes a kernel meaningless (an integer division by zero).
    #[error("{0}")]
    Value(String),
    /// A symbol has no value, or two.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A run-time guard failed.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No output yet, or no such output.
    #[error("output {index}: {problem}")]
    Output {
        /// Which.
        index: usize,
        /// Why not.
        problem: String,
    },
    /// A worker failed, or memory could not be had.
    #[error("{0}")]
    Executor(String),
}
