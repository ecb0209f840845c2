//! What an executor can do, as data. The compiler asks it; nothing else differs between targets.

use gabion_tensor::{DType, UnaryFn};

/// The abilities of an executor.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// "cpu", "cuda".
    pub name: String,
    /// Stored dtypes that its tiled matmul decodes in registers; others are converted to f32 while
    /// loading.
    pub tile_formats: Vec<DType>,
    /// Functions that a matmul epilogue applies.
    pub epilogue_maps: Vec<UnaryFn>,
    /// A norm of x's rows can be computed inside a matmul.
    pub norm_prologue: bool,
    /// Pairs can be computed together in an epilogue if the half block is a multiple of this.
    pub pair_granularity: usize,
    /// A matmul can write into a cache.
    pub cache_epilogue: bool,
    /// Composite kernels it has: "softmax", "log_softmax", "rms_norm", "layer_norm", "rope",
    /// "attention". Others are decomposed.
    pub composites: Vec<String>,
    /// Most instructions in one elementwise program.
    pub max_map_instrs: usize,
}

impl Target {
    /// True if the executor has a kernel for this composite operator.
    pub fn has_composite(&self, name: &str) -> bool {
        self.composites.iter().any(|c| c == name)
    }
}
