//! GGUF: the writer's files are read back, llama's rows come out in order, and every lie is refused.

use std::path::Path;

use gabion_checkpoint::{
    Checkpoint, GgufArray, GgufFile, GgufMetadata, GgufValue, StoredType, gguf_config,
};
use gabion_tensor::Bytes;
use indexmap::IndexMap;

use crate::sample::{llama_bytes, llama_metadata, llama_tensors, text, write_gguf_file};

fn path() -> &'static Path {
    Path::new("m.gguf")
}

#[test]
fn all_metadata_types_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.gguf");
    let arrays = vec![
        GgufArray::U8(vec![1, 2]),
        GgufArray::I8(vec![-1]),
        GgufArray::U16(vec![3]),
        GgufArray::I16(vec![-3]),
        GgufArray::U32(vec![]),
        GgufArray::I32(vec![-4]),
        GgufArray::F32(vec![0.5]),
        GgufArray::Bool(vec![true, false]),
        GgufArray::String(vec!["é".into(), String::new()]),
        GgufArray::Array(vec![
            GgufArray::U64(vec![u64::MAX]),
            GgufArray::Array(vec![]),
        ]),
        GgufArray::I64(vec![i64::MIN]),
        GgufArray::F64(vec![f64::MIN_POSITIVE]),
    ];
    let values: IndexMap<String, GgufValue> = [
        GgufValue::U8(1),
        GgufValue::I8(-1),
        GgufValue::U16(2),
        GgufValue::I16(-2),
        GgufValue::U32(3),
        GgufValue::I32(-3),
        GgufValue::F32(1.5),
        GgufValue::Bool(true),
        text("hello"),
        GgufValue::Array(GgufArray::Array(arrays)),
        GgufValue::U64(4),
        GgufValue::I64(-4),
        GgufValue::F64(2.5),
    ]
    .into_iter()
    .enumerate()
    .map(|(at, value)| (format!("key.{at}"), value))
    .collect();
    let metadata = GgufMetadata::new(&file, values);
    write_gguf_file(&file, &metadata, &IndexMap::new());
    let read = GgufFile::parse(&file, &std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(read.metadata, metadata);
    assert_eq!(read.version, 3);
}

#[test]
fn any_alignment_is_kept() {
    for alignment in [1, 8, 64, 4096] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.gguf");
        let mut values = llama_metadata(&file).values().clone();
        values.insert("general.alignment".into(), GgufValue::U32(alignment));
        write_gguf_file(&file, &GgufMetadata::new(&file, values), &llama_tensors());
        let read = GgufFile::parse(&file, &std::fs::read(&file).unwrap()).unwrap();
        for tensor in read.tensors.values() {
            assert_eq!(tensor.range.start % alignment as usize, 0);
        }
    }
}

#[test]
fn names_shapes_and_row_order_are_those_of_hugging_face() {
    let checkpoint = Checkpoint::from_bytes(path(), Bytes::from(llama_bytes())).unwrap();
    let names: Vec<&str> = checkpoint.names().collect();
    assert_eq!(
        names,
        [
            "model.embed_tokens.weight",
            "model.norm.weight",
            "model.layers.0.self_attn.q_proj.weight",
            "model.layers.0.self_attn.k_proj.weight",
            "model.layers.0.self_attn.v_proj.weight",
            "model.layers.0.self_attn.o_proj.weight",
            "model.layers.0.mlp.gate_proj.weight",
            "model.layers.0.mlp.up_proj.weight",
            "model.layers.0.mlp.down_proj.weight",
            "model.layers.0.input_layernorm.weight",
            "model.layers.0.post_attention_layernorm.weight",
        ]
    );
    assert_eq!(
        checkpoint.info("model.embed_tokens.weight").unwrap().shape,
        [13, 16]
    );
    assert_eq!(
        checkpoint
            .info("model.layers.0.mlp.down_proj.weight")
            .unwrap()
            .shape,
        [16, 32]
    );
    // The file has the rows 0..16 in four heads of four, each a0 b0 a1 b1; the model wants a0 a1 b0 b1.
    let q = checkpoint
        .get("model.layers.0.self_attn.q_proj.weight")
        .unwrap();
    let first_values: Vec<f32> = q
        .to_f32_vec()
        .unwrap()
        .chunks(16)
        .map(|row| row[0] / 16.0)
        .collect();
    assert_eq!(
        first_values,
        [
            0., 2., 1., 3., 4., 6., 5., 7., 8., 10., 9., 11., 12., 14., 13., 15.
        ]
    );
    let view = checkpoint
        .view("model.layers.0.self_attn.k_proj.weight")
        .unwrap();
    assert!(view.row_map.is_some() && view.tensor.shape() == [8, 16]);
    assert_eq!(view.row(1).unwrap(), &view.tensor.bytes()[2 * 64..3 * 64]);
    let v = checkpoint
        .view("model.layers.0.self_attn.v_proj.weight")
        .unwrap();
    assert!(v.row_map.is_none());
}

