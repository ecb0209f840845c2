//! Times the matmul over shapes and formats, beside the limits of the machine in the same run.
//!
//! `cargo run --release -p gabion-cpu --example matmul_sweep -- [threads] [shape|token] [format ..]`
//!
//! `shape` (the default) sweeps rows over two layer shapes; `token` streams all the weights of a
//! 134 M parameter decoder once, as one generated token does.

#![allow(unsafe_code, clippy::print_stdout)]

use gabion_cpu::isa::Isa;
use gabion_cpu::kernels::matmul::{
    Columns, Form, Kernels, Matmul, Output, Rows, Scratch, Segment, matmul,
};
use gabion_cpu::limits::Limits;
use gabion_cpu::pack::{PackedWeight, Part, StoredRows, WeightFormat, plain_tiles};
use gabion_cpu::workers::Team;
use std::error::Error;
use std::time::Instant;

/// One weight, its operands, and a place for the result.
struct Layer {
    weight: PackedWeight,
    columns: Columns,
    x: Vec<f32>,
    y: Vec<f32>,
    n: usize,
}

/// Lets the team see what points at memory that outlives the run.
struct Shared<T>(T);
// SAFETY: workers write disjoint parts of the outputs, and the vectors live until the run is over.
unsafe impl<T> Sync for Shared<T> {}

impl Layer {
    fn new(
        team: &Team,
        format: WeightFormat,
        m: usize,
        n: usize,
        k: usize,
    ) -> Result<Layer, Box<dyn Error>> {
        let size = format
            .row_bytes(k)
            .ok_or("k is no whole number of blocks")?
            * n;
        let bytes = stored(format, size);
        let source = StoredRows {
            format,
            rows: n,
            bytes: &bytes,
        };
        Ok(Layer {
            weight: PackedWeight::pack(team, k, &[Part::plain(source)])?,
            columns: Columns::by_row(&plain_tiles(n), None),
            x: (0..m * k)
                .map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0)
                .collect(),
            y: vec![0.0; m * n],
            n,
        })
    }

    fn segment(&self) -> Segment<'_> {
        Segment {
            tiles: self.weight.part_tiles(0),
            columns: &self.columns,
            scale: None,
            bias: None,
            form: Form::Plain {
                activation: None,
                residual: None,
            },
            out: Output::rows(self.y.as_ptr().cast_mut(), self.n),
        }
    }

    fn matmul<'a>(&'a self, segments: &'a [Segment<'a>]) -> Matmul<'a> {
        let k = self.weight.k();
        Matmul {
            x: Rows {
                ptr: self.x.as_ptr(),
                rows: self.x.len() / k,
                row_stride: k,
            },
            weight: &self.weight,
            segments,
        }
    }
}

/// Stored bytes with ordinary scales.
fn stored(format: WeightFormat, size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = vec![0; size];
    bytes.fill_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    let (step, at, value): (usize, usize, &[u8]) = match format {
        WeightFormat::F32 => (4, 2, &[0x00, 0x3f]),
        WeightFormat::F16 => (2, 1, &[0x38]),
        WeightFormat::Bf16 => (2, 1, &[0x3f]),
        WeightFormat::Q4_1 | WeightFormat::Q5_1 => {
            (format.block_bytes(), 0, &[0x00, 0x1c, 0x00, 0x9c])
        }
        WeightFormat::Q4_0 | WeightFormat::Q5_0 | WeightFormat::Q8_0 => {
            (format.block_bytes(), 0, &[0x00, 0x1c])
        }
    };
    for block in bytes.chunks_exact_mut(step) {
        block[at..at + value.len()].copy_from_slice(value);
    }
    bytes
}

/// The best and the median time of one pass over some layers, in microseconds.
struct Times {
    best: f64,
    median: f64,
}

impl Times {
    fn of(mut times: Vec<f64>) -> Times {
        times.sort_by(f64::total_cmp);
        Times {
            best: times[0],
            median: times[times.len() / 2],
        }
    }
}

