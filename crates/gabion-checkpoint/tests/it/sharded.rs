//! Checkpoints of several files: the index and the shards must say the same.

use std::fs;
use std::path::Path;

use gabion_checkpoint::Checkpoint;

use crate::sample::safetensors;

/// A file of one-byte tensors whose values are their positions.
fn shard(names: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            format!(
                r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{at},{}]}}"#,
                at + 1
            )
        })
        .collect();
    let data: Vec<u8> = (0..names.len() as u8).collect();
    safetensors(&format!("{{{}}}", entries.join(",")), &data)
}

fn folder(index: &str, shards: &[(&str, &[&str])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    for (file, names) in shards {
        fs::write(folder.path().join(file), shard(names)).unwrap();
    }
    folder
}

#[track_caller]
fn refused(index: &str, shards: &[(&str, &[&str])], expected: &str) {
    let folder = folder(index, shards);
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    let error = error.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(error, expected);
}

#[test]
fn shards_that_agree_with_the_index_are_one_checkpoint() {
    let index = r#"{"metadata": {"total_size": 3}, "weight_map": {"a": "1.safetensors", "c": "2.safetensors", "b": "1.safetensors"}}"#;
    let folder = folder(
        index,
        &[("1.safetensors", &["a", "b"]), ("2.safetensors", &["c"])],
    );
    for path in [
        folder.path().to_path_buf(),
        folder.path().join("model.safetensors.index.json"),
    ] {
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(checkpoint.files().len(), 2);
        assert_eq!(checkpoint.get("b").unwrap().to_vec::<u8>().unwrap(), [1]);
        assert_eq!(checkpoint.get("c").unwrap().to_vec::<u8>().unwrap(), [0]);
    }
}

#[test]
fn disagreements_are_refused() {
    let index = r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#;
    refused(
        index,
        &[("1.safetensors", &["a"])],
        "model.safetensors.index.json: lists the shard `2.safetensors`, which is not in that folder",
    );
    refused(
        index,
        &[("1.safetensors", &["a", "b"]), ("2.safetensors", &["b"])],
        "2.safetensors: tensor `b`: is also in 1.safetensors: one of the two must go",
    );
    refused(
        index,
        &[("1.safetensors", &["a", "b"]), ("2.safetensors", &[])],
        "model.safetensors.index.json: tensor `b`: the index expects it in `2.safetensors`, found in `1.safetensors`",
    );
    refused(
        index,
        &[("1.safetensors", &["a"]), ("2.safetensors", &[])],
        "model.safetensors.index.json: tensor `b`: the index expects it in `2.safetensors`, which does not have it",
    );
    refused(
        index,
        &[("1.safetensors", &["a"]), ("2.safetensors", &["b", "c"])],
        "model.safetensors.index.json: tensor `c`: is in the shard `2.safetensors` but the index does not list it",
    );
}

#[test]
fn an_index_that_is_wrong_is_refused() {
    let one: &[(&str, &[&str])] = &[("1.safetensors", &["a"])];
    refused(
        r#"{"weight_map": {"a": "../1.safetensors"}}"#,
        one,
        "model.safetensors.index.json: lists the shard `../1.safetensors`: a shard is a file name in the same folder",
    );
    refused(
        r#"{"weight_map": {"a": 1}}"#,
        one,
        "model.safetensors.index.json: `weight_map.a` is a number, expected a shard's file name",
    );
    refused(
        "{}",
        one,
        "model.safetensors.index.json: `weight_map` is missing, expected an object of tensor names and shard file names",
    );
    refused(
        r#"{"weight_map": {"a": "1.safetensors", "a": "1.safetensors"}}"#,
        one,
        "model.safetensors.index.json: not valid JSON: the key `a` appears twice: leave one of the two out at line 1 column 41",
    );
    for name in ["", ".", "/etc/1.safetensors", "x/../1.safetensors"] {
        let index = format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#);
        let folder = folder(&index, one);
        let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("a shard is a file name in the same folder"),
            "{error}"
        );
    }
}

#[test]
fn several_files_by_name_must_not_share_a_tensor() {
    let folder = folder(
        "{}",
        &[
            ("1.safetensors", &["a"]),
            ("2.safetensors", &["b"]),
            ("3.safetensors", &["a"]),
        ],
    );
    let paths = |names: &[&str]| {
        names
            .iter()
            .map(|it| folder.path().join(it))
            .collect::<Vec<_>>()
    };
    let checkpoint = Checkpoint::open_files(&paths(&["2.safetensors", "1.safetensors"])).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["b", "a"]);
    let error = Checkpoint::open_files(&paths(&["1.safetensors", "3.safetensors"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("3.safetensors: tensor `a`: is also in"),
        "{error}"
    );
}

#[test]
fn a_folder_without_a_checkpoint_says_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("holds no checkpoint: expected `model.safetensors`"),
        "{error}"
    );
    fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains(
            "`pytorch_model.bin`, a pickle, which is not read: save the model as safetensors"
        ),
        "{error}"
    );
    fs::write(folder.path().join("x.gguf"), "").unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("it does hold `x.gguf`: name that file"),
        "{error}"
    );
    let error = Checkpoint::open(Path::new("/no/such/model"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/no/such/model: cannot open"), "{error}");
}

#[test]
fn prefixes_match_whole_segments() {
    let folder = folder(
        "{}",
        &[(
            "x.safetensors",
            &["layers.1.w", "layers.10.w", "layers.1", "other"],
        )],
    );
    let checkpoint = Checkpoint::open(&folder.path().join("x.safetensors")).unwrap();
    let view = checkpoint.prefixed("layers.1");
    assert_eq!(view.names().collect::<Vec<_>>(), ["w"]);
    assert!(view.contains("w"));
    assert_eq!(view.get("w").unwrap().to_vec::<u8>().unwrap(), [0]);
    assert!(
        view.get("x")
            .unwrap_err()
            .to_string()
            .contains("`layers.1.x`")
    );
    assert_eq!(checkpoint.prefixed("").names().count(), 4);
    assert_eq!(
        checkpoint.prefixed("layers").names().collect::<Vec<_>>(),
        ["1.w", "10.w", "1"]
    );
}