#[test]
fn qwen2_keeps_the_row_order_and_other_architectures_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.gguf");
    let rename = |architecture: &str| -> GgufMetadata {
        let values = llama_metadata(&file)
            .values()
            .iter()
            .map(|(key, value)| match key.strip_prefix("llama.") {
                Some(rest) => (format!("{architecture}.{rest}"), value.clone()),
                None if key == "general.architecture" => (key.clone(), text(architecture)),
                None => (key.clone(), value.clone()),
            })
            .collect();
        GgufMetadata::new(&file, values)
    };
    write_gguf_file(&file, &rename("qwen2"), &llama_tensors());
    let checkpoint = Checkpoint::open(&file).unwrap();
    let q = checkpoint
        .view("model.layers.0.self_attn.q_proj.weight")
        .unwrap();
    assert!(q.row_map.is_none());
    write_gguf_file(&file, &rename("bloom"), &llama_tensors());
    let checkpoint = Checkpoint::open(&file).unwrap();
    assert!(checkpoint.contains("blk.0.attn_q.weight"));
    let read = GgufFile::parse(&file, &std::fs::read(&file).unwrap()).unwrap();
    let error = gguf_config(&read, None).unwrap_err().to_string();
    assert!(
        error.contains("`general.architecture` is `bloom`, expected one of llama, qwen2"),
        "{error}"
    );
}

/// The header of a GGUF v3 file, put together by hand.
#[derive(Default)]
struct Raw {
    pairs: Vec<u8>,
    n_pairs: u64,
    tensors: Vec<u8>,
    n_tensors: u64,
}

impl Raw {
    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn pair(mut self, key: &str, value_type: u32, value: &[u8]) -> Self {
        self.pairs.extend(Self::string(key));
        self.pairs.extend(value_type.to_le_bytes());
        self.pairs.extend(value);
        self.n_pairs += 1;
        self
    }

    fn tensor(mut self, name: &str, dims: &[u64], type_id: u32, offset: u64) -> Self {
        self.tensors.extend(Self::string(name));
        self.tensors.extend((dims.len() as u32).to_le_bytes());
        self.tensors
            .extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        self.tensors.extend(type_id.to_le_bytes());
        self.tensors.extend(offset.to_le_bytes());
        self.n_tensors += 1;
        self
    }

    fn bytes(&self, data_len: usize) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(self.n_tensors.to_le_bytes());
        bytes.extend(self.n_pairs.to_le_bytes());
        bytes.extend(&self.pairs);
        bytes.extend(&self.tensors);
        bytes.resize(bytes.len().next_multiple_of(32) + data_len, 0);
        bytes
    }

    #[track_caller]
    fn refused(&self, data_len: usize, expected: &str) {
        refused(&self.bytes(data_len), expected);
    }
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = GgufFile::parse(path(), bytes).unwrap_err().to_string();
    assert!(error.starts_with("m.gguf: "), "{error}");
    assert!(
        error.contains(expected),
        "expected `{expected}` in: {error}"
    );
}

#[test]
fn other_files_versions_and_byte_orders() {
    refused(
        b"",
        "not a GGUF file: it begins with nothing where GGUF is expected",
    );
    refused(b"GGML\x03\0\0\0", "not a GGUF file: it begins with `GGML`");
    refused(b"GGUF", "truncated");
    refused(
        b"GGUF\x01\0\0\0",
        "GGUF version 1 is not read, expected 2 or 3",
    );
    refused(b"GGUF\0\0\0\x03", "big-endian GGUF file");
    refused(
        b"GGUF\x03\0\0\0\x01",
        "truncated: `the tensor count` needs 16 bytes and the file has 9",
    );
}

#[test]
fn counts_that_lie_cost_nothing() {
    let mut bytes = Raw::default().bytes(0);
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(
        &bytes,
        "`the tensor table` claims 18446744073709551615 entries",
    );
    let mut bytes = Raw::default().bytes(0);
    bytes[16..24].copy_from_slice(&(1_u64 << 60).to_le_bytes());
    refused(
        &bytes,
        "`the metadata` claims 1152921504606846976 entries of at least 13 bytes, and 8 bytes are left",
    );
    let array = |element_type: u32, count: u64| {
        [&element_type.to_le_bytes()[..], &count.to_le_bytes()].concat()
    };
    for element_type in 0..13 {
        let raw = Raw::default().pair("k", 9, &array(element_type, 1 << 61));
        raw.refused(0, "`k` claims 2305843009213693952 entries");
    }
    Raw::default()
        .pair("k", 8, &u64::MAX.to_le_bytes())
        .refused(0, "truncated: the value of `k`");
    let mut deep = Vec::new();
    for _ in 0..10_000 {
        deep.extend(array(9, 1));
    }
    Raw::default()
        .pair("k", 9, &deep)
        .refused(0, "metadata `k` nests arrays deeper than 8");
}

