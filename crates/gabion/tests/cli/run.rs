//! `gabion run`: graphs in text form on files of tensors.

use std::fs;
use std::path::Path;

use gabion::tensor::{DType, HostTensor};

use super::{Ran, f32s, gabion, names, tensors, write_tensors};

const GRAPH: &str = "graph @g(%x: f32[n, 2], %bias: f32[3], %n2: f32[n]) -> (f32[n, 3], f32[n]) {
  %w = weight {name = \"w\"} : f32[3, 2]
  %t = matmul %x, %w {transpose_b = true} : f32[n, 3]
  %y = add %t, %bias : f32[n, 3]
  %m = mul %n2, %n2 : f32[n]
  return y = %y, squares = %m
}
";

const CACHE: &str = "graph @g(%x: f32[n, 2], %position: i64[], donate %cache: f32[capacity, 2]) -> (f32[capacity, 2]) {
  %c = cache_append %cache, %x, %position {axis = 0} : f32[capacity, 2]
  return cache.out = %c
}
";

fn write_case(at: &Path) {
    fs::write(at.join("g.gir"), GRAPH).unwrap();
    write_tensors(
        &at.join("w.safetensors"),
        &[
            ("w", f32s(&[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0])),
            ("other", f32s(&[1], &[0.0])),
        ],
    );
    inputs(
        at,
        &[
            ("x", f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
            ("bias", f32s(&[3], &[0.5, 0.0, -1.0])),
            ("n2", f32s(&[2], &[3.0, -2.0])),
        ],
    );
}

fn inputs(at: &Path, tensors: &[(&str, HostTensor)]) {
    write_tensors(&at.join("x.safetensors"), tensors);
}

fn run(at: &Path) -> Ran {
    gabion(
        at,
        [
            "run",
            "g.gir",
            "--weights",
            "w.safetensors",
            "--inputs",
            "x.safetensors",
            "--outputs",
            "y.safetensors",
        ],
    )
}

#[test]
fn outputs_bear_the_graphs_names() {
    let folder = tempfile::tempdir().unwrap();
    write_case(folder.path());
    assert_eq!(run(folder.path()).ok(), "y: f32[2, 3]\nsquares: f32[2]\n");
    let found = tensors(&folder.path().join("y.safetensors"));
    assert_eq!(
        found["y"].to_f32_vec().unwrap(),
        [1.5, 2.0, 2.0, 3.5, 4.0, 6.0]
    );
    assert_eq!(found["squares"].to_f32_vec().unwrap(), [9.0, 4.0]);
    let words = [
        "run",
        "g.gir",
        "--weights",
        "w.safetensors",
        "--inputs",
        "x.safetensors",
        "--outputs",
        "y.safetensors",
        "--json",
    ];
    let report = gabion(folder.path(), words).json();
    assert_eq!(report["outputs"][0]["shape"], serde_json::json!([2, 3]));
}

#[test]
fn donated_inputs_may_be_given_or_begin_with_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("g.gir"), CACHE).unwrap();
    let (x, position) = (
        ("x", f32s(&[1, 2], &[7.0, 8.0])),
        ("position", HostTensor::scalar(1i64)),
    );
    inputs(
        at,
        &[
            x.clone(),
            position.clone(),
            ("cache", f32s(&[3, 2], &[1.0; 6])),
        ],
    );
    let words = [
        "run",
        "g.gir",
        "--inputs",
        "x.safetensors",
        "--outputs",
        "y.safetensors",
    ];
    gabion(at, words).ok();
    assert_eq!(
        tensors(&at.join("y.safetensors"))["cache.out"]
            .to_f32_vec()
            .unwrap(),
        [1.0, 1.0, 7.0, 8.0, 1.0, 1.0]
    );
    inputs(at, &[x.clone(), position]);
    gabion(at, words.iter().copied().chain(["--size", "capacity=2"])).ok();
    assert_eq!(
        tensors(&at.join("y.safetensors"))["cache.out"]
            .to_f32_vec()
            .unwrap(),
        [0.0, 0.0, 7.0, 8.0]
    );
    gabion(at, words).refused(&[
        "input `cache`: its size has to be given",
        "symbol `capacity`",
        "has no value",
    ]);
    // A position beyond the cache.
    inputs(at, &[x, ("position", HostTensor::scalar(2i64))]);
    gabion(at, words.iter().copied().chain(["--size", "capacity=2"])).refused(&[
        "x.safetensors: ",
        "cache_append",
        "2 is outside 0..2",
    ]);
}

