//! `gabion-fuzz TARGET|all SECONDS [SEED]`, `gabion-fuzz repro TARGET FILE`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use gabion_fuzz::{TARGETS, Target, driver};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["repro", name, file] => match (find(name), std::fs::read(file)) {
            (Some(target), Ok(input)) => {
                println!("{}: {:016x}", target.name, (target.run)(&input));
                ExitCode::SUCCESS
            }
            (None, _) => usage(),
            (_, Err(e)) => {
                eprintln!("{file}: {e}");
                ExitCode::FAILURE
            }
        },
        [name, seconds] | [name, seconds, _] => {
            let seed = words.get(2).map_or(Ok(1), |seed| seed.parse());
            let targets: Vec<Target> = if *name == "all" {
                TARGETS.to_vec()
            } else {
                find(name).into_iter().collect()
            };
            match (seconds.parse(), seed) {
                (Ok(seconds), Ok(seed)) if !targets.is_empty() => fuzz(&targets, seconds, seed),
                _ => usage(),
            }
        }
        _ => usage(),
    }
}

fn fuzz(targets: &[Target], seconds: f64, seed: u64) -> ExitCode {
    let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    let time = Duration::from_secs_f64((seconds / targets.len() as f64).clamp(0.0, 1e6));
    let mut code = ExitCode::SUCCESS;
    for target in targets {
        let summary = driver::fuzz(target, time, seed, &artifacts);
        println!(
            "{}: {} inputs, {} outcomes",
            target.name, summary.inputs, summary.outcomes
        );
        if let Some((input, path)) = summary.finding {
            println!(
                "{}: FOUND {}: {}",
                target.name,
                path.display(),
                String::from_utf8_lossy(&input[..input.len().min(2000)])
            );
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

fn usage() -> ExitCode {
    let names = TARGETS.map(|target| target.name).join("|");
    eprintln!(
        "usage: gabion-fuzz {names}|all SECONDS [SEED]\n       gabion-fuzz repro {names} FILE"
    );
    ExitCode::from(2)
}
