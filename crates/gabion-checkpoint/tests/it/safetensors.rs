//! safetensors: every lie is refused with the file, the tensor, the expected and the found; what is right is read as the
//! reference crate reads it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use gabion_checkpoint::{
    Checkpoint, CheckpointError, SafetensorsHeader, SafetensorsType, TensorDecl, write_safetensors,
};
use indexmap::IndexMap;
use proptest::prelude::*;

use crate::sample::safetensors;

fn parse(bytes: &[u8]) -> Result<SafetensorsHeader, CheckpointError> {
    SafetensorsHeader::parse(Path::new("m.safetensors"), bytes)
}

#[track_caller]
fn refused(header: &str, data_len: usize, expected: &str) {
    let error = parse(&safetensors(header, &vec![0; data_len]))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("m.safetensors: "), "{error}");
    assert!(
        error.contains(expected),
        "expected `{expected}` in: {error}"
    );
}

#[test]
fn truncated_and_absurd_headers() {
    let error = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
    assert_eq!(
        error(b""),
        "m.safetensors: truncated: the header's length needs 8 bytes and the file has 0"
    );
    assert_eq!(
        error(&[1, 0, 0]),
        "m.safetensors: truncated: the header's length needs 8 bytes and the file has 3"
    );
    assert_eq!(
        error(&[200, 0, 0, 0, 0, 0, 0, 0, b'{']),
        "m.safetensors: truncated: the header needs 208 bytes and the file has 9"
    );
    assert!(
        error(&[0xff; 16]).contains("claims 18446744073709551615 bytes, the limit is 100000000")
    );
}

#[test]
fn headers_that_are_no_json() {
    refused("", 0, "does not begin with `{`");
    refused("[]", 0, "does not begin with `{`");
    refused(" {}", 0, "does not begin with `{`");
    refused("{", 0, "the header is not valid: EOF");
    refused("{} x", 0, "trailing characters");
    refused(r#"{"a": 3}"#, 0, "tensor `a`: invalid type");
    refused(
        r#"{"a": {"dtype": "F32", "shape": [1]}}"#,
        4,
        "missing field `data_offsets`",
    );
    refused(
        r#"{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}"#,
        4,
        "tensor `a`",
    );
    refused(
        r#"{"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}}"#,
        4,
        "tensor `a`",
    );
    refused(
        r#"{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#,
        4,
        "duplicate field",
    );
    refused(r#"{"__metadata__": {"a": 1}}"#, 0, "expected a string");
    refused(
        r#"{"__metadata__": {"a": "1", "a": "2"}}"#,
        0,
        "`a` appears twice",
    );
    refused(
        r#"{"__metadata__": {}, "__metadata__": {}}"#,
        0,
        "`__metadata__` appears twice",
    );
    refused(
        &format!("{{\"a\": {}", "[".repeat(100_000)),
        0,
        "the header is not valid",
    );
    let mut bytes = safetensors("{}      ", &[]);
    bytes[10] = 0xff;
    assert!(
        parse(&bytes)
            .unwrap_err()
            .to_string()
            .contains("byte 2 is not UTF-8")
    );
}

#[test]
fn tensors_that_lie() {
    let one = |dtype: &str, shape: &str, begin: u64, end: u64| {
        format!(
            r#"{{"w": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [{begin}, {end}]}}}}"#
        )
    };
    refused(
        &one("F23", "[1]", 0, 4),
        4,
        "tensor `w`: unknown dtype `F23`, expected one of BOOL, F4,",
    );
    refused(
        &one("F32", "[1]", 4, 0),
        4,
        "tensor `w`: data offsets [4, 0]: the end is before the begin",
    );
    refused(
        &one("F32", "[2]", 0, 8),
        4,
        "tensor `w`: bytes 0..8 of the data leave the file, which has 4",
    );
    refused(
        &one("F32", "[1]", u64::MAX - 4, u64::MAX),
        4,
        "leave the file",
    );
    refused(
        &one("F32", "[3]", 0, 8),
        8,
        "tensor `w`: F32[3] is 12 bytes, the offsets span 8",
    );
    refused(
        &one("F32", "[4294967296, 4294967296]", 0, 4),
        4,
        "the size of F32[4294967296, 4294967296] overflows",
    );
    refused(&one("F32", "[18446744073709551615]", 0, 4), 4, "overflows");
    refused(
        &one("F4", "[3]", 0, 2),
        2,
        "F4[3]: the last dim must be a multiple of 2",
    );
    refused(
        &one("F32", "[1]", 4, 8),
        8,
        "bytes 0..4 of the data belong to no tensor",
    );
    refused(
        &one("F32", "[1]", 0, 4),
        7,
        "bytes 4..7 of the data belong to no tensor",
    );
    refused("{}", 1, "bytes 0..1 of the data belong to no tensor");
}

#[test]
fn tensors_that_contradict_each_other() {
    let two = |first: &str, b1: u64, e1: u64, second: &str, b2: u64, e2: u64| {
        format!(
            r#"{{"{first}": {{"dtype": "U8", "shape": [{}], "data_offsets": [{b1}, {e1}]}},
                "{second}": {{"dtype": "U8", "shape": [{}], "data_offsets": [{b2}, {e2}]}}}}"#,
            e1 - b1,
            e2 - b2
        )
    };
    refused(
        &two("a", 0, 4, "b", 2, 6),
        6,
        "tensor `b`: bytes 2..6 of the data overlap those of `a`, which end at 4",
    );
    refused(
        &two("a", 0, 4, "b", 5, 6),
        6,
        "bytes 4..5 of the data belong to no tensor",
    );
    refused(
        &two("a", 0, 4, "a", 4, 8),
        8,
        "tensor `a`: the name appears twice",
    );
}

