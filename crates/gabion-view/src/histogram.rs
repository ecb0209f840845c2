//! How the values of rows of a stored tensor are spread.

use std::collections::BTreeMap;

use gabion_plan::{Part, PartSource, Plan, Transform};
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

/// What a part takes from a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taken {
    /// The tensor's name.
    pub tensor: String,
    /// The first of its rows, counted after what loading does.
    pub first: usize,
    /// The row after the last.
    pub end: usize,
    /// Loading transposes it: its rows are stored as columns.
    pub turned: bool,
}

impl Taken {
    /// Of a part that comes from a tensor.
    pub fn of(part: &Part) -> Option<Self> {
        let PartSource::Checkpoint(name) = &part.source else {
            return None;
        };
        Some(Self {
            tensor: name.clone(),
            first: part.rows.start,
            end: part.rows.end,
            turned: part.recipe.contains(&Transform::Transpose),
        })
    }
}

/// Values above which not every block is counted.
const MOST_VALUES: usize = 1 << 20;

impl Histogram {
    /// Into how many parts a range is divided.
    pub const BINS: usize = 64;

    /// Counts the values of the rows that a part takes, as they are stored; only every n-th block where there are very many.
    ///
    /// # Errors
    /// None for a tensor that could be made.
    pub fn of(tensor: &HostTensor, part: &Part) -> Result<Self, TensorError> {
        let (values, step) = sample(tensor, part, MOST_VALUES)?;
        Ok(Self::of_values(&values, Self::BINS, step))
    }

