//! How the values of a stored tensor are spread.

use std::collections::BTreeMap;

use gabion_plan::{PartSource, Plan};
use gabion_tensor::{HostTensor, TensorError};

/// How often values lie where.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The smallest and the largest finite value.
    pub range: (f32, f32),
    /// The mean and the standard deviation of the finite values.
    pub mean: (f32, f32),
    /// How many values lie in each of the equal parts of the range.
    pub bins: Vec<u32>,
    /// How many are not finite.
    pub not_finite: u32,
    /// One in so many blocks of the format was counted; 1 for all of them.
    pub step: usize,
}

/// Values above which not every block is counted.
const MOST_VALUES: usize = 1 << 20;

impl Histogram {
    /// Into how many parts a range is divided.
    pub const BINS: usize = 64;

    /// Counts the values of a tensor; only every n-th block where there are very many.
    ///
    /// # Errors
    /// None for a tensor that could be made.
    pub fn of(tensor: &HostTensor) -> Result<Self, TensorError> {
        let (values, step) = sample(tensor, MOST_VALUES)?;
        Ok(Self::of_values(&values, Self::BINS, step))
    }

    /// The histograms of all tensors that a plan's weights are made of, by name; of those that `load` gives.
    pub fn of_plan(
        plan: &Plan,
        load: impl Fn(&str) -> Option<HostTensor>,
    ) -> BTreeMap<String, Self> {
        let mut all = BTreeMap::new();
        for part in plan.weights.iter().flat_map(|weight| &weight.parts) {
            let PartSource::Checkpoint(name) = &part.source else {
                continue;
            };
            if !all.contains_key(name)
                && let Some(histogram) = load(name).and_then(|tensor| Self::of(&tensor).ok())
            {
                all.insert(name.clone(), histogram);
            }
        }
        all
    }

    fn of_values(values: &[f32], bins: usize, step: usize) -> Self {
        let finite = values.iter().copied().filter(|v| v.is_finite());
        let n = finite.clone().count();
        let range = finite
            .clone()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        let range = if n == 0 { (0.0, 0.0) } else { range };
        let mean = finite.clone().map(f64::from).sum::<f64>() / n.max(1) as f64;
        let spread = finite
            .clone()
            .map(|v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n.max(1) as f64;
        let mut counts = vec![0; bins.max(1)];
        // In f64: the range of finite f32 may be wider than f32 can say.
        let width = f64::from(range.1) - f64::from(range.0);
        for v in finite {
            let at = if width > 0.0 {
                (f64::from(v) - f64::from(range.0)) / width * counts.len() as f64
            } else {
                0.0
            };
            let last = counts.len() - 1;
            counts[(at as usize).min(last)] += 1;
        }
        Self {
            range,
            mean: (mean as f32, spread.sqrt() as f32),
            bins: counts,
            not_finite: (values.len() - n) as u32,
            step,
        }
    }
}

/// The values of every n-th block, so that there are not many more than `most`, and n. Only those are decoded.
fn sample(tensor: &HostTensor, most: usize) -> Result<(Vec<f32>, usize), TensorError> {
    let dtype = tensor.dtype();
    let bytes = tensor.bytes();
    let blocks = bytes.len() / dtype.block_bytes().max(1);
    // An odd step does not fall into step with rows.
    let step = (blocks * dtype.block_elems() / most) | 1;
    if step == 1 {
        return Ok((tensor.to_f32_vec()?, 1));
    }
    let chosen = bytes.chunks_exact(dtype.block_bytes()).step_by(step);
    let n = chosen.len();
    let mut kept = Vec::with_capacity(n * dtype.block_bytes());
    for block in chosen {
        kept.extend_from_slice(block);
    }
    let values = HostTensor::new(dtype, &[n * dtype.block_elems()], kept)?.to_f32_vec()?;
    Ok((values, step))
}

#[cfg(test)]
mod tests {
    use gabion_tensor::{BlockFormat, DType};

    use super::*;

    #[test]
    fn every_finite_value_is_counted_once() {
        let values = [-1.0, -0.5, 0.0, 0.5, 1.0, f32::NAN, f32::INFINITY];
        let histogram = Histogram::of_values(&values, 4, 1);
        assert_eq!(histogram.range, (-1.0, 1.0));
        assert_eq!(histogram.bins, [1, 1, 1, 2]);
        assert_eq!(histogram.not_finite, 2);
        assert_eq!(histogram.mean.0, 0.0);
        assert_eq!(Histogram::of_values(&[], 3, 1).bins, [0, 0, 0]);
        assert_eq!(Histogram::of_values(&[2.0; 5], 3, 1).bins, [5, 0, 0]);
        let widest = Histogram::of_values(&[f32::MIN, 0.0, f32::MAX], 3, 1);
        assert_eq!(widest.bins, [1, 1, 1]);
    }

    #[test]
    fn of_very_many_values_whole_blocks_are_counted() {
        let values: Vec<f32> = (0..32 * 100).map(|at| (at / 32) as f32).collect();
        for dtype in [DType::F32, DType::F16, DType::Block(BlockFormat::Q8_0)] {
            let tensor = HostTensor::from_vec(&[100, 32], values.clone()).expect("a tensor");
            let tensor = tensor.cast(dtype).expect("encoded");
            let (all, step) = sample(&tensor, 10_000).expect("values");
            assert_eq!((all.len(), step), (3200, 1), "{dtype}");
            let (some, step) = sample(&tensor, 640).expect("values");
            assert_eq!(step, 5, "{dtype}");
            let wanted: Vec<f32> = all
                .chunks(dtype.block_elems())
                .step_by(5)
                .flatten()
                .copied()
                .collect();
            assert_eq!(some, wanted, "{dtype}");
        }
    }
}