#[test]
fn order_metadata_and_empty_tensors_are_kept() {
    let header = r#"{"z": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}, "__metadata__": {"format": "pt"},
        "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
        "none": {"dtype": "F32", "shape": [0, 7], "data_offsets": [4, 4]},
        "one": {"dtype": "I16", "shape": [], "data_offsets": [4, 6]}}      "#;
    let parsed = parse(&safetensors(header, &[1, 2, 3, 4, 5, 0])).unwrap();
    let names: Vec<&str> = parsed.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["z", "a", "none", "one"]);
    assert_eq!(parsed.metadata["format"], "pt");
    let checkpoint = Checkpoint::from_bytes(
        Path::new("m.safetensors"),
        safetensors(header, &[1, 2, 3, 4, 5, 0]).into(),
    )
    .unwrap();
    assert_eq!(checkpoint.get("z").unwrap().to_vec::<u8>().unwrap(), [3, 4]);
    assert_eq!(checkpoint.get("none").unwrap().shape(), [0, 7]);
    assert_eq!(checkpoint.get("one").unwrap().to_vec::<i16>().unwrap(), [5]);
    let error = checkpoint.get("ones").unwrap_err().to_string();
    assert_eq!(
        error,
        "m.safetensors: tensor `ones`: is not in the checkpoint; the nearest names are `one`, `none`"
    );
}

#[test]
fn types_that_cannot_be_decoded_are_listed_and_refused_when_used() {
    let header = r#"{"w": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]},
        "s": {"dtype": "F4", "shape": [2], "data_offsets": [4, 5]}, "c": {"dtype": "C64", "shape": [1], "data_offsets": [5, 13]}}"#;
    let bytes = safetensors(header, &[0; 13]);
    let checkpoint = Checkpoint::from_bytes(Path::new("m.safetensors"), bytes.into()).unwrap();
    let info = checkpoint.info("w").unwrap();
    assert_eq!(
        (info.stored.name(), info.dtype(), info.byte_len()),
        ("F8_E4M3", None, 4)
    );
    assert_eq!(checkpoint.info("s").unwrap().shape, [2]);
    let error = checkpoint.get("w").unwrap_err().to_string();
    assert!(
        error.contains("tensor `w`: is stored as F8_E4M3, which cannot be decoded yet"),
        "{error}"
    );
    assert!(error.contains("F32"), "{error}");
}

