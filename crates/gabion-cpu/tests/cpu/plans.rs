//! Small plans by hand, and a way to run one kernel on operands of any layout with several numbers
//! of threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use gabion_cpu::isa::Isa;
use gabion_cpu::{CpuExecutor, CpuOptions, CpuSession};
use gabion_plan::*;
use gabion_tensor::{Bindings, DType, Dim, HostTensor, Relations, Shape, TensorType};

/// How an operand lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row-major.
    Plain,
    /// Axes in the opposite order.
    Transposed,
    /// Every axis from its end.
    Reversed,
    /// Room between elements and rows, and an offset.
    Gaps,
    /// One element (or row) for all: axes on which the tensor is constant have stride 0.
    Broadcast,
}

pub(crate) const ORDERS: [Order; 4] = [
    Order::Plain,
    Order::Transposed,
    Order::Reversed,
    Order::Gaps,
];

/// A plan under construction.
pub(crate) struct Planner {
    pub(crate) plan: Plan,
    arena: usize,
}

pub(crate) fn row_major(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as i64;
    }
    strides
}

impl Planner {
    pub(crate) fn new() -> Planner {
        Planner {
            plan: Plan {
                name: "test".into(),
                target: "cpu".into(),
                inputs: vec![],
                outputs: vec![],
                relations: Relations::default(),
                guards: vec![],
                weights: vec![],
                buffers: vec![],
                steps: vec![],
            },
            arena: 0,
        }
    }

    fn push(&mut self, name: &str, dtype: DType, elements: Dim, place: Place) -> BufferId {
        self.plan.buffers.push(Buffer {
            name: name.into(),
            dtype,
            elements,
            place,
        });
        BufferId(self.plan.buffers.len() as u32 - 1)
    }

    pub(crate) fn input(&mut self, name: &str, ty: &str, donated: bool) -> View {
        let ty: TensorType = ty.parse().unwrap();
        let buffer = self.push(
            name,
            ty.dtype,
            ty.shape.numel(),
            Place::Input(self.plan.inputs.len()),
        );
        self.plan.inputs.push(PlanInput {
            name: name.into(),
            ty: ty.clone(),
            buffer,
            donated,
        });
        View::contiguous(Source::Buffer(buffer), ty.shape)
    }

    /// A buffer of the arena, behind those before.
    pub(crate) fn buffer(&mut self, dtype: DType, elements: usize) -> BufferId {
        let offset = Dim::from(self.arena);
        let bytes = elements.div_ceil(dtype.block_elems()) * dtype.block_bytes();
        self.arena += bytes.next_multiple_of(64);
        let live = Lifetime {
            first: 0,
            last: 1000,
        };
        self.push(
            "buffer",
            dtype,
            Dim::from(elements),
            Place::Arena { offset, live },
        )
    }

    pub(crate) fn result(&mut self, dtype: DType, shape: &[usize]) -> View {
        let buffer = self.buffer(dtype, shape.iter().product());
        View::contiguous(Source::Buffer(buffer), Shape::fixed(shape))
    }

    pub(crate) fn step(&mut self, kernel: Kernel, reads: Vec<View>, writes: Vec<View>) {
        self.plan.steps.push(Step {
            kernel,
            reads,
            writes,
            scope: format!("test.{}", self.plan.steps.len()),
        });
    }

    pub(crate) fn output(&mut self, name: &str, view: &View) {
        let ty = TensorType::new(self.plan.dtype(view), view.shape.clone());
        self.plan.outputs.push(PlanOutput {
            name: name.into(),
            ty,
            view: view.clone(),
        });
    }

    pub(crate) fn weight(&mut self, weight: PlanWeight) -> WeightId {
        self.plan.weights.push(weight);
        WeightId(self.plan.weights.len() as u32 - 1)
    }

    pub(crate) fn session(
        &self,
        threads: usize,
        isa: Option<Isa>,
        weights: &BTreeMap<String, HostTensor>,
    ) -> CpuSession {
        self.try_session(threads, isa, weights, &Bindings::new())
            .unwrap()
    }

    pub(crate) fn try_session(
        &self,
        threads: usize,
        isa: Option<Isa>,
        weights: &BTreeMap<String, HostTensor>,
        sizes: &Bindings,
    ) -> Result<CpuSession, RunError> {
        let loaded = executor(threads, isa)
            .load_cpu(Arc::new(self.plan.clone()), weights)
            .unwrap();
        loaded.cpu_session(sizes)
    }
}

/// Executors by number of threads and instruction set.
type Executors = BTreeMap<(usize, Option<Isa>), &'static CpuExecutor>;

