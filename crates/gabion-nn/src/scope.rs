//! Names of checkpoint tensors, module by module. A [`Scope`] also opens the builder's scope, so
//! that every node remembers the module that made it. What a tensor holds is not known here.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use gabion_ir::builder::ScopeGuard;
use gabion_ir::{Builder, TensorValue};
use gabion_tensor::{DType, Dim, Shape, TensorType};

/// A module's place: the prefix of its tensors' names, and the builder it is traced into.
///
/// ```
/// use gabion_ir::Builder;
/// use gabion_nn::Scope;
///
/// let b = Builder::new("example");
/// let attention = Scope::root(&b).child("model").item("layers", 3).child("self_attn");
/// assert_eq!(attention.name("q_proj.weight"), "model.layers.3.self_attn.q_proj.weight");
/// ```
#[derive(Clone)]
pub struct Scope<'g> {
    builder: &'g Builder,
    /// The prefix of tensor names.
    path: String,
    /// The module path that nodes remember; it also has the modules that names leave out.
    module: String,
    /// The module path that is open in the builder, shared by all scopes of one root.
    open: Rc<RefCell<String>>,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", self.path)
    }
}

/// While it lives, nodes are made in its module; see [`Scope::open`].
#[must_use = "the module closes when the guard is dropped"]
pub struct OpenScope<'g> {
    _guard: Option<ScopeGuard<'g>>,
    open: Rc<RefCell<String>>,
    before: String,
}

impl Drop for OpenScope<'_> {
    fn drop(&mut self) {
        *self.open.borrow_mut() = std::mem::take(&mut self.before);
    }
}

impl<'g> Scope<'g> {
    /// The scope without a prefix.
    pub fn root(builder: &'g Builder) -> Self {
        Self {
            builder,
            path: String::new(),
            module: String::new(),
            open: Rc::default(),
        }
    }

    /// The scope of the module at `path` (`model.layers.3.self_attn`); empty is the root.
    pub fn at(builder: &'g Builder, path: &str) -> Self {
        Self::root(builder).child(path)
    }

    /// The scope of the module under the attribute `name`.
    pub fn child(&self, name: &str) -> Self {
        Self {
            path: join(&self.path, name),
            ..self.nameless_child(name)
        }
    }

    /// The scope of module number `index` of the list `list`: `layers.3`.
    pub fn item(&self, list: &str, index: usize) -> Self {
        self.child(&format!("{list}.{index}"))
    }

    /// A module that nodes remember and tensor names leave out: its children's tensors are named
    /// as if they were this scope's own.
    pub fn nameless_child(&self, name: &str) -> Self {
        Self {
            module: join(&self.module, name),
            ..self.clone()
        }
    }

    /// Makes this the module of the nodes that are built until the guard drops. Guards drop in the
    /// reverse order of their making, as those of nested calls do.
    pub fn open(&self) -> OpenScope<'g> {
        let before = self.open.replace(self.module.clone());
        let added = match before.as_str() {
            "" => Some(self.module.as_str()),
            outer if holds(outer, &self.module) => self.module[outer.len()..].strip_prefix('.'),
            // Not inside the open module: the builder can only go further in.
            _ => Some(self.module.as_str()),
        };
        let guard = added
            .filter(|name| !name.is_empty())
            .map(|name| self.builder.scope(name));
        OpenScope {
            _guard: guard,
            open: self.open.clone(),
            before,
        }
    }

    /// The child under the attribute `name`, open.
    pub fn enter(&self, name: &str) -> (Self, OpenScope<'g>) {
        let child = self.child(name);
        let open = child.open();
        (child, open)
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
        join(&self.path, name)
    }

    /// The checkpoint's tensor `name` of this module, as it is stored.
    #[track_caller]
    pub fn weight(&self, name: &str, dtype: DType, shape: &[usize]) -> TensorValue<'g> {
        let _open = self.open();
        let shape: Shape = shape.iter().map(|&d| Dim::from(d)).collect();
        self.builder
            .weight(&self.name(name), TensorType::new(dtype, shape))
    }

    /// The checkpoint's tensor `name` of this module as f32: halves are cast, blocks are
    /// dequantised, f32 stays as it is.
    #[track_caller]
    pub fn weight_f32(&self, name: &str, dtype: DType, shape: &[usize]) -> TensorValue<'g> {
        let _open = self.open();
        to_f32(self.weight(name, dtype, shape))
    }
}

fn join(path: &str, name: &str) -> String {
    match (path.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => path.to_owned(),
        (false, false) => format!("{path}.{name}"),
    }
}

/// True if `name` is `module` or lies inside it, segment by segment: `layers.1` does not hold
/// `layers.10.weight`. The empty module holds everything.
pub fn holds(module: &str, name: &str) -> bool {
    module.is_empty()
        || name
            .strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
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
