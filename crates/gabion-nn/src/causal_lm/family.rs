//! The model families: where they differ from Llama. Adding one is a variant and a row.

use std::fmt;

/// A decoder family, by `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Llama and what shares its layout (SmolLM2).
    Llama,
    /// Mistral, without a sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: bias on q, k and v.
    Qwen2,
    /// Phi-3: q, k, v stored as one tensor, gate and up as another.
    Phi3,
}

/// What a family does when `config.json` says nothing, and what it stores together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Traits {
    pub(crate) model_type: &'static str,
    /// q, k and v are one tensor, gate and up another.
    pub(crate) stacked: bool,
    /// q, k and v have a bias whatever the file says.
    pub(crate) qkv_bias: bool,
    /// An absent `num_key_value_heads` means one for each head; elsewhere the family's default is
    /// that of one particular model, which is no safe guess.
    pub(crate) kv_heads_follow: bool,
    /// What an absent `rms_norm_eps` means: the default of the family's class in transformers.
    pub(crate) rms_norm_eps: f64,
    /// `partial_rotary_factor` is read; the other families rotate whole heads.
    pub(crate) partial_rotary: bool,
    pub(crate) window: Window,
    pub(crate) longrope_aliases: &'static [&'static str],
}

/// How a family decides whether it attends to all positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Window {
    /// `sliding_window`, with this meaning if absent.
    Field { absent: Option<usize> },
    /// `sliding_window` counts only with `use_sliding_window`, in layers from `max_window_layers`.
    Switch,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 4] = [Family::Llama, Family::Mistral, Family::Qwen2, Family::Phi3];

    /// The family of a `model_type`.
    pub fn by_model_type(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.model_type() == word)
    }

    /// The word in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.traits().model_type
    }

    pub(crate) fn traits(self) -> Traits {
        let llama = Traits {
            model_type: "llama",
            stacked: false,
            qkv_bias: false,
            kv_heads_follow: true,
            rms_norm_eps: 1e-6,
            partial_rotary: false,
            window: Window::Field { absent: None },
            longrope_aliases: &[],
        };
        match self {
            Family::Llama => llama,
            Family::Mistral => Traits {
                model_type: "mistral",
                kv_heads_follow: false,
                window: Window::Field { absent: Some(4096) },
                ..llama
            },
            Family::Qwen2 => Traits {
                model_type: "qwen2",
                qkv_bias: true,
                kv_heads_follow: false,
                window: Window::Switch,
                ..llama
            },
            Family::Phi3 => Traits {
                model_type: "phi3",
                stacked: true,
                rms_norm_eps: 1e-5,
                partial_rotary: true,
                longrope_aliases: &["su", "yarn"],
                ..llama
            },
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type())
    }
}