/// Executors are shared by tests: their workers are threads.
pub(crate) fn executor(threads: usize, isa: Option<Isa>) -> &'static CpuExecutor {
    static ALL: OnceLock<Mutex<Executors>> = OnceLock::new();
    let mut all = ALL.get_or_init(Default::default).lock().unwrap();
    all.entry((threads, isa)).or_insert_with(|| {
        let options = CpuOptions {
            threads: Some(threads),
            isa,
        };
        Box::leak(Box::new(CpuExecutor::new(options).unwrap()))
    })
}

/// An operand of one kernel call.
#[derive(Clone)]
pub(crate) struct Operand {
    pub(crate) tensor: HostTensor,
    pub(crate) order: Order,
}

pub(crate) fn plain(tensor: HostTensor) -> Operand {
    Operand {
        tensor,
        order: Order::Plain,
    }
}

/// Offset, strides and elements of a layout.
pub(crate) fn lay_out(
    tensor_shape: &[usize],
    order: Order,
    constant: &dyn Fn(usize) -> bool,
) -> (i64, Vec<i64>, usize) {
    let shape = tensor_shape;
    let numel: usize = shape.iter().product();
    match order {
        Order::Plain => (0, row_major(shape), numel),
        Order::Transposed => {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            let strides = row_major(&reversed).into_iter().rev().collect();
            (0, strides, numel)
        }
        Order::Reversed => {
            let strides: Vec<i64> = row_major(shape).into_iter().map(|s| -s).collect();
            (numel.saturating_sub(1) as i64, strides, numel)
        }
        Order::Gaps => {
            let wide: Vec<usize> = shape.iter().map(|n| n + 1).collect();
            let strides: Vec<i64> = row_major(&wide).into_iter().map(|s| 2 * s).collect();
            (3, strides, 2 * wide.iter().product::<usize>() + 3)
        }
        Order::Broadcast => {
            let kept: Vec<usize> = shape
                .iter()
                .enumerate()
                .map(|(a, &n)| if constant(a) { 1 } else { n })
                .collect();
            let strides = row_major(&kept);
            let strides = (0..shape.len())
                .map(|a| if constant(a) { 0 } else { strides[a] })
                .collect();
            (0, strides, kept.iter().product())
        }
    }
}

/// All indices of a shape in row-major order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in shape {
        all = all
            .into_iter()
            .flat_map(|index| {
                (0..size).map(move |i| {
                    let mut index = index.clone();
                    index.push(i);
                    index
                })
            })
            .collect();
    }
    all
}

/// Whether elements are equal along an axis, bit for bit.
fn is_constant(tensor: &HostTensor, axis: usize) -> bool {
    let (strides, size) = (row_major(tensor.shape()), tensor.dtype().block_bytes());
    let at = |index: &[usize]| {
        index
            .iter()
            .zip(&strides)
            .map(|(&i, &s)| i * s as usize)
            .sum::<usize>()
            * size
    };
    indices(tensor.shape()).iter().all(|index| {
        let mut first = index.clone();
        first[axis] = 0;
        tensor.bytes()[at(index)..][..size] == tensor.bytes()[at(&first)..][..size]
    })
}

/// Stores a tensor's elements in a buffer by a layout; the view, and the buffer's contents.
fn stored(planner: &mut Planner, name: &str, operand: &Operand) -> (View, HostTensor) {
    let (tensor, size) = (&operand.tensor, operand.tensor.dtype().block_bytes());
    if tensor.dtype().is_block() {
        assert_eq!(operand.order, Order::Plain);
        let ty = TensorType::of(tensor);
        return (planner.input(name, &ty.to_string(), false), tensor.clone());
    }
    let (offset, strides, elements) = lay_out(tensor.shape(), operand.order, &|axis| {
        is_constant(tensor, axis)
    });
    let mut bytes = vec![0u8; elements * size];
    for (i, index) in indices(tensor.shape()).iter().enumerate() {
        let at = offset
            + index
                .iter()
                .zip(&strides)
                .map(|(&i, &s)| i as i64 * s)
                .sum::<i64>();
        bytes[at as usize * size..][..size].copy_from_slice(&tensor.bytes()[i * size..][..size]);
    }
    let whole = planner.input(name, &format!("{}[{elements}]", tensor.dtype()), false);
    let view = View {
        source: whole.source,
        offset: Dim::from(offset),
        shape: Shape::fixed(tensor.shape()),
        strides: strides.into_iter().map(Dim::from).collect(),
    };
    (
        view,
        HostTensor::new(tensor.dtype(), &[elements], bytes).unwrap(),
    )
}