#[test]
fn inputs_that_do_not_fit_are_refused_and_the_old_output_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_case(at);
    fs::write(at.join("y.safetensors"), "old").unwrap();
    let x = || ("x", f32s(&[2, 2], &[1.0; 4]));
    let bias = || ("bias", f32s(&[3], &[1.0; 3]));
    let n2 = || ("n2", f32s(&[2], &[1.0; 2]));
    let refused = |tensors: &[(&str, HostTensor)], parts: &[&str]| {
        inputs(at, tensors);
        run(at).refused(parts);
        assert_eq!(fs::read(at.join("y.safetensors")).unwrap(), b"old");
    };
    refused(&[x(), bias()], &["x.safetensors", "`n2`"]);
    refused(
        &[x(), bias(), n2(), ("z", f32s(&[1], &[1.0]))],
        &["x.safetensors", "`z`", "it has x, bias, n2"],
    );
    refused(
        &[("x", f32s(&[4], &[1.0; 4])), bias(), n2()],
        &["x.safetensors", "`x`", "f32[n, 2]", "[4]"],
    );
    refused(
        &[("x", f32s(&[2, 3], &[1.0; 6])), bias(), n2()],
        &["x.safetensors", "`x`", "f32[n, 2]", "[2, 3]"],
    );
    let wide = f32s(&[2, 2], &[1.0; 4]).cast(DType::F64).unwrap();
    refused(
        &[("x", wide), bias(), n2()],
        &["x.safetensors", "`x`", "f32[n, 2]", "f64"],
    );
    refused(
        &[x(), bias(), ("n2", f32s(&[3], &[1.0; 3]))],
        &[
            "x.safetensors: input `n2`: expected f32[n], found f32[3]",
            "expected n = 2",
        ],
    );
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_case(at);
    let refused = |weights: &[(&str, HostTensor)], parts: &[&str]| {
        write_tensors(&at.join("w.safetensors"), weights);
        run(at).refused(parts);
    };
    refused(
        &[("v", f32s(&[3, 2], &[0.0; 6]))],
        &[
            "w.safetensors",
            "1 missing",
            "w [3, 2] of f32",
            "nearest: v",
        ],
    );
    refused(
        &[("w", f32s(&[2, 3], &[0.0; 6]))],
        &["w.safetensors", "w: expected [3, 2], found [2, 3]"],
    );
    let half = f32s(&[3, 2], &[0.0; 6]).cast(DType::F16).unwrap();
    refused(&[("w", half)], &["w.safetensors", "w: expected f32", "F16"]);
    fs::write(
        at.join("w2.safetensors"),
        fs::read(at.join("w.safetensors")).unwrap(),
    )
    .unwrap();
    let words = [
        "run",
        "g.gir",
        "--weights",
        "w.safetensors",
        "w2.safetensors",
        "--inputs",
        "x.safetensors",
        "--outputs",
        "y.safetensors",
    ];
    gabion(at, words).refused(&["tensor `w`", "w.safetensors", "w2.safetensors"]);
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_case(at);
    let before = names(at);
    for target in ["no/y.safetensors", "g.gir/y.safetensors"] {
        let words = [
            "run",
            "g.gir",
            "--weights",
            "w.safetensors",
            "--inputs",
            "x.safetensors",
            "--outputs",
            target,
        ];
        gabion(at, words).refused(&[target, "cannot write"]);
    }
    assert_eq!(names(at), before);
}

/// A limit on the size of files stands for a disk that is full: a write stops half-way.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(
        at.join("g.gir"),
        "graph @g(%x: f32[n]) -> (f32[n]) {\n  %y = exp %x : f32[n]\n  return y = %y\n}\n",
    )
    .unwrap();
    inputs(at, &[("x", f32s(&[4000], &[0.0; 4000]))]);
    fs::write(at.join("y.safetensors"), "old").unwrap();
    let before = names(at);
    let program = env!("CARGO_BIN_EXE_gabion");
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{program}' run g.gir --inputs x.safetensors --outputs y.safetensors"
    );
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(at)
        .output()
        .unwrap();
    Ran::of(output).refused(&["y.safetensors: cannot write"]);
    assert_eq!(fs::read(at.join("y.safetensors")).unwrap(), b"old");
    assert_eq!(names(at), before);
}

