//! Models on disk that are damaged, lie, or contradict themselves.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Ran, copy_folder, edit_config, fixture, gabion, names, tiny_llama};
use crate::words;

fn generate(at: &Path, model: &str) -> Ran {
    gabion(
        at,
        [
            "generate",
            "--model",
            model,
            "--prompt-ids",
            "5",
            "--max-new-tokens",
            "1",
        ],
    )
}

/// A copy of the small llama under `model`.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&tiny_llama(), &folder.path().join("model"));
    folder
}

/// The header and the data of a safetensors file.
fn parts(path: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (
        serde_json::from_slice(&bytes[8..8 + length]).unwrap(),
        bytes[8 + length..].to_vec(),
    )
}

fn write_parts(path: &Path, header: &str, data: &[u8]) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

#[test]
fn safetensors_files_that_are_cut_short_are_refused() {
    let folder = copied();
    let file = folder.path().join("model/model.safetensors");
    let whole = fs::read(&file).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap());
    let data = whole.len() - 8 - header as usize;
    let needs = |found: usize| {
        format!(
            "the header needs {} bytes and the file has {found}",
            8 + header
        )
    };
    let leave =
        |found: usize| format!("of the data leave the file, which has {found} bytes of data");
    for (length, said) in [
        (
            0,
            "the header's length needs 8 bytes and the file has 0".to_owned(),
        ),
        (
            7,
            "the header's length needs 8 bytes and the file has 7".to_owned(),
        ),
        (8, needs(8)),
        (100, needs(100)),
        (whole.len() - data / 2, leave(data - data / 2)),
        (whole.len() - 1, leave(data - 1)),
    ] {
        fs::write(&file, &whole[..length]).unwrap();
        generate(folder.path(), "model").refused(&["model.safetensors: ", &said]);
    }
    fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
    generate(folder.path(), "model").refused(&["model.safetensors: ", "belong to no tensor"]);
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let folder = copied();
    let file = folder.path().join("model/model.safetensors");
    let (header, data) = parts(&file);
    const NORM: &str = "model.norm.weight";
    let begin = header[NORM]["data_offsets"][0].as_u64().unwrap();
    let refused = |edit: &dyn Fn(&mut Value), said: &[&str]| {
        let mut header = header.clone();
        edit(&mut header);
        write_parts(&file, &header.to_string(), &data);
        generate(folder.path(), "model").refused(&[&["model.safetensors", NORM], said].concat());
    };
    refused(&|h| h[NORM]["dtype"] = "F33".into(), &["F33"]);
    refused(
        &|h| h[NORM]["shape"] = json!([1u64 << 40, 1u64 << 40]),
        &["overflow"],
    );
    refused(&|h| h[NORM]["shape"] = json!([63]), &["256", "252"]);
    refused(
        &|h| h[NORM]["data_offsets"] = json!([begin + 256, begin]),
        &["the end is before the begin"],
    );
    refused(
        &|h| h[NORM]["data_offsets"] = json!([begin, 1u64 << 50]),
        &["..1125899906842624 of the data leave the file"],
    );
    refused(&|h| h[NORM]["data_offsets"] = json!([0, 256]), &["overlap"]);
    let text = header.to_string();
    let twice = format!("{},\"{NORM}\":{}}}", &text[..text.len() - 1], header[NORM]);
    write_parts(&file, &twice, &data);
    generate(folder.path(), "model").refused(&["model.safetensors", NORM, "twice"]);
    let mut length = fs::read(&file).unwrap();
    length[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&file, length).unwrap();
    generate(folder.path(), "model").refused(&[
        "model.safetensors: the header claims 18446744073709551615 bytes",
        "this is not a safetensors file, or it is damaged",
    ]);
}

