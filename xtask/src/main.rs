//! `cargo xtask tidy | ci | bless`.
//!
//! - `tidy` checks what no compiler does: see [`xtask::tidy`].
//! - `ci` runs all that has to pass, as `.ci/run` does.
//! - `bless` runs the tests and accepts what snapshots and filetests now give; read the diff.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::{Command, ExitCode};

use xtask::checkout::Checkout;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let checkout = match Checkout::open() {
        Ok(checkout) => checkout,
        Err(e) => {
            eprintln!("the checkout cannot be read: {e}");
            return ExitCode::FAILURE;
        }
    };
    match words.as_slice() {
        ["tidy"] => {
            let findings = xtask::tidy::findings(&checkout);
            findings.iter().for_each(|finding| println!("{finding}"));
            println!(
                "tidy: {} files, {} findings",
                checkout.files().len(),
                findings.len()
            );
            ExitCode::from(u8::from(!findings.is_empty()))
        }
        ["ci"] => run(Command::new("bash")
            .arg(".ci/run")
            .current_dir(checkout.root())),
        ["bless"] => {
            let mut tests = Command::new("cargo");
            tests
                .args(["test", "--workspace", "--locked"])
                .current_dir(checkout.root());
            run(tests.env("INSTA_UPDATE", "always").env("GABION_BLESS", "1"))
        }
        _ => {
            eprintln!("usage: cargo xtask tidy | ci | bless");
            ExitCode::from(2)
        }
    }
}

fn run(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{command:?}: {e}");
            ExitCode::FAILURE
        }
    }
}
