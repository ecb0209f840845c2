//! The program from outside: its words, its files, its messages, its exit codes. One module for
//! each group of commands, and one for bad input.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_inputs;
mod bad_models;
mod bench;
mod embed;
mod explain;
mod generate;
mod graphs;
mod lower;
mod output;
mod presets;
mod report;
mod run;
mod shapes;
mod stack;
#[cfg(feature = "window")]
mod view;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gabion::checkpoint::{Checkpoint, SafetensorsType, TensorDecl, write_safetensors};
use gabion::tensor::HostTensor;
use serde_json::Value;
use std::io::Write;

/// A folder of the fixtures that other engines made.
fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

fn tiny_llama() -> PathBuf {
    fixture("tiny_models/llama_gqa")
}

/// The program in `folder`, with a cache that holds nothing.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gabion"));
    command
        .current_dir(folder)
        .env("GABION_CACHE", folder.join("no-cache"))
        .env_remove("GABION_ISA");
    command
}

/// How a run ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        // A run that was ended by a signal has no code.
        let code = output.status.code().expect("the program was killed");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Standard output of a run that was right and said nothing else.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self.stdout
    }

    /// The one JSON object on standard output.
    #[track_caller]
    fn json(self) -> Value {
        let text = self.ok();
        assert_eq!(text.lines().count(), 1, "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.is_object());
        value
    }

    /// Checks that the input was refused with a message that has all of `parts`, and nothing else.
    #[track_caller]
    fn refused(self, parts: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{self:?}");
        self.says(parts);
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert!(
            !self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"),
            "{self:?}"
        );
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "`{part}` is not in:\n{}",
                self.stderr
            );
        }
    }

    /// Checks that the words were refused.
    #[track_caller]
    fn misused(self, parts: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        self.says(parts);
    }
}

/// Runs the program in `folder`.
fn gabion<S: AsRef<OsStr>>(folder: &Path, words: impl IntoIterator<Item = S>) -> Ran {
    Ran::of(command(folder).args(words).output().unwrap())
}

/// Words of mixed kinds.
#[macro_export]
macro_rules! words {
    ($($word:expr),* $(,)?) => { [$(std::ffi::OsString::from($word)),*] };
}

/// Every tensor of a file.
fn tensors(path: &Path) -> BTreeMap<String, HostTensor> {
    let checkpoint = Checkpoint::open(path).unwrap();
    checkpoint
        .names()
        .map(|name| (name.to_owned(), checkpoint.get(name).unwrap()))
        .collect()
}

/// Writes a file of tensors.
fn write_tensors(path: &Path, tensors: &[(&str, HostTensor)]) {
    let decl = |(name, tensor): &(&str, HostTensor)| TensorDecl {
        name: (*name).to_owned(),
        stored: SafetensorsType::of(tensor.dtype()).unwrap(),
        shape: tensor.shape().to_vec(),
    };
    let decls: Vec<_> = tensors.iter().map(decl).collect();
    write_safetensors(path, &Default::default(), &decls, |i, sink| {
        sink.write_all(tensors[i].1.bytes()).unwrap();
        Ok(())
    })
    .unwrap();
}

fn f32s(shape: &[usize], values: &[f32]) -> HostTensor {
    HostTensor::from_slice(shape, values).unwrap()
}

/// The norm of the difference relative to the norm of what is expected.
fn apart(expected: &HostTensor, found: &HostTensor) -> f64 {
    assert_eq!(expected.shape(), found.shape());
    let (a, b) = (expected.to_f64_vec().unwrap(), found.to_f64_vec().unwrap());
    let norm: f64 = a.iter().map(|a| a * a).sum();
    let difference: f64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
    (difference / norm).sqrt()
}

/// A copy of a folder of files.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Changes the `config.json` of a folder.
fn edit_config(folder: &Path, edit: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(config.as_object_mut().unwrap());
    fs::write(&path, config.to_string()).unwrap();
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
