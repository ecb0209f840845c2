//! Random valid operators and inputs for the conformance suite: deterministic from a seed.

use gabion_tensor::{DType, HostTensor};
use half::{bf16, f16};

use crate::ops::Op;

/// An operator with inputs that it accepts.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The operator.
    pub op: Op,
    /// Its inputs, in operand order.
    pub args: Vec<HostTensor>,
}

impl Sample {
    /// A sample of `op` on `args`.
    pub fn new(op: impl Into<Op>, args: Vec<HostTensor>) -> Self {
        Self {
            op: op.into(),
            args,
        }
    }
}

/// A small deterministic source of random shapes, values and choices (SplitMix64).
#[derive(Clone, Debug)]
pub struct Sampler {
    state: u64,
}

impl Sampler {
    /// The same seed gives the same samples.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03,
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// An integer in `low..=high`.
    pub fn int(&mut self, low: i64, high: i64) -> i64 {
        let bits = self.bits();
        // 0 for the range of all i64.
        let n = (high.wrapping_sub(low) as u64).wrapping_add(1);
        low.wrapping_add(bits.checked_rem(n).unwrap_or(bits) as i64)
    }

    /// A size in `low..=high`.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        self.int(low as i64, high as i64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.bits().is_multiple_of(n)
    }

    /// One of `choices`.
    pub fn choose<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[(self.bits() % choices.len() as u64) as usize].clone()
    }

    /// A shape of rank `rank` with dims in `1..=high`, odd sizes included.
    pub fn shape(&mut self, rank: usize, high: usize) -> Vec<usize> {
        (0..rank).map(|_| self.size(1, high)).collect()
    }

    /// A uniform number in `low..high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// A tensor of any plain dtype with values in about `-4..4` (integers `-4..=4` or `0..=8`).
    pub fn tensor(&mut self, dtype: DType, shape: &[usize]) -> HostTensor {
        self.tensor_in(dtype, shape, -4.0, 4.0)
    }

    /// A tensor with values in `low..high`, cast to `dtype`.
    pub fn tensor_in(&mut self, dtype: DType, shape: &[usize], low: f64, high: f64) -> HostTensor {
        let n = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|_| self.uniform(low, high)).collect();
        let wide = HostTensor::from_slice(shape, &values);
        let cast = wide.and_then(|t| {
            if dtype.is_bool() {
                let bits: Vec<u8> = values.iter().map(|v| u8::from(*v > 0.0)).collect();
                HostTensor::new(DType::Bool, shape, bits)
            } else {
                t.cast(dtype)
            }
        });
        // The shape and the values agree by construction, and every plain dtype can be cast to.
        cast.unwrap_or_else(|_| HostTensor::scalar(0.0f32))
    }

    /// As [`Sampler::tensor`] with some NaN, infinities, zeros of both signs and subnormals
    /// (floats only).
    pub fn tensor_with_specials(&mut self, dtype: DType, shape: &[usize]) -> HostTensor {
        let n = shape.iter().product();
        let specials = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-40];
        let values: Vec<f32> = (0..n)
            .map(|_| {
                if self.one_in(6) {
                    self.choose(&specials)
                } else {
                    self.uniform(-4.0, 4.0) as f32
                }
            })
            .collect();
        let tensor = match dtype {
            DType::F16 => HostTensor::from_slice(
                shape,
                &values.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>(),
            ),
            DType::BF16 => HostTensor::from_slice(
                shape,
                &values
                    .iter()
                    .map(|&v| bf16::from_f32(v))
                    .collect::<Vec<_>>(),
            ),
            DType::F64 => HostTensor::from_slice(
                shape,
                &values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
            ),
            DType::F32 => HostTensor::from_slice(shape, &values),
            _ => return self.tensor(dtype, shape),
        };
        tensor.unwrap_or_else(|_| HostTensor::scalar(0.0f32))
    }

    /// Integer indices in `0..size`.
    pub fn indices(&mut self, dtype: DType, shape: &[usize], size: usize) -> HostTensor {
        let n = shape.iter().product();
        let values: Vec<i64> = (0..n).map(|_| self.int(0, size as i64 - 1)).collect();
        HostTensor::from_slice(shape, &values)
            .and_then(|t| t.cast(dtype))
            .unwrap_or_else(|_| HostTensor::scalar(0i64))
    }
}