/// The numbers of threads that tests run with; 3 is more than some machines have.
pub(crate) const THREADS: [usize; 3] = [1, 2, 3];

/// Runs one kernel on operands; every number of threads has to give the same bits. Results are
/// written by `write_order`, and read back in row-major order.
pub(crate) fn run_kernel(
    kernel: Kernel,
    operands: &[Operand],
    results: &[(DType, Vec<usize>)],
    write_order: Order,
) -> Result<Vec<HostTensor>, RunError> {
    let mut planner = Planner::new();
    let (mut reads, mut inputs) = (Vec::new(), Vec::new());
    for (i, operand) in operands.iter().enumerate() {
        let (view, tensor) = stored(&mut planner, &format!("x{i}"), operand);
        reads.push(view);
        inputs.push((format!("x{i}"), tensor));
    }
    let mut writes = Vec::new();
    for (i, (dtype, shape)) in results.iter().enumerate() {
        let view = if dtype.is_block() {
            planner.result(*dtype, shape)
        } else {
            let (offset, strides, elements) = lay_out(shape, write_order, &|_| false);
            View {
                source: Source::Buffer(planner.buffer(*dtype, elements)),
                offset: Dim::from(offset),
                shape: Shape::fixed(shape),
                strides: strides.into_iter().map(Dim::from).collect(),
            }
        };
        planner.output(&format!("y{i}"), &view);
        writes.push(view);
    }
    planner.step(kernel, reads, writes);
    let mut first: Option<Vec<HostTensor>> = None;
    for threads in THREADS {
        let mut session = planner.session(threads, None, &BTreeMap::new());
        let given: Vec<(&str, &HostTensor)> =
            inputs.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let found: Vec<HostTensor> = session.run(&given)?.into_iter().map(|(_, t)| t).collect();
        match &first {
            None => first = Some(found),
            Some(first) => {
                for (a, b) in first.iter().zip(&found) {
                    assert!(a.bitwise_eq(b), "{threads} threads give other bits");
                }
            }
        }
    }
    Ok(first.unwrap())
}

/// Numbers that look random and are the same on every machine.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From -1 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() >> 33) as usize % n
    }

    pub(crate) fn f32s(&mut self, shape: &[usize]) -> HostTensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.unit()).collect();
        HostTensor::from_vec(shape, values).unwrap()
    }

    /// Numbers of any dtype: floats with fractions, small integers, bools.
    pub(crate) fn tensor(&mut self, dtype: DType, shape: &[usize]) -> HostTensor {
        let scale = if dtype.is_float() || dtype.is_block() {
            4.0
        } else {
            60.0
        };
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                let x = self.unit() * scale;
                if dtype.is_unsigned_int() {
                    x.abs()
                } else if dtype.is_bool() {
                    f32::from(u8::from(x > 0.0))
                } else {
                    x
                }
            })
            .collect();
        HostTensor::from_vec(shape, values)
            .unwrap()
            .cast(dtype)
            .unwrap()
    }

    pub(crate) fn ints(&mut self, shape: &[usize], below: usize) -> HostTensor {
        let values: Vec<i64> = (0..shape.iter().product())
            .map(|_| self.below(below) as i64)
            .collect();
        HostTensor::from_vec(shape, values).unwrap()
    }
}

/// Fails unless every element is within `tolerance` (absolute and relative), or equal in kind.
pub(crate) fn assert_close(found: &HostTensor, expected: &[f64], tolerance: f64, what: &str) {
    let found = found.to_f64_vec().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        let close =
            (f.is_nan() && e.is_nan()) || f == e || (f - e).abs() <= tolerance * (1.0 + e.abs());
        assert!(close, "{what}: element {i} is {f}, expected {e}");
    }
}

/// Fails unless all bits are equal; NaNs of any bits are equal.
pub(crate) fn assert_same(found: &HostTensor, expected: &HostTensor, what: &str) {
    assert_eq!(found.dtype(), expected.dtype(), "{what}");
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let size = found.dtype().block_bytes();
    if found.dtype().is_float() {
        let (f, e) = (found.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
        for (i, (f, e)) in f.iter().zip(&e).enumerate() {
            assert!(
                f.to_bits() == e.to_bits() || (f.is_nan() && e.is_nan()),
                "{what}: element {i} is {f}, expected {e}"
            );
        }
        return;
    }
    for (i, (f, e)) in found
        .bytes()
        .chunks(size)
        .zip(expected.bytes().chunks(size))
        .enumerate()
    {
        assert_eq!(f, e, "{what}: element {i}");
    }
}
