//! Reading fixtures, and comparing numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gabion_ir::Graph;
use gabion_ir::eval::evaluate;
use gabion_tensor::{DType, HostTensor};
use serde_json::Value;

pub(crate) type Tensors = BTreeMap<String, HostTensor>;

pub(crate) fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(folder)
}

pub(crate) fn folders(folder: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(fixtures(folder))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    all.sort();
    all
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(
        &std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    )
    .unwrap()
}

/// The tensors of one safetensors file, by the reference crate.
pub(crate) fn tensors(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let dtype = match view.dtype() {
                safetensors::Dtype::F32 => DType::F32,
                safetensors::Dtype::BF16 => DType::BF16,
                safetensors::Dtype::F16 => DType::F16,
                safetensors::Dtype::I64 => DType::I64,
                other => panic!("{name}: {other:?}"),
            };
            (
                name.to_owned(),
                HostTensor::new(dtype, view.shape(), view.data().to_vec()).unwrap(),
            )
        })
        .collect()
}

/// The tensors of every safetensors file of a folder.
pub(crate) fn checkpoint(folder: &Path) -> Tensors {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    files
        .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
        .flat_map(|p| tensors(&p))
        .collect()
}

pub(crate) fn run(
    graph: &Graph,
    inputs: impl IntoIterator<Item = (String, HostTensor)>,
    weights: &Tensors,
) -> Tensors {
    gabion_ir::verify::verify(graph).unwrap();
    let inputs = inputs.into_iter().collect();
    evaluate(graph, &inputs, weights)
        .unwrap()
        .outputs
        .into_iter()
        .collect()
}

/// `||a - b|| / ||b||` in f64; the shapes agree.
pub(crate) fn distance(found: &HostTensor, expected: &HostTensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let (a, b) = (found.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    let square = |x: f64| x * x;
    let off: f64 = a.iter().zip(&b).map(|(a, b)| square(a - b)).sum();
    let norm: f64 = b.iter().map(|b| square(*b)).sum();
    (off / norm.max(f64::MIN_POSITIVE)).sqrt()
}

/// Numbers in -1..1 that look random and are the same on every machine.
pub(crate) fn noise(shape: &[usize], seed: u64) -> HostTensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    };
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| next()).collect();
    HostTensor::from_slice(shape, &values).unwrap()
}
