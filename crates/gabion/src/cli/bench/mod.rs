//! `gabion bench`: measurements, each beside what this machine could do at most, measured in the
//! same run.

mod by_step;
mod compile;
mod encoder;
mod limits;
mod linear;
mod model;

use std::fs;
use std::time::{Duration, Instant};

use clap::Subcommand;
use gabion::cpu::limits::Limits;
use gabion::cpu::workers::Team;
use serde_json::{Value, json};

use super::Done;
use super::output::Output;

/// Words of `gabion bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What this machine can do at most
    Limits(limits::Args),
    /// One stack of projections, for each number of rows
    Linear(linear::Args),
    /// A language model: prefill and decode
    Model(model::Args),
    /// A sentence encoder, for each batch size
    Encoder(encoder::Args),
    /// Building, lowering and loading, without running
    Compile(compile::Args),
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    match &args.what {
        What::Limits(args) => limits::run(args, out),
        What::Linear(args) => linear::run(args, out),
        What::Model(args) => model::run(args, out),
        What::Encoder(args) => encoder::run(args, out),
        What::Compile(args) => compile::run(args, out),
    }
}

/// The most memory that this process had resident at once since it began (or since
/// [`reset_peak`]), in bytes; 0 where the system does not say.
pub(crate) fn peak_rss_bytes() -> u64 {
    status_field("VmHWM:")
}

/// The memory that this process has resident, in bytes; 0 where the system does not say.
fn rss_bytes() -> u64 {
    status_field("VmRSS:")
}

/// Lets [`peak_rss_bytes`] begin again, where the system can.
fn reset_peak() {
    let _not_everywhere = fs::write("/proc/self/clear_refs", "5");
}

fn status_field(field: &str) -> u64 {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map_or(0, |kb| kb * 1024)
}

/// Measures the limits of this many threads.
fn measure_limits(threads: usize, out: &Output) -> anyhow::Result<Limits> {
    let _progress = out.spinner("measuring limits");
    Ok(Limits::measure(&Team::new(threads)?)?)
}

fn limits_json(limits: &Limits) -> Value {
    json!({
        "f32_gflops": limits.f32_gflops,
        "bf16_gflops": limits.bf16_gflops,
        "int8_gops": limits.int8_gops,
        "dram_gbs": limits.dram_gbs,
        "l3_gbs": limits.l3_gbs,
        "barrier_ns": limits.barrier_ns,
        "threads": limits.threads,
    })
}

fn limits_line(limits: &Limits) -> String {
    let or_none = |x: Option<f64>| x.map_or_else(|| "none".to_owned(), |x| format!("{x:.0}"));
    format!(
        "limits of {} threads: f32 {:.0} GFLOP/s, bf16 {} GFLOP/s, int8 {} GOP/s, DRAM {:.1} GB/s, L3 {:.1} GB/s, barrier {:.0} ns\n",
        limits.threads,
        limits.f32_gflops,
        or_none(limits.bf16_gflops),
        or_none(limits.int8_gops),
        limits.dram_gbs,
        limits.l3_gbs,
        limits.barrier_ns,
    )
}

/// What fits there is read at the speed of the third-level cache.
const L3_BYTES: usize = 32 << 20;

/// The least time that so many operations on so many bytes can take.
fn limit_time(limits: &Limits, flops: f64, bytes: usize) -> Duration {
    let speed = if bytes <= L3_BYTES {
        limits.l3_gbs
    } else {
        limits.dram_gbs
    };
    let seconds = (flops / (limits.f32_gflops * 1e9)).max(bytes as f64 / (speed * 1e9));
    Duration::from_secs_f64(seconds)
}

/// Runs `job` for about `budget`, at least `least` times after a warm-up; the times, shortest first.
fn sample(
    least: usize,
    budget: Duration,
    mut job: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Duration>> {
    for _ in 0..2 {
        job()?;
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < least || (begin.elapsed() < budget && times.len() < 100_000) {
        let start = Instant::now();
        job()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// The middle of sorted times.
fn median(sorted: &[Duration]) -> Duration {
    match sorted {
        [] => Duration::ZERO,
        times => (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2,
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_even_and_odd_counts() {
        let ms = |n: &[u64]| {
            n.iter()
                .map(|&n| Duration::from_millis(n))
                .collect::<Vec<_>>()
        };
        assert_eq!(median(&ms(&[])), Duration::ZERO);
        assert_eq!(median(&ms(&[1, 5, 9])), Duration::from_millis(5));
        assert_eq!(median(&ms(&[2, 4])), Duration::from_millis(3));
    }

    #[test]
    fn a_limit_is_the_larger_of_arithmetic_and_memory() {
        let limits = Limits {
            threads: 1,
            f32_gflops: 100.0,
            bf16_gflops: None,
            int8_gops: None,
            dram_gbs: 10.0,
            l3_gbs: 100.0,
            barrier_ns: 0.0,
        };
        assert_eq!(limit_time(&limits, 1e9, 1000), Duration::from_millis(10));
        assert_eq!(
            limit_time(&limits, 1.0, 10 << 20),
            Duration::from_secs_f64((10 << 20) as f64 / 100e9)
        );
        assert_eq!(
            limit_time(&limits, 1.0, 100 << 20),
            Duration::from_secs_f64((100 << 20) as f64 / 10e9)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn resident_memory_is_known() {
        assert!(rss_bytes() > 0 && peak_rss_bytes() >= rss_bytes() / 2);
    }
}