    /// The histograms of all that a plan's weights take from tensors; of those that `load` gives, each loaded once.
    pub fn of_plan(
        plan: &Plan,
        load: impl Fn(&str) -> Option<HostTensor>,
    ) -> BTreeMap<Taken, Self> {
        let mut wanted: BTreeMap<String, BTreeMap<Taken, &Part>> = BTreeMap::new();
        for part in plan.weights.iter().flat_map(|weight| &weight.parts) {
            if let Some(taken) = Taken::of(part) {
                let of_tensor = wanted.entry(taken.tensor.clone()).or_default();
                of_tensor.entry(taken).or_insert(part);
            }
        }
        let mut all = BTreeMap::new();
        for (name, parts) in wanted {
            let Some(tensor) = load(&name) else {
                continue;
            };
            let counted = parts.into_iter();
            all.extend(
                counted.filter_map(|(taken, part)| Some((taken, Self::of(&tensor, part).ok()?))),
            );
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

/// The values of every n-th block of a part's rows, so that there are not many more than `most`, and n. Only those are
/// decoded.
fn sample(tensor: &HostTensor, part: &Part, most: usize) -> Result<(Vec<f32>, usize), TensorError> {
    let dtype = tensor.dtype();
    let (elems, size) = (dtype.block_elems().max(1), dtype.block_bytes().max(1));
    let shapes = shapes(tensor, part);
    let columns = shapes.last().map_or(1, |it| it.iter().skip(1).product());
    let all = tensor.bytes().len() / size * elems;
    let end = part.rows.end.saturating_mul(columns).min(all);
    let start = part.rows.start.saturating_mul(columns).min(end);
    let turned = part.recipe.contains(&Transform::Transpose);
    // Of rows that are stored as columns, every element may lie in a block of its own.
    let (first, last) = match turned {
        true => (start, end),
        false => (start / elems, end.div_ceil(elems)),
    };
    // An odd step does not fall into step with rows.
    let step = ((last - first).saturating_mul(elems) / most) | 1;
    let chosen = (first..last).step_by(step);
    let place = |at: usize| match turned {
        true => stored_at(part, &shapes, at).min(all - 1),
        false => at * elems,
    };
    let n = chosen.len();
    let mut kept = Vec::with_capacity(n * size);
    for at in chosen.clone() {
        let block = place(at) / elems;
        kept.extend_from_slice(&tensor.bytes()[block * size..(block + 1) * size]);
    }
    let values = HostTensor::new(dtype, &[n * elems], kept)?.to_f32_vec()?;
    if !turned {
        return Ok((values, step));
    }
    let own = chosen.enumerate();
    let own = own.map(|(block, at)| values[block * elems + place(at) % elems]);
    Ok((own.collect(), step))
}

/// The shape of a tensor before each transform of a part, and the last.
fn shapes(tensor: &HostTensor, part: &Part) -> Vec<Vec<usize>> {
    let mut shape = tensor.shape().to_vec();
    let mut shapes = vec![shape.clone()];
    for transform in &part.recipe {
        match transform {
            Transform::Cast { .. } | Transform::Clamp { .. } => {}
            Transform::Transpose => shape.reverse(),
            Transform::Reshape { shape: to } => shape.clone_from(to),
        }
        shapes.push(shape.clone());
    }
    shapes
}

/// Which stored element is number `at` after the recipe.
fn stored_at(part: &Part, shapes: &[Vec<usize>], at: usize) -> usize {
    let done = part.recipe.iter().zip(shapes).rev();
    done.fold(at, |at, (transform, before)| {
        match (transform, before.as_slice()) {
            (Transform::Transpose, &[rows, columns]) if rows > 0 => at % rows * columns + at / rows,
            _ => at,
        }
    })
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
            let part = part("f32[100, 32]", 0..100, vec![]);
            let (all, step) = sample(&tensor, &part, 10_000).expect("values");
            assert_eq!((all.len(), step), (3200, 1), "{dtype}");
            let (some, step) = sample(&tensor, &part, 640).expect("values");
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

    fn part(stored: &str, rows: std::ops::Range<usize>, recipe: Vec<Transform>) -> Part {
        Part {
            source: PartSource::Checkpoint("w".to_owned()),
            stored: stored.parse().expect("a type"),
            recipe,
            rows,
        }
    }

    #[test]
    fn only_the_rows_that_a_part_takes_are_counted() {
        let values: Vec<f32> = (0..4 * 64).map(|at| (at / 64) as f32).collect();
        for dtype in [DType::F32, DType::BF16, DType::Block(BlockFormat::Q4_0)] {
            let tensor = HostTensor::from_vec(&[4, 64], values.clone()).expect("a tensor");
            let tensor = tensor.cast(dtype).expect("encoded");
            let rows = part("f32[4, 64]", 1..3, vec![]);
            let histogram = Histogram::of(&tensor, &rows).expect("a histogram");
            assert_eq!(histogram.range, (1.0, 2.0), "{dtype}");
            assert_eq!(histogram.bins.iter().sum::<u32>(), 128, "{dtype}");
            // Rows beyond the tensor are none.
            let beyond = part("f32[4, 64]", 3..9, vec![]);
            let histogram = Histogram::of(&tensor, &beyond).expect("a histogram");
            assert_eq!(histogram.bins.iter().sum::<u32>(), 64, "{dtype}");
        }
    }

    #[test]
    fn rows_that_are_stored_as_columns_are_found() {
        let values: Vec<f32> = (0..4 * 64).map(|at| (at % 64) as f32).collect();
        let tensor = HostTensor::from_vec(&[4, 64], values).expect("a tensor");
        for dtype in [DType::F32, DType::Block(BlockFormat::Q8_0)] {
            let tensor = tensor.cast(dtype).expect("encoded");
            let columns = part("f32[4, 64]", 10..12, vec![Transform::Transpose]);
            let (found, _) = sample(&tensor, &columns, 10_000).expect("values");
            assert_eq!(found.len(), 8, "{dtype}");
            let near = |it: &f32, to: f32| (it - to).abs() < 0.3;
            assert!(found[..4].iter().all(|it| near(it, 10.0)), "{found:?}");
            assert!(found[4..].iter().all(|it| near(it, 11.0)), "{found:?}");
        }
    }

    #[test]
    fn a_plan_takes_each_range_of_rows_once() {
        let (a, b) = (
            part("f32[4, 64]", 0..2, vec![]),
            part("f32[4, 64]", 2..4, vec![]),
        );
        let turned = part("f32[4, 64]", 0..2, vec![Transform::Transpose]);
        let taken = |part: &Part| Taken::of(part).expect("of a tensor");
        assert_ne!(taken(&a), taken(&b));
        assert_ne!(taken(&a), taken(&turned));
        assert_eq!(taken(&a), taken(&a.clone()));
    }
}