/// A file may be named by a link, and a pipe may be an output: neither is replaced.
#[cfg(unix)]
#[test]
fn links_and_pipes_are_written_to_and_stay() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_case(at);
    fs::create_dir(at.join("store")).unwrap();
    fs::write(at.join("store/real"), "old").unwrap();
    symlink("store/real", at.join("y.safetensors")).unwrap();
    run(at).ok();
    assert!(at.join("y.safetensors").is_symlink());
    let written = fs::read(at.join("store/real")).unwrap();
    assert!(tensors(&at.join("y.safetensors")).contains_key("squares"));
    assert_eq!(names(&at.join("store")), ["real"]);

    fs::remove_file(at.join("y.safetensors")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(at.join("y.safetensors"))
        .status()
        .unwrap();
    assert!(made.success());
    let pipe = at.join("y.safetensors");
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    run(at).ok();
    // A program that replaced the pipe would leave its reader waiting.
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(reader.join().unwrap(), written);
}

#[test]
fn weights_that_were_not_given_and_symbols_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_case(at);
    let words = |more: &[&'static str]| {
        let mut words = vec!["run", "g.gir", "--inputs", "x.safetensors"];
        words.extend(["--outputs", "y.safetensors"]);
        words.extend(more);
        words
    };
    gabion(at, words(&[])).refused(&[
        "g.gir: the graph reads 1 weights, the first of them `w`, f32[3, 2]",
        "--weights",
    ]);
    write_tensors(&at.join("v.safetensors"), &[("v", f32s(&[1], &[0.0]))]);
    gabion(at, words(&["--weights", "v.safetensors", "x.safetensors"])).refused(&[
        "v.safetensors, x.safetensors does not fit",
        "w [3, 2] of f32",
    ]);
    let more = ["--weights", "w.safetensors", "--size", "m=2"];
    gabion(at, words(&more)).refused(&["--size m=2: the graph's symbols are `n`"]);
    let more = ["--weights", "w.safetensors", "--size", "n=3"];
    gabion(at, words(&more)).refused(&["x.safetensors: input `x`", "axis 0 is 2, expected n = 3"]);
    assert!(!at.join("y.safetensors").exists());
}

/// No machine has the memory: an error, and no end by the system.
#[test]
fn sizes_beyond_any_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let text = "graph @g(%x: f32[]) -> (f32[9000000000000]) {\n  %y = broadcast %x {shape = [9000000000000]} : f32[9000000000000]\n  return %y\n}\n";
    fs::write(at.join("g.gir"), text).unwrap();
    inputs(at, &[("x", f32s(&[], &[1.0]))]);
    let words = ["run", "g.gir", "--inputs", "x.safetensors"];
    let outputs = ["--outputs", "y.safetensors"];
    gabion(at, words.iter().chain(&outputs)).refused(&["cannot allocate 36000000000000 bytes"]);
    let refused = [
        "broadcast at %y",
        "f32[9000000000000] is more than this machine has memory for",
    ];
    gabion(at, ["verify", "g.gir"]).refused(&refused);
    fs::write(at.join("g.gir"), CACHE).unwrap();
    inputs(
        at,
        &[
            ("x", f32s(&[1, 2], &[7.0, 8.0])),
            ("position", HostTensor::scalar(0i64)),
        ],
    );
    let size = ["--size", "capacity=9000000000000"];
    gabion(at, words.iter().chain(&outputs).chain(&size))
        .refused(&["input `cache`", "cannot allocate 72000000000000 bytes"]);
    let bench = [
        "bench",
        "linear",
        "--in-dim",
        "9999999",
        "--out-dims",
        "9999999",
    ];
    gabion(at, bench).refused(&["f32[9999999, 9999999] is more than"]);
    assert_eq!(names(at), ["g.gir", "x.safetensors"]);
}
