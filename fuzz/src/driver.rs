//! The driver without libFuzzer: damages seeds, keeps what makes something new happen, and writes
//! down what panics, hangs, or takes long.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Target;
use crate::mutate::mutate;
use crate::random::Random;

/// An input that runs longer is a finding.
const SLOW: Duration = Duration::from_secs(5);
/// An input that runs longer is written down, and the process ends.
const HANGS: Duration = Duration::from_secs(30);
/// Inputs do not grow past this.
const MAX_BYTES: usize = 1 << 16;
/// How many inputs are kept.
const MAX_CORPUS: usize = 4096;

/// What a run of a target gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs run.
    pub inputs: u64,
    /// Different things that happened.
    pub outcomes: usize,
    /// The input that broke a law, made small, and where it was written.
    pub finding: Option<(Vec<u8>, PathBuf)>,
}

/// Runs a target for a time, or until it finds something.
pub fn fuzz(target: &Target, time: Duration, seed: u64, artifacts: &Path) -> Summary {
    let mut random = Random::new(seed);
    let mut corpus = (target.seeds)();
    let n_seeds = corpus.len();
    let mut seen = BTreeSet::new();
    let mut summary = Summary::default();
    let watch = Watch::start(target, artifacts);
    let start = Instant::now();
    let mut next = 0;
    while start.elapsed() < time {
        // The seeds first, as they are.
        let input = match corpus.get(next).filter(|_| summary.inputs == next as u64) {
            Some(seed) => {
                next += 1;
                seed.clone()
            }
            None => {
                // Half of the time from a seed: what was kept may be far from anything valid.
                let from = if random.one_in(2) {
                    n_seeds
                } else {
                    corpus.len()
                };
                let (input, other) = (random.below(from), random.below(corpus.len()));
                mutate(&corpus[input], &corpus[other], target.form, &mut random)
            }
        };
        if input.len() > MAX_BYTES {
            continue;
        }
        summary.inputs += 1;
        match watch.run(&input) {
            Ok(outcome) if seen.insert(outcome) && corpus.len() < MAX_CORPUS => corpus.push(input),
            Ok(_) => {}
            Err(()) => {
                let small = shrink(input, |input| watch.run(input).is_err());
                summary.finding = Some((small.clone(), write(target, artifacts, &small)));
                break;
            }
        }
    }
    summary.outcomes = seen.len();
    summary
}

/// Runs inputs, and ends the process with a message when one does not end.
struct Watch<'t> {
    target: &'t Target,
    running: Arc<Mutex<Vec<u8>>>,
    /// Milliseconds at which the current input began, from `origin`; 0 between inputs.
    began: Arc<AtomicU64>,
    origin: Instant,
}

impl<'t> Watch<'t> {
    fn start(target: &'t Target, artifacts: &Path) -> Self {
        let watch = Self {
            target,
            running: Arc::default(),
            began: Arc::default(),
            origin: Instant::now(),
        };
        let (running, began, origin) = (
            watch.running.clone(),
            Arc::downgrade(&watch.began),
            watch.origin,
        );
        let (target, artifacts) = (*target, artifacts.to_owned());
        std::thread::spawn(move || {
            while let Some(began) = began.upgrade() {
                let since = began.load(Ordering::Relaxed);
                let now = origin.elapsed().as_millis() as u64;
                if since != 0 && now.saturating_sub(since) > HANGS.as_millis() as u64 {
                    let input = running
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .clone();
                    let path = write(&target, &artifacts, &input);
                    eprintln!(
                        "{}: an input did not end in {HANGS:?}: {}",
                        target.name,
                        path.display()
                    );
                    std::process::exit(1);
                }
                drop(began);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        watch
    }

    fn run(&self, input: &[u8]) -> Result<u64, ()> {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = input.to_vec();
        let start = Instant::now();
        self.began.store(
            self.origin.elapsed().as_millis().max(1) as u64,
            Ordering::Relaxed,
        );
        let result = catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        self.began.store(0, Ordering::Relaxed);
        if start.elapsed() > SLOW {
            eprintln!(
                "{}: an input of {} bytes took {:?}",
                self.target.name,
                input.len(),
                start.elapsed()
            );
            return Err(());
        }
        result.map_err(|_| ())
    }
}

/// Takes pieces away while the input still fails, for a while.
fn shrink(mut input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let start = Instant::now();
    let mut piece = input.len() / 2;
    while piece > 0 && start.elapsed() < Duration::from_secs(20) {
        let mut at = 0;
        while at < input.len() && start.elapsed() < Duration::from_secs(20) {
            let mut less = input.clone();
            less.drain(at..(at + piece).min(input.len()));
            if fails(&less) {
                input = less;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}

fn write(target: &Target, artifacts: &Path, input: &[u8]) -> PathBuf {
    let path = artifacts
        .join(target.name)
        .join(format!("{:016x}", crate::outcome::accepted(input)));
    let written = std::fs::create_dir_all(artifacts.join(target.name))
        .and_then(|()| std::fs::write(&path, input));
    if let Err(e) = written {
        eprintln!("{}: {e}", path.display());
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Form;

    fn picky(bytes: &[u8]) -> u64 {
        assert!(!bytes.windows(2).any(|pair| pair == b"}}"), "two braces");
        bytes.len() as u64 % 7
    }

    #[test]
    fn a_panic_is_found_made_small_and_written_down() {
        let target = Target {
            name: "picky",
            run: picky,
            seeds: || vec![b"graph { return {a = 1} + {b = 2} }".to_vec()],
            form: Form::Text,
        };
        let folder = std::env::temp_dir().join(format!("gabion-fuzz-{}", std::process::id()));
        let summary = fuzz(&target, Duration::from_secs(20), 1, &folder);
        let (input, path) = summary.finding.unwrap();
        assert_eq!(input, b"}}");
        assert_eq!(std::fs::read(path).unwrap(), b"}}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn seeds_run_without_a_finding() {
        for target in crate::TARGETS {
            let seeds = (target.seeds)();
            assert!(seeds.len() > 1, "{}", target.name);
            let outcomes: BTreeSet<u64> = seeds.iter().map(|seed| (target.run)(seed)).collect();
            assert!(outcomes.len() > 1, "{}: all seeds look alike", target.name);
        }
    }
}
