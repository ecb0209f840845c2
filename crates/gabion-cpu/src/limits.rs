//! What this machine can do at most, measured in the process that wants to know.
//!
//! Speeds are compared with these limits rather than with those of another day: clocks, neighbours
//! and memory change from hour to hour.
#![allow(unsafe_code)]

use crate::isa::Isa;
use crate::kernels::simd::{Simd, per_isa};
use crate::pack::{Arena, OutOfMemory};
use crate::workers::{Team, TeamError};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measured limits of a team of threads working together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The threads measured.
    pub threads: usize,
    /// Fused multiply-adds on registers only, two operations each, in 10^9 operations/s.
    pub f32_gflops: f64,
    /// `bf16` dot products likewise; `None` if the machine has no instruction for them.
    pub bf16_gflops: Option<f64>,
    /// `u8` by `i8` dot products likewise, if there is an instruction.
    pub int8_gops: Option<f64>,
    /// Reading memory, in 10^9 bytes/s.
    pub dram_gbs: f64,
    /// Reading 12 MB again and again, in 10^9 bytes/s.
    pub l3_gbs: f64,
    /// One barrier of all threads, in nanoseconds.
    pub barrier_ns: f64,
}

/// Why limits could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// No memory to read from.
    #[error("measuring limits: {0}")]
    OutOfMemory(#[from] OutOfMemory),
    /// The team failed.
    #[error("measuring limits: {0}")]
    Team(#[from] TeamError),
}

/// Read for the memory limit: several times any last-level cache share, read twice in a run.
const DRAM_BYTES: usize = 256 << 20;
const DRAM_PASSES: usize = 1;
/// Read for the cache limit: more than the second level, less than the third.
const L3_BYTES: usize = 12 << 20;
const L3_PASSES: usize = 10;
/// Runs of which the fastest counts.
const RUNS: usize = 6;
/// Multiply-adds in a chain, per run.
const STEPS: usize = 3_000_000;
const BARRIERS: u32 = 2_000;

impl Limits {
    /// Measures for `team`; takes about a second and a half.
    ///
    /// # Errors
    /// [`LimitsError`] if there is no memory for it.
    pub fn measure(team: &Team) -> Result<Limits, LimitsError> {
        let memory = Arena::zeroed(DRAM_BYTES)?;
        let mut f32_gflops = 0.0_f64;
        for isa in Isa::available() {
            f32_gflops = f32_gflops.max(peak(team, multiply_adds(isa))?);
        }
        Ok(Limits {
            threads: team.threads(),
            f32_gflops,
            bf16_gflops: best_of(team, &dots::bf16())?,
            int8_gops: best_of(team, &dots::int8())?,
            dram_gbs: read_speed(team, &memory, DRAM_BYTES, DRAM_PASSES)?,
            l3_gbs: read_speed(team, &memory, L3_BYTES, L3_PASSES)?,
            barrier_ns: barrier_cost(team)?,
        })
    }
}

/// Does the number of steps given, and says how many operations that were.
type Work = unsafe fn(usize, &mut f64);

/// The fastest of several runs of `job`.
fn fastest(mut job: impl FnMut() -> Result<(), TeamError>) -> Result<Duration, TeamError> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        job()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn peak(team: &Team, work: Work) -> Result<f64, TeamError> {
    let operations = AtomicU64::new(0);
    let time = fastest(|| {
        operations.store(0, Ordering::Relaxed);
        team.run(|_| {
            let mut done = 0.0;
            // SAFETY: only work that this machine has instructions for is made.
            unsafe { work(STEPS, &mut done) };
            operations.fetch_add(done as u64, Ordering::Relaxed);
        })
    })?;
    Ok(operations.into_inner() as f64 / time.as_secs_f64() / 1e9)
}

fn best_of(team: &Team, works: &[Work]) -> Result<Option<f64>, TeamError> {
    let mut best = None;
    for work in works {
        let speed = peak(team, *work)?;
        best = Some(best.map_or(speed, |best: f64| best.max(speed)));
    }
    Ok(best)
}

/// Independent chains: more than latency times throughput asks for, fewer than registers.
const CHAINS: usize = 12;

per_isa! {
    fn multiply_adds => multiply_add_chains(steps: usize, operations: &mut f64)
}

#[inline(always)]
unsafe fn multiply_add_chains<S: Simd>(steps: usize, operations: &mut f64) {
    let steps = steps / CHAINS;
    // SAFETY: the caller has the instruction set.
    unsafe {
        let (a, b) = (S::splat(black_box(0.999)), S::splat(black_box(1e-3)));
        let mut sums = [S::splat(black_box(0.5)); CHAINS];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = S::fma(*sum, a, b);
            }
        }
        let mut out = [0.0_f32; 16];
        for sum in sums {
            S::store(out.as_mut_ptr(), sum);
            black_box(&out);
        }
    }
    *operations = (steps * CHAINS * S::LANES * 2) as f64;
}