#[test]
fn gguf_files_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    gabion(at, words!["convert", tiny_llama(), "good.gguf"]).ok();
    generate(at, "good.gguf").ok();
    let good = fs::read(at.join("good.gguf")).unwrap();
    let refused = |bytes: &[u8], said: &[&str]| {
        fs::write(at.join("bad.gguf"), bytes).unwrap();
        generate(at, "bad.gguf").refused(&[&["bad.gguf"], said].concat());
    };
    for (length, said) in [
        (0, "not a GGUF file: it begins with nothing"),
        (3, "not a GGUF file: it begins with `GGU`"),
        (
            4,
            "truncated: `the version` needs 8 bytes and the file has 4",
        ),
        (
            20,
            "truncated: `the metadata count` needs 24 bytes and the file has 20",
        ),
        (24, "`the metadata` claims"),
        (200, "and 176 bytes are left"),
        (good.len() / 2, "of the data leave the file"),
        (good.len() - 1, "tensor `output_norm.weight`: "),
    ] {
        refused(&good[..length], &[said]);
    }
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        bytes
    };
    refused(&edited(&|b| b[0] = b'X'), &["not a GGUF file"]);
    refused(&edited(&|b| b[4] = 9), &["version 9"]);
    refused(
        &edited(&|b| b[8..16].fill(0xff)),
        &["`the tensor table` claims 18446744073709551615 entries"],
    );
    refused(
        &edited(&|b| b[16..24].fill(0xff)),
        &["`the metadata` claims 18446744073709551615 entries"],
    );
    // A tensor's record: name, rank, dims, type, offset.
    let name = b"output_norm.weight";
    let record = good.windows(name.len()).position(|w| w == name).unwrap() + name.len();
    refused(
        &edited(&|b| b[record] = 200),
        &["tensor `output_norm.weight`: has 200 dims, at most 4 are allowed"],
    );
    refused(
        &edited(&|b| b[record + 4..record + 12].fill(0x7f)),
        &["tensor `output_norm.weight`: the size of F32[9187201950435737471] overflows"],
    );
    refused(
        &edited(&|b| b[record + 12] = 250),
        &["output_norm.weight", "250"],
    );
    refused(
        &edited(&|b| b[record + 16..record + 24].fill(0x7f)),
        &["tensor `output_norm.weight`: offset 9187201950435737471 is not a multiple"],
    );
    // The same name again.
    let name = b"blk.0.attn_norm.weight";
    let layer = good.windows(name.len()).position(|w| w == name).unwrap() + 4;
    refused(
        &edited(&|b| b[layer] = b'1'),
        &["tensor `blk.1.attn_norm.weight`: the name appears twice in the file"],
    );
}

#[test]
fn shards_that_do_not_agree_with_the_index_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let fresh = || {
        copy_folder(
            &fixture("tiny_models/llama_head_dim_untied_sharded"),
            &model,
        )
    };
    let edit_index = |edit: &dyn Fn(&mut Value)| {
        let path = model.join("model.safetensors.index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut index["weight_map"]);
        fs::write(path, index.to_string()).unwrap();
    };
    let (first, second) = (
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    );
    fresh();
    fs::remove_file(model.join(second)).unwrap();
    generate(folder.path(), "model").refused(&[
        "index.json: lists the shard `model-00002-of-00002.safetensors`, which is not in that folder",
    ]);
    fresh();
    fs::copy(model.join(first), model.join(second)).unwrap();
    generate(folder.path(), "model").refused(&[
        &format!("{second}: tensor `"),
        "`: is also in ",
        &format!("{first}: one of the two must go"),
    ]);
    fresh();
    edit_index(&|map| {
        map["model.norm.weight"] = if map["model.norm.weight"] == first {
            second.into()
        } else {
            first.into()
        };
    });
    generate(folder.path(), "model").refused(&["index.json", "model.norm.weight", first, second]);
    fresh();
    edit_index(&|map| map["model.ghost.weight"] = first.into());
    generate(folder.path(), "model").refused(&["index.json", "model.ghost.weight", first]);
}