#[test]
fn the_writer_keeps_order_and_metadata_and_aligns_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let metadata = IndexMap::from([("format".to_string(), "pt".to_string())]);
    let decls =
        [("z", vec![3]), ("a", vec![]), ("m", vec![0, 4])].map(|(name, shape)| TensorDecl {
            name: name.to_string(),
            stored: SafetensorsType::by_name("U8").unwrap(),
            shape,
        });
    let data: [&[u8]; 3] = [&[1, 2, 3], &[4], &[]];
    write_safetensors(&path, &metadata, &decls, |index, sink| {
        sink.write_all(data[index]).unwrap();
        Ok(())
    })
    .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(length % 8, 0);
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.tensor("z").unwrap().data(), [1, 2, 3]);
    let (_, their_metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(their_metadata.metadata().as_ref().unwrap()["format"], "pt");
    let ours = parse(&bytes).unwrap();
    assert_eq!(ours.tensors.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
    assert_eq!(ours.metadata, metadata);
}

#[test]
fn a_writer_that_is_given_the_wrong_number_of_bytes_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    std::fs::write(&path, "old").unwrap();
    let decl = |name: &str| TensorDecl {
        name: name.to_string(),
        stored: SafetensorsType::by_name("F32").unwrap(),
        shape: vec![2],
    };
    let write = |decls: &[TensorDecl<SafetensorsType>], length: usize| {
        write_safetensors(&path, &IndexMap::new(), decls, |_, sink| {
            sink.write_all(&vec![0; length]).unwrap();
            Ok(())
        })
    };
    let error = write(&[decl("w")], 7).unwrap_err().to_string();
    assert!(
        error.contains("tensor `w` was declared with 8 bytes and 7 were given"),
        "{error}"
    );
    let error = write(&[decl("w"), decl("w")], 8).unwrap_err().to_string();
    assert!(
        error.contains("tensor `w`: the name appears twice"),
        "{error}"
    );
    assert!(write(&[decl("__metadata__")], 8).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The dtypes that the reference crate can write from raw bytes.
const ORACLE: &[(safetensors::Dtype, &str, usize)] = &[
    (safetensors::Dtype::BOOL, "BOOL", 1),
    (safetensors::Dtype::U8, "U8", 1),
    (safetensors::Dtype::I8, "I8", 1),
    (safetensors::Dtype::F8_E4M3, "F8_E4M3", 1),
    (safetensors::Dtype::I16, "I16", 2),
    (safetensors::Dtype::BF16, "BF16", 2),
    (safetensors::Dtype::F16, "F16", 2),
    (safetensors::Dtype::F32, "F32", 4),
    (safetensors::Dtype::U32, "U32", 4),
    (safetensors::Dtype::F64, "F64", 8),
    (safetensors::Dtype::I64, "I64", 8),
    (safetensors::Dtype::C64, "C64", 8),
];

fn any_tensors() -> impl Strategy<Value = BTreeMap<String, (usize, Vec<usize>, u8)>> {
    let tensor = (
        0..ORACLE.len(),
        prop::collection::vec(0_usize..4, 0..4),
        0_u8..2,
    );
    prop::collection::btree_map("[a-z.\"\\\\é]{0,8}", tensor, 0..6)
}

proptest! {
    #[test]
    fn we_read_what_the_reference_writes(tensors in any_tensors()) {
        let data: BTreeMap<&str, Vec<u8>> = tensors
            .iter()
            .map(|(name, (at, shape, fill))| {
                let length = ORACLE[*at].2 * shape.iter().product::<usize>();
                (name.as_str(), vec![*fill; length])
            })
            .collect();
        let views = tensors.iter().map(|(name, (at, shape, _))| {
            let view = safetensors::tensor::TensorView::new(ORACLE[*at].0, shape.clone(), &data[name.as_str()]);
            (name.clone(), view.unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        let ours = parse(&bytes).unwrap();
        prop_assert_eq!(ours.tensors.len(), tensors.len());
        for (name, (at, shape, _)) in &tensors {
            let entry = &ours.tensors[name];
            prop_assert_eq!(entry.dtype.name(), ORACLE[*at].1);
            prop_assert_eq!(&entry.shape, shape);
            prop_assert_eq!(&bytes[entry.range.clone()], data[name.as_str()].as_slice());
        }
    }

    /// Where the reference refuses, so do we; we may refuse more (names that appear twice).
    #[test]
    fn we_are_never_more_lenient_than_the_reference(
        begin in 0_u64..6, end in 0_u64..10, dim in 0_u64..4, begin2 in 0_u64..10, dim2 in 0_u64..4,
        data_len in 0_usize..16,
    ) {
        let header = format!(
            r#"{{"a": {{"dtype": "U16", "shape": [{dim}], "data_offsets": [{begin}, {end}]}},
                "b": {{"dtype": "U8", "shape": [{dim2}], "data_offsets": [{begin2}, {}]}}}}"#,
            begin2 + dim2
        );
        let bytes = safetensors(&header, &vec![0; data_len]);
        let theirs = safetensors::SafeTensors::deserialize(&bytes);
        let ours = parse(&bytes);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs.err());
    }
}

// Each case waits for the disk.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_reference_reads_what_we_write(tensors in any_tensors()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let decls: Vec<TensorDecl<SafetensorsType>> = tensors
            .iter()
            .map(|(name, (at, shape, _))| TensorDecl {
                name: name.clone(),
                stored: SafetensorsType::by_name(ORACLE[*at].1).unwrap(),
                shape: shape.clone(),
            })
            .collect();
        let fills: Vec<u8> = tensors.values().map(|it| it.2).collect();
        write_safetensors(&path, &IndexMap::new(), &decls, |index, sink| {
            let length = decls[index].stored.bytes_for(&decls[index].shape).unwrap();
            sink.write_all(&vec![fills[index]; length as usize]).unwrap();
            Ok(())
        }).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(theirs.len(), tensors.len());
        for (name, (at, shape, fill)) in &tensors {
            let view = theirs.tensor(name).unwrap();
            prop_assert_eq!(view.dtype(), ORACLE[*at].0);
            prop_assert_eq!(view.shape(), shape.as_slice());
            prop_assert!(view.data().iter().all(|byte| byte == fill));
        }
    }
}
