//! Names of checkpoint tensors, module by module. A [`Scope`] also opens the builder's scope, so
//! that every node remembers the module that made it. What a tensor holds is not known here.

use std::fmt;

use gabion_ir::builder::ScopeGuard;
use gabion_ir::{Builder, TensorValue};
use gabion_tensor::{DType, TensorType};

/// A module's place: the prefix of its tensors' names, and the builder it is traced into.
///
/// A child is open from its making to its drop; layers make it first thing in `forward`, so scopes
/// nest as the calls do.
///
/// ```
/// use gabion_ir::Builder;
/// use gabion_nn::Scope;
///
/// let b = Builder::new("example");
/// let model = Scope::root(&b).child("model");
/// let attention = model.item("layers", 3).child("self_attn");
/// assert_eq!(attention.name("q_proj.weight"), "model.layers.3.self_attn.q_proj.weight");
/// ```
pub struct Scope<'g> {
    builder: &'g Builder,
    path: String,
    _open: Option<ScopeGuard<'g>>,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", self.path)
    }
}

impl<'g> Scope<'g> {
    /// The scope without a prefix.
    pub fn root(builder: &'g Builder) -> Self {
        Self { builder, path: String::new(), _open: None }
    }

    /// The scope of the module at `path` (`model.layers.3.self_attn`); empty is the root.
    pub fn at(builder: &'g Builder, path: &str) -> Self {
        if path.is_empty() { Self::root(builder) } else { Self::root(builder).child(path) }
    }

    /// The scope of the module under the attribute `name`. Dotted names open one module for each
    /// segment.
    pub fn child(&self, name: &str) -> Self {
        Self { builder: self.builder, path: self.name(name), _open: Some(self.builder.scope(name)) }
    }

    /// Module number `index` of the list `list`: `layers.3`.
    pub fn item(&self, list: &str, index: usize) -> Self {
        self.child(&format!("{list}.{index}"))
    }

    /// A module that nodes remember and tensor names leave out: the children's tensors are named
    /// as if they were this scope's own.
    pub fn nameless_child(&self, name: &str) -> Self {
        Self { builder: self.builder, path: self.path.clone(), _open: Some(self.builder.scope(name)) }
    }

    /// The builder that the layers are traced into.
    pub fn builder(&self) -> &'g Builder {
        self.builder
    }

    /// The prefix, without a trailing dot; empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The full name of the tensor or module `name` of this module.
    pub fn name(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{name}", self.path),
        }
    }

    /// True if the full tensor name `name` belongs to this module or to one inside it, compared
    /// segment by segment: `layers.1` holds nothing of `layers.10`.
    pub fn holds(&self, name: &str) -> bool {
        holds(&self.path, name)
    }

    /// The checkpoint's tensor `name` of this module, as it is stored.
    #[track_caller]
    pub fn weight(&self, name: &str, dtype: DType, shape: &[usize]) -> TensorValue<'g> {
        let shape: gabion_tensor::Shape = shape.iter().map(|&d| gabion_tensor::Dim::from(d)).collect();
        self.builder.weight(&self.name(name), TensorType::new(dtype, shape))
    }

    /// The checkpoint's tensor `name` of this module as f32: halves are cast, blocks are
    /// dequantised, f32 stays as it is.
    #[track_caller]
    pub fn weight_f32(&self, name: &str, dtype: DType, shape: &[usize]) -> TensorValue<'g> {
        to_f32(self.weight(name, dtype, shape))
    }
}

/// True if `name` is `prefix` or lies below it, segment by segment.
pub(crate) fn holds(prefix: &str, name: &str) -> bool {
    prefix.is_empty()
        || name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The real numbers that stored codes mean, in f32.
#[track_caller]
pub(crate) fn to_f32(value: TensorValue<'_>) -> TensorValue<'_> {
    match value.dtype() {
        DType::F32 => value,
        dtype if dtype.is_block() => value.dequantize(DType::F32),
        _ => value.cast(DType::F32),
    }
}
