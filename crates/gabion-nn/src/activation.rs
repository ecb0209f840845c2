//! Activation functions by the names that `config.json` uses (`hidden_act`).

use gabion_ir::TensorValue;
use gabion_tensor::UnaryFn;

/// An activation: elementwise functions, applied one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The name in `config.json`.
    pub name: &'static str,
    functions: &'static [UnaryFn],
}

/// The names are those of transformers' `ACT2FN`. `gelu_fast`, `gelu_new` and `gelu_accurate` are
/// one function written in three ways, the tanh approximation of Hendrycks and Gimpel
/// (arXiv:1606.08415).
const TABLE: &[Activation] = &[
    Activation {
        name: "gelu",
        functions: &[UnaryFn::GeluErf],
    },
    Activation {
        name: "gelu_accurate",
        functions: &[UnaryFn::GeluTanh],
    },
    Activation {
        name: "gelu_fast",
        functions: &[UnaryFn::GeluTanh],
    },
    Activation {
        name: "gelu_new",
        functions: &[UnaryFn::GeluTanh],
    },
    Activation {
        name: "gelu_python",
        functions: &[UnaryFn::GeluErf],
    },
    Activation {
        name: "gelu_python_tanh",
        functions: &[UnaryFn::GeluTanh],
    },
    Activation {
        name: "gelu_pytorch_tanh",
        functions: &[UnaryFn::GeluTanh],
    },
    Activation {
        name: "linear",
        functions: &[],
    },
    Activation {
        name: "quick_gelu",
        functions: &[UnaryFn::GeluQuick],
    },
    Activation {
        name: "relu",
        functions: &[UnaryFn::Relu],
    },
    Activation {
        name: "relu2",
        functions: &[UnaryFn::Relu, UnaryFn::Square],
    },
    Activation {
        name: "sigmoid",
        functions: &[UnaryFn::Sigmoid],
    },
    Activation {
        name: "silu",
        functions: &[UnaryFn::Silu],
    },
    Activation {
        name: "swish",
        functions: &[UnaryFn::Silu],
    },
    Activation {
        name: "tanh",
        functions: &[UnaryFn::Tanh],
    },
];

impl Activation {
    /// No activation.
    pub(crate) const LINEAR: Self = Self {
        name: "linear",
        functions: &[],
    };

    /// The activation of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|a| a.name == name).copied()
    }

    /// The known names, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|a| a.name)
    }

    /// Applies it; the shape and dtype stay.
    #[track_caller]
    pub fn apply<'g>(&self, x: TensorValue<'g>) -> TensorValue<'g> {
        self.functions.iter().fold(x, |x, f| x.unary(*f))
    }
}