fn time(
    team: &Team,
    kernels: &Kernels,
    layers: &[Layer],
    repeats: usize,
) -> Result<Times, Box<dyn Error>> {
    let rows = |l: &Layer| l.x.len() / l.weight.k();
    let m = layers.iter().map(rows).max().unwrap_or(1);
    let ks: Vec<usize> = layers.iter().map(|l| l.weight.k()).collect();
    let scratch = Scratch::new(kernels, team.threads(), m, &ks)?;
    let segments: Vec<[Segment<'_>; 1]> = layers.iter().map(|l| [l.segment()]).collect();
    let matmuls: Vec<Matmul<'_>> = layers
        .iter()
        .zip(&segments)
        .map(|(l, s)| l.matmul(s))
        .collect();
    let shared = Shared(matmuls);
    let shared = &shared;
    let mut times = Vec::new();
    for _ in 0..repeats + 2 {
        let start = Instant::now();
        team.run(|worker| {
            for job in &shared.0 {
                // SAFETY: the operands live in `layers` and are as large as they say.
                unsafe { matmul(worker, kernels, job, &scratch) };
                worker.barrier();
            }
        })?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Times::of(times.split_off(2)))
}

fn sweep(team: &Team, limits: &Limits, formats: &[WeightFormat]) -> Result<(), Box<dyn Error>> {
    let kernels = Kernels::of(Isa::detect()?);
    for &format in formats {
        for (n, k) in [(960, 576), (3072, 2048)] {
            for m in [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512] {
                let layers = [Layer::new(team, format, m, n, k)?];
                let flops = 2.0 * (m * n * k) as f64;
                let repeats = (8e9 / flops).clamp(7.0, 400.0) as usize;
                let Times { best, median } = time(team, kernels, &layers, repeats)?;
                println!(
                    "{format:>5} {k:>5} -> {n:>5} m {m:>4}: median {median:>9.1} us, best {best:>9.1} us = {:>6.1} GFLOP/s {:>5.1} % of peak {:>6.1} GB/s",
                    flops / best / 1e3,
                    flops / best / 10.0 / limits.f32_gflops,
                    layers[0].weight.bytes() as f64 / best / 1e3,
                );
            }
        }
    }
    Ok(())
}

fn token(team: &Team, limits: &Limits, formats: &[WeightFormat]) -> Result<(), Box<dyn Error>> {
    let kernels = Kernels::of(Isa::detect()?);
    for &format in formats {
        let mut layers = Vec::new();
        for _ in 0..30 {
            for (n, k) in [(960, 576), (576, 576), (3072, 576), (576, 1536)] {
                layers.push(Layer::new(team, format, 1, n, k)?);
            }
        }
        layers.push(Layer::new(team, format, 1, 49_152, 576)?);
        let bytes: usize = layers.iter().map(|l| l.weight.bytes()).sum();
        let Times { best, median } = time(team, kernels, &layers, 40)?;
        let speed = bytes as f64 / best / 1e3;
        println!(
            "{format:>5} token: median {median:>9.1} us, best {best:>9.1} us = {speed:>6.1} GB/s {:>5.1} % of memory",
            speed / limits.dram_gbs * 100.0
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    let threads = match args.peek().and_then(|a| a.parse().ok()) {
        Some(threads) => {
            args.next();
            threads
        }
        None => 2,
    };
    let what = args.next().unwrap_or_else(|| "shape".to_owned());
    let wanted: Vec<String> = args.collect();
    let formats: Vec<WeightFormat> = WeightFormat::ALL
        .into_iter()
        .filter(|f| wanted.is_empty() || wanted.iter().any(|w| w == f.name()))
        .collect();
    let team = Team::new(threads)?;
    let limits = Limits::measure(&team)?;
    println!("{} {limits:.1?}", Isa::detect()?);
    match what.as_str() {
        "token" => token(&team, &limits, &formats),
        _ => sweep(&team, &limits, &formats),
    }
}
