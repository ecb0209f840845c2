//! `gabion explain` against the bytes: of each model 200 random rows of plan weights, 200 of products and 200 random bytes. What an answer
//! says of the file is read raw from the file and decoded with the format that it names; what it says
//! of packed bytes is read from the weights that the executor packed. Both must be one number.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use gabion::checkpoint::{Checkpoint, ConvertOptions, Layout, ModelFiles, convert};
use gabion::explain::{ByteRole, Explainer, Explanation};
use gabion_cpu::{CpuExecutor, CpuLoaded, CpuOptions, PackedElement};
use gabion_ir::text::Names;
use gabion_ir::{Graph, Op, Sampler, Value};
use gabion_plan::{Executor, WeightId};
use gabion_tensor::{DType, Format};

use crate::end_to_end::preset;

/// Questions of each kind.
const ASKED: usize = 200;

struct Model<'a> {
    explainer: Explainer<'a>,
    checkpoint: &'a Checkpoint,
    loaded: CpuLoaded,
}

impl<'a> Model<'a> {
    fn new(graph: &Graph, checkpoint: &'a Checkpoint) -> Self {
        let executor = CpuExecutor::new(CpuOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let explainer = Explainer::new(graph, executor.target(), checkpoint);
        let explainer = explainer.unwrap_or_else(|e| panic!("{e}"));
        let weights = gabion::CheckpointWeights::new(checkpoint);
        let plan = Arc::new(explainer.plan().clone());
        let loaded = executor.load_cpu(plan, &weights);
        let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
        Self {
            explainer,
            checkpoint,
            loaded,
        }
    }

    /// The file's number and the packed one are the same, and so is the number that is told.
    fn check(&self, told: &Explanation) {
        let stored = told.stored.as_ref().expect("no constant was asked for");
        let format = Format::by_name(&stored.format).expect("a float format");
        let (elems, size) = (format.block_elems, format.block_bytes);
        let start = match &stored.block {
            Some(block) => block.bytes.start,
            None => {
                let row = stored.bytes.len() > size;
                stored.bytes.start + if row { stored.column * size } else { 0 }
            }
        };
        let raw = read_at(Path::new(&stored.file), start, size);
        let mut values = vec![0.0; elems];
        format.decode(&raw, &mut values).expect("one block");
        let first = stored
            .block
            .as_ref()
            .map_or(stored.column, |b| b.columns.start);
        let value = values[stored.column - first];
        assert_eq!(
            stored.value.map(f32::to_bits),
            Some(value.to_bits()),
            "{told:?}"
        );
        for used in &told.uses {
            let id = WeightId(used.weight_id as u32);
            let packed = self.loaded.packed_bytes(id).expect("a weight");
            assert_eq!(packed.len(), used.packed_bytes);
            let expected = used.value.expect("floats");
            if used.recipe.iter().all(|it| it == "cast to f32") {
                assert_eq!(expected.to_bits(), value.to_bits(), "{told:?}");
            }
            let place = used.packed.first().expect("a place");
            let element = PackedElement {
                format: place.format.parse::<DType>().expect("a dtype"),
                tile: place.tile.zip(place.lane),
                byte: place.byte,
                bit: place.bit,
                bits: place.bits,
                fifth: place.fifth,
                scale: place.scale,
                min: place.min,
            };
            let found = element.decode(packed).expect("bytes");
            assert_eq!(found.to_bits(), expected.to_bits(), "{told:?}");
            assert!(!used.steps.is_empty(), "{told:?}");
        }
    }

    /// Rows of plan weights, by their names.
    fn rows(&self, sampler: &mut Sampler) {
        let plan = self.explainer.plan();
        let mut checked = 0;
        while checked < ASKED {
            let weight = &plan.weights[below(sampler, plan.weights.len())];
            let (row, col) = (
                below(sampler, weight.rows()),
                below(sampler, weight.row_elements()),
            );
            let told = self.explainer.value(&weight.name, row, Some(col));
            let told = told.unwrap_or_else(|e| panic!("{e}"));
            let at = told.uses.iter().find(|it| it.weight == weight.name);
            assert_eq!(at.map(|it| it.row), Some(row));
            self.check(&told);
            self.check(
                &self
                    .explainer
                    .value(&weight.name, row, None)
                    .expect("as before"),
            );
            checked += 1;
        }
        assert_eq!(checked, ASKED);
    }

    /// Rows of products, half by the module's path and half by the value's name: what is told is what the
    /// projections' tensors, one under the other, have there.
    fn products(&self, graph: &Graph, sampler: &mut Sampler) {
        let products = products(graph);
        assert!(!products.is_empty());
        for asked in 0..ASKED {
            let product = &products[below(sampler, products.len())];
            let (row, col) = (
                below(sampler, product.rows),
                below(sampler, product.columns),
            );
            let name = match asked % 2 {
                0 => product.module.clone(),
                _ => format!("%{}", product.value),
            };
            let told = self.explainer.value(&name, row, Some(col));
            let told = told.unwrap_or_else(|e| panic!("{e}"));
            let (mut first, mut expected) = (0, None);
            for (tensor, rows) in &product.parts {
                if (first..first + rows).contains(&row) {
                    expected = Some((tensor.as_str(), row - first));
                }
                first += rows;
            }
            let stored = told.stored.as_ref().expect("a stored row");
            let found = (stored.tensor.as_str(), stored.graph_row);
            assert_eq!(Some(found), expected, "{told:?}");
            assert_eq!(stored.column, col, "{told:?}");
            assert_eq!(told.uses.len(), 1, "{told:?}");
            assert!(
                told.ledger.iter().any(|line| line.pass == "stack_weights"),
                "{told:?}"
            );
            self.check(&told);
        }
    }

    fn bytes(&self, sampler: &mut Sampler) {
        let tensors: Vec<_> = self.checkpoint.tensors().values().collect();
        let (mut used, mut checked) = (0, 0);
        while checked < ASKED {
            let info = tensors[below(sampler, tensors.len())];
            if info.dtype().is_none_or(|d| !d.is_float() && !d.is_block()) {
                continue;
            }
            let byte = below(sampler, info.byte_len());
            let told = self.explainer.weight_byte(&info.name, byte);
            let told = told.unwrap_or_else(|e| panic!("{e}"));
            used += told.uses.len();
            self.check(&told);
            self.check_byte(&told, info.byte_range().start + byte);
            checked += 1;
        }
        assert_eq!(checked, ASKED);
        assert!(used > ASKED / 2, "{used} of {ASKED} bytes are loaded");
    }

    /// Another value of the byte changes the values of the columns that it is said to bear on, and of
    /// no others.
    fn check_byte(&self, told: &Explanation, in_file: usize) {
        let stored = told.stored.as_ref().expect("a tensor");
        let byte = stored.byte.as_ref().expect("a byte was asked for");
        assert_eq!(byte.in_file, in_file);
        let Some(block) = &stored.block else {
            assert_eq!(byte.role, ByteRole::Value);
            return;
        };
        let format = Format::by_name(&stored.format).expect("a format");
        let mut raw = read_at(
            Path::new(&stored.file),
            block.bytes.start,
            block.bytes.len(),
        );
        let decode = |raw: &[u8]| {
            let mut values = vec![0.0f32; format.block_elems];
            format.decode(raw, &mut values).expect("one block");
            values
        };
        let before = decode(&raw);
        let at = in_file - block.bytes.start;
        raw[at] ^= 0x55;
        let after = decode(&raw);
        for (k, (a, b)) in before.iter().zip(&after).enumerate() {
            let told = byte.columns.contains(&(block.columns.start + k));
            assert!(told || a.to_bits() == b.to_bits(), "{stored:?}: {k}");
            let codes = matches!(byte.role, ByteRole::Codes | ByteRole::Min);
            // A code of a block with scale 0 means the same whatever it is.
            let bears = codes && told && block.scale != 0.0;
            assert!(!bears || a.to_bits() != b.to_bits(), "{stored:?}: {k}");
        }
    }
}

/// A product as the model was built: the tensors whose rows it has, read from the graph alone.
struct Product {
    module: String,
    value: String,
    parts: Vec<(String, usize)>,
    rows: usize,
    columns: usize,
}

/// The products with a stored matrix or with a concat of some, alone in their modules.
fn products(graph: &Graph) -> Vec<Product> {
    let graph = graph.compacted();
    let names = Names::new(&graph);
    let mut products: Vec<Product> = Vec::new();
    for id in graph.node_ids() {
        let Op::Matmul(matmul) = graph.op(id) else {
            continue;
        };
        let Some(parts) =
            stored_parts(&graph, graph.operands(id)[1]).filter(|_| matmul.transpose_b)
        else {
            continue;
        };
        let ty = graph.value_type(graph.operands(id)[1]);
        products.push(Product {
            module: graph
                .node(id)
                .scope
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
            value: names.get(Value::new(id, 0)).to_owned(),
            rows: parts.iter().map(|(_, rows)| rows).sum(),
            parts,
            columns: ty.shape[1].as_fixed().expect("a stored size") as usize,
        });
    }
    products
}

/// The tensors that a weight is made of, through decodings and concats of rows.
fn stored_parts(graph: &Graph, value: Value) -> Option<Vec<(String, usize)>> {
    let operands = graph.operands(value.node);
    match graph.op(value.node) {
        Op::Weight(weight) => {
            let rows = graph.value_type(value).shape[0].as_fixed()?;
            Some(vec![(weight.name.to_string(), rows as usize)])
        }
        Op::Cast(_) | Op::Dequantize(_) => stored_parts(graph, operands[0]),
        Op::Concat(_) => {
            let parts: Option<Vec<_>> = operands.iter().map(|v| stored_parts(graph, *v)).collect();
            Some(parts?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

fn below(sampler: &mut Sampler, n: usize) -> usize {
    sampler.int(0, n as i64 - 1) as usize
}

fn read_at(path: &Path, at: usize, n: usize) -> Vec<u8> {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.seek(SeekFrom::Start(at as u64))
        .expect("it is long enough");
    let mut bytes = vec![0; n];
    file.read_exact(&mut bytes).expect("it is long enough");
    bytes
}

fn decoder(path: &Path, seed: u64) {
    let files = ModelFiles::open(path).unwrap_or_else(|e| panic!("{e}"));
    let (_, graph) = gabion::language_model::causal_lm(&files).unwrap_or_else(|e| panic!("{e}"));
    let model = Model::new(&graph, files.checkpoint());
    let mut sampler = Sampler::new(seed);
    model.rows(&mut sampler);
    model.products(&graph, &mut sampler);
    model.bytes(&mut sampler);
}

#[test]
fn smollm2_in_gguf_is_explained_to_the_byte() {
    let Some(path) = preset("smollm2") else {
        return;
    };
    decoder(&path, 1);
}

#[test]
fn smollm2_in_folders_is_explained_to_the_byte() {
    let Some(path) = preset("smollm2") else {
        return;
    };
    let files = ModelFiles::open(&path).unwrap_or_else(|e| panic!("{e}"));
    for (seed, layout) in [(2, Layout::Keep), (3, Layout::Fuse)] {
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().join("model");
        let options = ConvertOptions {
            dtype: Some(DType::BF16),
            layout,
            ..ConvertOptions::default()
        };
        convert(&files, &to, &options).unwrap_or_else(|e| panic!("{e}"));
        decoder(&to, seed);
    }
}

#[test]
fn minilm_is_explained_to_the_byte() {
    let Some(path) = preset("minilm") else { return };
    let files = ModelFiles::open(&path).unwrap_or_else(|e| panic!("{e}"));
    let (_, options) = gabion::encoder::sentence_options(&files).unwrap_or_else(|e| panic!("{e}"));
    let made = gabion::encoder::bert_encoder(&files, options);
    let (_, graph) = made.unwrap_or_else(|e| panic!("{e}"));
    let model = Model::new(&graph, files.checkpoint());
    let mut sampler = Sampler::new(4);
    model.rows(&mut sampler);
    model.products(&graph, &mut sampler);
    model.bytes(&mut sampler);
}
