//! Times kernels of the executor other than the stacked matmul, beside the limits of the machine in
//! the same run.
//!
//! `cargo run --release -p gabion-cpu --example kernel_sweep -- [threads]`
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use gabion_cpu::limits::Limits;
use gabion_cpu::workers::Team;
use gabion_cpu::{CpuExecutor, CpuOptions};
use gabion_plan::*;
use gabion_tensor::*;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a kernel's speed is compared with.
enum Work {
    Flops(f64),
    Bytes(f64),
}

fn numbers(shape: &[usize]) -> Outcome<HostTensor> {
    let mut state = 1u64;
    let values = (0..shape.iter().product()).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    Ok(HostTensor::from_vec(shape, values.collect())?)
}

fn buffer(plan: &mut Plan, name: &str, shape: &[usize], place: Place) -> View {
    let shape = Shape::fixed(shape);
    plan.buffers.push(Buffer {
        name: name.into(),
        dtype: DType::F32,
        elements: shape.numel(),
        place,
    });
    let id = BufferId(plan.buffers.len() as u32 - 1);
    View::contiguous(Source::Buffer(id), shape)
}

/// The least time of one kernel call, in seconds: what else runs on the machine only adds to it.
fn time(
    executor: &CpuExecutor,
    kernel: Kernel,
    inputs: &[HostTensor],
    result: &[usize],
) -> Outcome<f64> {
    let mut plan = Plan {
        name: "sweep".into(),
        target: "cpu".into(),
        inputs: vec![],
        outputs: vec![],
        relations: Relations::default(),
        guards: vec![],
        weights: vec![],
        buffers: vec![],
        steps: vec![],
    };
    let mut reads = Vec::new();
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    for (index, (name, tensor)) in names.iter().zip(inputs).enumerate() {
        let mut view = buffer(&mut plan, name, tensor.shape(), Place::Input(index));
        let ty = TensorType::of(tensor);
        plan.buffers[index].dtype = ty.dtype;
        plan.inputs.push(PlanInput {
            name: name.clone(),
            ty,
            buffer: BufferId(index as u32),
            donated: false,
        });
        // Masks `[b, 1, 1, keys]` for all heads and queries.
        if let (Kernel::Attention(_), 3) = (&kernel, index) {
            let (b, keys) = (tensor.shape()[0], tensor.shape()[3]);
            view.shape = Shape::fixed(&[b, inputs[0].shape()[2], inputs[0].shape()[1], keys]);
            view.strides[1] = Dim::from(0);
            view.strides[2] = Dim::from(0);
        }
        reads.push(view);
    }
    let live = Lifetime { first: 0, last: 1 };
    let place = Place::Arena {
        offset: Dim::from(0),
        live,
    };
    let y = buffer(&mut plan, "y", result, place);
    plan.outputs.push(PlanOutput {
        name: "y".into(),
        ty: TensorType::new(DType::F32, y.shape.clone()),
        view: y.clone(),
    });
    plan.steps.push(Step {
        kernel,
        reads,
        writes: vec![y],
        scope: String::new(),
    });
    let loaded = executor.load_cpu(Arc::new(plan), &BTreeMap::new())?;
    let mut session = loaded.cpu_session(&Bindings::new())?;
    let given: Vec<InputRef<'_>> = names
        .iter()
        .zip(inputs)
        .map(|(name, t)| InputRef {
            name,
            dtype: t.dtype(),
            shape: t.shape(),
            bytes: t.bytes(),
        })
        .collect();
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || (start.elapsed().as_secs_f64() < 1.0 && times.len() < 2000) {
        let start = Instant::now();
        session.execute(&given)?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[0])
}

fn map(op: MapOp, reads: usize) -> Kernel {
    Kernel::Map(MapProgram {
        reads,
        instrs: vec![MapInstr {
            op,
            args: (0..reads as u16).collect(),
            dtype: DType::F32,
        }],
        results: vec![reads as u16],
    })
}

fn attention(causal: bool, mask: bool) -> Kernel {
    Kernel::Attention(Attention {
        scale: 0.125,
        causal,
        mask,
        position: false,
    })
}

