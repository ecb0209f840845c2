//! Rotary position embedding in a graph: cos and sin once for all layers. Which frequencies they
//! have is decided in [`scaling`].

mod fields;
mod scaling;

use gabion_ir::{Builder, TensorValue};
use gabion_tensor::{DType, HostTensor};

pub(crate) use fields::{PartialRotary, RopeContext, read_rope};
pub use gabion_ir::ops::rope::Pairing;
pub use scaling::{Frequencies, RopeConfig, RopeScaling};

use crate::scope::Scope;

/// cos and sin of every position and frequency, f32 `[tokens, rotary_dim / 2]` each.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'g> {
    /// Cosines.
    pub cos: TensorValue<'g>,
    /// Sines.
    pub sin: TensorValue<'g>,
    /// Which elements of a head rotate together.
    pub pairing: Pairing,
}

impl<'g> Rotary<'g> {
    /// For `positions` (i64 `[tokens]`, ascending). `scope` is the parent's.
    #[track_caller]
    pub fn new(
        scope: &Scope<'g>,
        frequencies: &Frequencies,
        positions: TensorValue<'g>,
        pairing: Pairing,
    ) -> Self {
        let _open = scope.nameless_child("rotary_emb").open();
        let b = scope.builder();
        let short = vector(b, &frequencies.inv_freq);
        let inv_freq = match &frequencies.long {
            Some((original, long)) => {
                let beyond = positions.select(0, -1).ge(*original as i64);
                beyond.where_(vector(b, long), short)
            }
            None => short,
        };
        let angles = positions.cast(DType::F32).unsqueeze(-1) * inv_freq;
        let scaled = |x: TensorValue<'g>| {
            if frequencies.attention_factor == 1.0 {
                x
            } else {
                x * f64::from(frequencies.attention_factor)
            }
        };
        Self {
            cos: scaled(angles.cos()).named("cos"),
            sin: scaled(angles.sin()).named("sin"),
            pairing,
        }
    }

    /// Rotates f32 `[tokens, heads, head_dim]`; elements beyond `rotary_dim` stay.
    #[track_caller]
    pub fn rotate(&self, x: TensorValue<'g>) -> TensorValue<'g> {
        x.rope(self.cos, self.sin, self.pairing)
    }
}

#[track_caller]
fn vector<'g>(b: &'g Builder, values: &[f32]) -> TensorValue<'g> {
    match HostTensor::from_slice(&[values.len()], values) {
        Ok(tensor) => b.constant(tensor),
        Err(error) => b.poison("constant", error.to_string()),
    }
}