#[test]
fn metadata_that_lies() {
    let one = 1_u32.to_le_bytes();
    Raw::default()
        .pair("k", 13, &one)
        .refused(0, "metadata `k` has the unknown type 13, expected 0 to 12");
    Raw::default()
        .pair("k", 7, &[2])
        .refused(0, "`k` is the byte 2, expected a bool of 0 or 1");
    Raw::default()
        .pair("k", 4, &one)
        .pair("k", 4, &one)
        .refused(0, "metadata key `k` appears twice");
    Raw::default()
        .pair("k", 8, &[&2_u64.to_le_bytes()[..], &[0xff, 0xfe]].concat())
        .refused(0, "the value of `k` is not UTF-8");
    for bad in [0_u32, 3, 1 << 31] {
        let raw = Raw::default().pair("general.alignment", 4, &bad.to_le_bytes());
        raw.refused(0, "expected a power of two up to 1073741824");
    }
}

#[test]
fn tensors_that_lie() {
    let raw =
        |dims: &[u64], type_id: u32, offset: u64| Raw::default().tensor("w", dims, type_id, offset);
    raw(&[8], 4, 0).refused(32, "tensor `w`: unknown dtype `4`");
    raw(&[8], 0, 8).refused(
        64,
        "tensor `w`: offset 8 is not a multiple of the alignment 32",
    );
    raw(&[8], 0, 32).refused(
        32,
        "tensor `w`: bytes 32..64 of the data leave the file, which has 32",
    );
    raw(&[9], 0, 0).refused(32, "tensor `w`: bytes 0..36 of the data leave the file");
    raw(&[8], 0, u64::MAX - 31).refused(32, "leave the file");
    raw(&[1 << 32, 1 << 32], 0, 0).refused(
        32,
        "tensor `w`: the size of F32[4294967296, 4294967296] overflows",
    );
    raw(&[0, 1 << 63, 4], 0, 0).refused(32, "overflows");
    raw(&[33, 2], 2, 0).refused(
        64,
        "tensor `w`: Q4_0[2, 33]: the last dim must be a multiple of 32",
    );
    raw(&[1; 5], 0, 0).refused(32, "tensor `w`: has 5 dims, at most 4 are allowed");
    raw(&[8], 0, 0)
        .tensor("w", &[8], 0, 32)
        .refused(64, "tensor `w`: the name appears twice");
    raw(&[16], 0, 0).tensor("v", &[8], 0, 32).refused(
        64,
        "tensor `v`: bytes 32..64 of the data overlap those of `w`, which end at 64",
    );
}

#[test]
fn types_that_cannot_be_decoded_are_listed_and_refused_when_used() {
    let bytes = Raw::default().tensor("w", &[256, 2], 16, 0).bytes(160);
    let checkpoint = Checkpoint::from_bytes(path(), Bytes::from(bytes)).unwrap();
    let info = checkpoint.info("w").unwrap();
    assert!(matches!(info.stored, StoredType::Ggml(it) if it.name() == "IQ2_XXS"));
    assert_eq!(
        (info.dtype(), info.byte_len(), info.shape.as_slice()),
        (None, 132, &[2, 256][..])
    );
    let error = checkpoint.get("w").unwrap_err().to_string();
    assert!(
        error.contains("tensor `w`: is stored as IQ2_XXS, which cannot be decoded yet"),
        "{error}"
    );
    assert!(error.contains("Q8_0"), "{error}");
}

#[test]
fn heads_that_do_not_divide_the_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.gguf");
    let mut values = llama_metadata(&file).values().clone();
    values.insert("llama.attention.head_count".into(), GgufValue::U32(16));
    values.insert("llama.attention.head_count_kv".into(), GgufValue::U32(16));
    write_gguf_file(&file, &GgufMetadata::new(&file, values), &llama_tensors());
    let error = Checkpoint::open(&file).unwrap_err().to_string();
    assert!(
        error.contains("tensor `blk.0.attn_q.weight`: has shape [16, 16], expected rows in 16 heads of an even width"),
        "{error}"
    );
}

#[test]
fn an_empty_tensor_may_end_the_file() {
    let mut bytes = Raw::default().tensor("w", &[4, 0], 0, 0).bytes(0);
    bytes.truncate(24 + 8 + 1 + 4 + 16 + 4 + 8);
    let checkpoint = Checkpoint::from_bytes(path(), Bytes::from(bytes)).unwrap();
    assert_eq!(checkpoint.get("w").unwrap().shape(), [0, 4]);
}

#[test]
fn a_part_of_a_split_model_says_so() {
    let bytes = Raw::default()
        .pair("split.count", 2, &3_u16.to_le_bytes())
        .bytes(0);
    let error = Checkpoint::from_bytes(path(), Bytes::from(bytes))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`split.count` says that this is one of 3 files"),
        "{error}"
    );
}

#[test]
fn version_2_is_read_like_version_3() {
    let mut bytes = llama_bytes();
    bytes[4] = 2;
    let file = GgufFile::parse(path(), &bytes).unwrap();
    assert_eq!((file.version, file.tensors.len()), (2, 11));
}