#[cfg(target_arch = "x86_64")]
mod dots {
    //! Dot-product instructions, which [`Simd`](super::Simd) does not have.
    use super::{CHAINS, Work, black_box};
    use core::arch::x86_64::*;

    pub(super) fn bf16() -> Vec<Work> {
        let mut works: Vec<Work> = Vec::new();
        if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f") {
            works.push(bf16_512);
        }
        works
    }

    pub(super) fn int8() -> Vec<Work> {
        let mut works: Vec<Work> = Vec::new();
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl") {
            works.push(int8_512);
            works.push(int8_256);
        }
        works
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn bf16_512(steps: usize, operations: &mut f64) {
        let ones = _mm512_set1_ps(black_box(1.0));
        let a = _mm512_cvtne2ps_pbh(ones, ones);
        let mut sums = [_mm512_set1_ps(black_box(0.5)); CHAINS];
        for _ in 0..steps / CHAINS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, a, a);
            }
        }
        for sum in sums {
            black_box(_mm512_reduce_add_ps(sum));
        }
        *operations = (steps / CHAINS * CHAINS * 32 * 2) as f64;
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn int8_512(steps: usize, operations: &mut f64) {
        let a = _mm512_set1_epi32(black_box(0x0102_0304));
        let mut sums = [_mm512_set1_epi32(black_box(1)); CHAINS];
        for _ in 0..steps / CHAINS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, a);
            }
        }
        for sum in sums {
            black_box(_mm512_reduce_add_epi32(sum));
        }
        *operations = (steps / CHAINS * CHAINS * 64 * 2) as f64;
    }

    #[target_feature(enable = "avx512vl,avx512vnni")]
    unsafe fn int8_256(steps: usize, operations: &mut f64) {
        let a = _mm256_set1_epi32(black_box(0x0102_0304));
        let mut sums = [_mm256_set1_epi32(black_box(1)); CHAINS];
        for _ in 0..steps / CHAINS {
            for sum in &mut sums {
                *sum = _mm256_dpbusd_epi32(*sum, a, a);
            }
        }
        for sum in sums {
            black_box(_mm256_extract_epi32::<0>(sum));
        }
        *operations = (steps / CHAINS * CHAINS * 32 * 2) as f64;
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod dots {
    use super::Work;

    pub(super) fn bf16() -> Vec<Work> {
        Vec::new()
    }

    pub(super) fn int8() -> Vec<Work> {
        Vec::new()
    }
}

per_isa! {
    fn reader => read(from: *const f32, floats: usize)
}

/// Reads `floats` values, a multiple of 1024, from eight places that move along together.
#[inline(always)]
unsafe fn read<S: Simd>(from: *const f32, floats: usize) {
    const STREAMS: usize = 8;
    // SAFETY: the caller's range.
    unsafe {
        let mut sums = [S::splat(0.0); STREAMS];
        for at in (0..floats).step_by(STREAMS * S::LANES) {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = S::max(S::load(from.add(at + i * S::LANES)), *sum);
            }
        }
        let mut out = [0.0_f32; 16];
        for sum in sums {
            S::store(out.as_mut_ptr(), sum);
            black_box(&out);
        }
    }
}

/// Bytes per nanosecond that the team reads from the first `bytes` of `memory`.
fn read_speed(team: &Team, memory: &Arena, bytes: usize, passes: usize) -> Result<f64, TeamError> {
    let read = reader(Isa::best());
    let units = bytes / 4096;
    let base = memory.as_ptr() as usize;
    let time = fastest(|| {
        team.run(|worker| {
            let mine = worker.split(units);
            let from = (base + mine.start * 4096) as *const f32;
            for _ in 0..passes {
                // SAFETY: inside the arena, which is initialised; the set is the machine's best.
                unsafe { read(from, mine.len() * 1024) };
            }
        })
    })?;
    Ok((units * 4096 * passes) as f64 / time.as_nanos() as f64)
}

fn barrier_cost(team: &Team) -> Result<f64, TeamError> {
    let time = fastest(|| {
        team.run(|worker| {
            for _ in 0..BARRIERS {
                worker.barrier();
            }
        })
    })?;
    Ok(time.as_nanos() as f64 / f64::from(BARRIERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_in_a_likely_order() {
        let limits = Limits::measure(&Team::new(1).unwrap()).unwrap();
        assert_eq!(limits.threads, 1);
        assert!(limits.f32_gflops > 0.5 && limits.f32_gflops.is_finite());
        assert!(limits.dram_gbs > 0.1 && limits.l3_gbs > 0.1 && limits.barrier_ns >= 0.0);
        if let Some(bf16) = limits.bf16_gflops {
            assert!(bf16 > limits.f32_gflops / 2.0);
        }
    }
}