#[test]
fn configs_that_lack_or_contradict_fields_are_refused() {
    let refused = |edit: &dyn Fn(&mut serde_json::Map<String, Value>), said: &[&str]| {
        let folder = copied();
        edit_config(&folder.path().join("model"), edit);
        generate(folder.path(), "model").refused(&[&["config.json"], said].concat());
    };
    refused(
        &|c| {
            ["hidden_size", "vocab_size"]
                .iter()
                .for_each(|f| drop(c.remove(*f)))
        },
        &["`hidden_size` is missing", "`vocab_size` is missing"],
    );
    refused(
        &|c| drop(c.remove("model_type")),
        &["`model_type` is missing"],
    );
    refused(
        &|c| drop(c.insert("model_type".into(), "gpt9".into())),
        &["gpt9", "llama"],
    );
    refused(
        &|c| drop(c.insert("num_key_value_heads".into(), 3.into())),
        &["contradict", "num_key_value_heads"],
    );
    refused(
        &|c| drop(c.insert("hidden_size".into(), "64".into())),
        &["`hidden_size`", "expected", "found"],
    );
    refused(
        &|c| drop(c.insert("rms_norm_eps".into(), "NaN".into())),
        &["`rms_norm_eps`: expected a positive number, found \"NaN\""],
    );
    refused(
        &|c| drop(c.insert("vocab_size".into(), u32::MAX.into())),
        &["`vocab_size`: expected a positive integer up to 2147483648, found 4294967295"],
    );
    refused(
        &|c| drop(c.insert("hidden_act".into(), "wobble".into())),
        &["hidden_act", "wobble", "silu"],
    );
    let folder = copied();
    let config = folder.path().join("model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, "{").unwrap();
    generate(folder.path(), "model").refused(&["config.json: not valid JSON: EOF"]);
    let twice = text.replacen('{', "{\"hidden_size\": 64,", 1);
    fs::write(&config, twice).unwrap();
    generate(folder.path(), "model").refused(&["config.json", "`hidden_size` appears twice"]);
    fs::remove_file(&config).unwrap();
    generate(folder.path(), "model").refused(&["config.json: cannot read"]);
}

#[test]
fn a_config_that_the_tensors_contradict_is_reported_whole() {
    let folder = copied();
    edit_config(&folder.path().join("model"), |c| {
        c.insert("intermediate_size".into(), 100.into());
        c.insert("num_hidden_layers".into(), 3.into());
    });
    let ran = generate(folder.path(), "model");
    ran.refused(&[
        "model.safetensors",
        "missing",
        "model.layers.2.self_attn.q_proj.weight [64, 64]",
        "model.layers.0.mlp.down_proj.weight: expected [64, 100], found [64, 96]",
        "nothing was loaded",
    ]);
}

#[test]
fn folders_without_a_checkpoint_say_what_they_hold() {
    let folder = copied();
    let model = folder.path().join("model");
    fs::rename(
        model.join("model.safetensors"),
        model.join("pytorch_model.bin"),
    )
    .unwrap();
    generate(folder.path(), "model").refused(&["model", "pytorch_model.bin", "safetensors"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    generate(folder.path(), "empty").refused(&["empty", "config.json"]);
    fs::write(folder.path().join("note.txt"), "hello").unwrap();
    generate(folder.path(), "note.txt").refused(&["note.txt"]);
    assert_eq!(names(folder.path()), ["empty", "model", "note.txt"]);
}

/// Whatever is wrong with the model, nothing is written, and what was there stays.
#[test]
fn damaged_models_are_not_converted() {
    let folder = copied();
    let at = folder.path();
    fs::write(at.join("old.gguf"), "old").unwrap();
    let file = at.join("model/model.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    for out in ["old.gguf", "new.gguf", "new"] {
        gabion(at, ["convert", "model", out]).refused(&[
            "model.safetensors: tensor `model.norm.weight`: ",
            "leave the file",
        ]);
    }
    fs::write(&file, &whole).unwrap();
    edit_config(&at.join("model"), |c| {
        c.insert("intermediate_size".into(), 100.into());
    });
    for out in ["old.gguf", "new.gguf", "new"] {
        gabion(at, ["convert", "model", out])
            .refused(&["model.layers.0.mlp.down_proj.weight: expected [64, 100], found [64, 96]"]);
    }
    assert_eq!(names(at), ["model", "old.gguf"]);
    assert_eq!(fs::read(at.join("old.gguf")).unwrap(), b"old");
}

/// A limit on the size of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_half_of_a_model() {
    let folder = copied();
    let at = folder.path();
    fs::write(at.join("old.gguf"), "old").unwrap();
    for (out, parts) in [
        ("old.gguf", &["old.gguf: cannot write"][..]),
        ("new", &["model.safetensors: cannot write"]),
    ] {
        let program = env!("CARGO_BIN_EXE_gabion");
        let script = format!("trap '' XFSZ; ulimit -f 64; exec '{program}' convert model {out}");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(at)
            .output()
            .unwrap();
        Ran::of(output).refused(parts);
        assert_eq!(names(at), ["model", "old.gguf"]);
    }
    assert_eq!(fs::read(at.join("old.gguf")).unwrap(), b"old");
}

/// Opening a pipe that nobody writes to would wait for ever.
#[cfg(unix)]
#[test]
fn pipes_are_no_configs() {
    let folder = copied();
    for file in ["config.json", "tokenizer.json"] {
        let path = folder.path().join("model").join(file);
        let content = fs::read(&path).ok();
        if content.is_some() {
            fs::remove_file(&path).unwrap();
        }
        let made = std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let ran = match file {
            "config.json" => generate(folder.path(), "model"),
            _ => gabion(folder.path(), ["generate", "--model", "model", "hello"]),
        };
        ran.refused(&[
            file,
            "cannot read: it is a pipe, a socket or a device, expected a file",
        ]);
        fs::remove_file(&path).unwrap();
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
    }
}

/// A limit on the size of files is an error like a full disk, and leaves nothing behind.
#[cfg(unix)]
#[test]
fn a_limit_of_file_sizes_is_an_error() {
    let folder = copied();
    let program = env!("CARGO_BIN_EXE_gabion");
    let limited = format!("ulimit -f 8; exec '{program}' convert model out.gguf");
    let output = std::process::Command::new("bash")
        .args(["-c", &limited])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("out.gguf: cannot write: File too large"),
        "{error}"
    );
    assert_eq!(names(folder.path()), ["model"]);
}