/// A name, a kernel, its operands, the shape of its result, and its work.
type Case = (&'static str, Kernel, Vec<HostTensor>, Vec<usize>, Work);

fn cases() -> Outcome<Vec<Case>> {
    let big = 1 << 24;
    let heads = |tokens, heads| numbers(&[tokens, heads, 64]);
    let norm = Kernel::Norm(NormSpec {
        kind: NormKind::Rms,
        eps: 1e-5,
    });
    let sum = |axis| Kernel::Reduce {
        func: ReduceFn::Sum,
        axes: vec![axis],
    };
    let visible = HostTensor::full(&[8, 1, 1, 128], Bool::TRUE)?;
    let bert = numbers(&[8, 128, 12, 32])?;
    let batched = Kernel::BatchMatmul(BatchMatmul {});
    Ok(vec![
        (
            "add 16 M",
            map(MapOp::Binary(BinaryFn::Add), 2),
            vec![numbers(&[big])?, numbers(&[big])?],
            vec![big],
            Work::Bytes(12.0 * big as f64),
        ),
        (
            "add 64 k",
            map(MapOp::Binary(BinaryFn::Add), 2),
            vec![numbers(&[1 << 16])?, numbers(&[1 << 16])?],
            vec![1 << 16],
            Work::Bytes(12.0 * 65536.0),
        ),
        (
            "gelu_erf 1 M",
            map(MapOp::Unary(UnaryFn::GeluErf), 1),
            vec![numbers(&[1 << 20])?],
            vec![1 << 20],
            Work::Bytes(8.0 * 1048576.0),
        ),
        (
            "sum of 16 M",
            sum(0),
            vec![numbers(&[big])?],
            vec![1],
            Work::Bytes(4.0 * big as f64),
        ),
        (
            "sum of columns 4096 x 4096",
            sum(0),
            vec![numbers(&[4096, 4096])?],
            vec![1, 4096],
            Work::Bytes(4.0 * big as f64),
        ),
        (
            "softmax 4608 x 512",
            Kernel::Softmax {
                axis: 1,
                log: false,
            },
            vec![numbers(&[4608, 512])?],
            vec![4608, 512],
            Work::Bytes(8.0 * 4608.0 * 512.0),
        ),
        (
            "rms_norm 512 x 576",
            norm,
            vec![numbers(&[512, 576])?, numbers(&[576])?],
            vec![512, 576],
            Work::Bytes(8.0 * 512.0 * 576.0),
        ),
        (
            "batch_matmul 1024^3",
            batched.clone(),
            vec![numbers(&[1024, 1024])?, numbers(&[1024, 1024])?],
            vec![1024, 1024],
            Work::Flops(2.0 * 1024f64.powi(3)),
        ),
        (
            "batch_matmul 96 x 128 x 128 x 32",
            batched,
            vec![numbers(&[96, 128, 32])?, numbers(&[96, 32, 128])?],
            vec![96, 128, 128],
            Work::Flops(2.0 * 96.0 * 128.0 * 128.0 * 32.0),
        ),
        (
            "attention prefill 512, 9/3 x 64",
            attention(true, false),
            vec![heads(512, 9)?, heads(512, 3)?, heads(512, 3)?],
            vec![512, 9, 64],
            Work::Flops(2.0 * 512.0 * 512.0 * 9.0 * 64.0),
        ),
        (
            "attention prefill 2048, 9/3 x 64",
            attention(true, false),
            vec![heads(2048, 9)?, heads(2048, 3)?, heads(2048, 3)?],
            vec![2048, 9, 64],
            Work::Flops(2.0 * 2048.0 * 2048.0 * 9.0 * 64.0),
        ),
        (
            "attention encode 8 x 128, 12 x 32",
            attention(false, true),
            vec![bert.clone(), bert.clone(), bert, visible],
            vec![8, 128, 12, 32],
            Work::Flops(4.0 * 8.0 * 128.0 * 128.0 * 12.0 * 32.0),
        ),
        (
            "attention decode 256, 9/3 x 64",
            attention(true, false),
            vec![heads(1, 9)?, heads(256, 3)?, heads(256, 3)?],
            vec![1, 9, 64],
            Work::Bytes(8.0 * 256.0 * 192.0),
        ),
        (
            "attention decode 2048, 9/3 x 64",
            attention(true, false),
            vec![heads(1, 9)?, heads(2048, 3)?, heads(2048, 3)?],
            vec![1, 9, 64],
            Work::Bytes(8.0 * 2048.0 * 192.0),
        ),
        (
            "attention decode 65536, 9/3 x 64",
            attention(true, false),
            vec![heads(1, 9)?, heads(65536, 3)?, heads(65536, 3)?],
            vec![1, 9, 64],
            Work::Bytes(8.0 * 65536.0 * 192.0),
        ),
    ])
}

fn main() -> Outcome<()> {
    let threads = match std::env::args().nth(1) {
        Some(n) => n.parse()?,
        None => std::thread::available_parallelism()?.get(),
    };
    let limits = Limits::measure(&Team::new(threads)?)?;
    println!(
        "{threads} threads: {:.0} GFLOP/s f32, DRAM {:.1} GB/s, L3 {:.0} GB/s, barrier {:.0} ns",
        limits.f32_gflops, limits.dram_gbs, limits.l3_gbs, limits.barrier_ns
    );
    let executor = CpuExecutor::new(CpuOptions {
        threads: Some(threads),
        isa: None,
    })?;
    for (name, kernel, inputs, result, work) in cases()? {
        let seconds = time(&executor, kernel, &inputs, &result)?;
        match work {
            Work::Flops(flops) => {
                let rate = flops / seconds / 1e9;
                println!(
                    "{name:36} {:9.1} us {rate:7.1} GFLOP/s {:4.0} %",
                    seconds * 1e6,
                    100.0 * rate / limits.f32_gflops
                );
            }
            Work::Bytes(bytes) => {
                let rate = bytes / seconds / 1e9;
                println!(
                    "{name:36} {:9.1} us {rate:7.1} GB/s    {:4.0} % of DRAM",
                    seconds * 1e6,
                    100.0 * rate / limits.dram_gbs
                );
            }
        }
    }
    Ok(())
}
