//! Conversion: what was not asked to change keeps its bytes, what was asked is done, and nothing half-made appears.

use std::fs;
use std::path::Path;

use gabion_checkpoint::{
    Checkpoint, CheckpointError, ConvertOptions, ConvertSummary, GgufMetadata, GgufValue, Layout,
    ModelFiles, convert,
};
use gabion_tensor::{BlockFormat, DType, HostTensor, bf16};
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::sample::{
    counting, llama_bytes, llama_metadata, llama_tensors, safetensors, text, write_gguf_file,
    write_safetensors_file,
};

/// A folder with a tiny model: four heads and two key heads of four, hidden 16, inner 32, two layers.
fn tiny(model_type: &str, bias: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = IndexMap::new();
    let mut n_values = 0;
    let mut put = |name: String, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|at| ((n_values + at) % 251) as f32 - 125.0)
            .collect();
        n_values += count;
        let tensor = HostTensor::from_slice(shape, &values)
            .unwrap()
            .cast(DType::BF16)
            .unwrap();
        tensors.insert(name, tensor);
    };
    put("model.embed_tokens.weight".into(), &[40, 16]);
    put("model.norm.weight".into(), &[16]);
    for layer in 0..2 {
        for (name, rows, columns) in [
            ("mlp.down_proj", 16, 32),
            ("mlp.gate_proj", 32, 16),
            ("mlp.up_proj", 32, 16),
            ("self_attn.k_proj", 8, 16),
            ("self_attn.o_proj", 16, 16),
            ("self_attn.q_proj", 16, 16),
            ("self_attn.v_proj", 8, 16),
        ] {
            put(
                format!("model.layers.{layer}.{name}.weight"),
                &[rows, columns],
            );
            if bias && name.starts_with("self_attn") && name != "self_attn.o_proj" {
                put(format!("model.layers.{layer}.{name}.bias"), &[rows]);
            }
        }
        put(
            format!("model.layers.{layer}.input_layernorm.weight"),
            &[16],
        );
        put(
            format!("model.layers.{layer}.post_attention_layernorm.weight"),
            &[16],
        );
    }
    write_safetensors_file(&folder.path().join("model.safetensors"), &tensors);
    let config = json!({
        "model_type": model_type, "architectures": ["LlamaForCausalLM"], "vocab_size": 40, "hidden_size": 16,
        "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0,
        "attention_bias": false,
    });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

fn run(
    model: &Path,
    out: &Path,
    options: ConvertOptions,
) -> Result<ConvertSummary, CheckpointError> {
    convert(&ModelFiles::open(model)?, out, &options)
}

fn layout(layout: Layout) -> ConvertOptions {
    ConvertOptions {
        layout,
        ..ConvertOptions::default()
    }
}

#[track_caller]
fn same_tensors(a: &Path, b: &Path) {
    let (a, b) = (Checkpoint::open(a).unwrap(), Checkpoint::open(b).unwrap());
    let sorted = |it: &Checkpoint| {
        let mut names: Vec<String> = it.names().map(str::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(&a), sorted(&b));
    for name in a.names() {
        let (x, y) = (a.get(name).unwrap(), b.get(name).unwrap());
        assert_eq!((x.dtype(), x.shape()), (y.dtype(), y.shape()), "{name}");
        assert!(x.bytes() == y.bytes(), "{name}");
    }
}

fn config(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("config.json")).unwrap()).unwrap()
}

#[test]
fn nothing_asked_nothing_changed() {
    let model = tiny("llama", false);
    fs::write(model.path().join("tokenizer_config.json"), "{ }").unwrap();
    fs::write(
        model.path().join("pytorch_model.bin"),
        "weights of another kind",
    )
    .unwrap();
    let out = model.path().join("out");
    let summary = run(model.path(), &out, ConvertOptions::default()).unwrap();
    assert_eq!(
        (summary.n_tensors, summary.model_type.as_str()),
        (20, "llama")
    );
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
    for name in ["model.safetensors", "config.json", "tokenizer_config.json"] {
        assert!(read(model.path(), name) == read(&out, name), "{name}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
}

#[test]
fn types_that_cannot_be_decoded_are_carried_but_not_converted() {
    let model = tempfile::tempdir().unwrap();
    let header = r#"{"w":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},"f":{"dtype":"F4","shape":[2],"data_offsets":[4,5]}}"#;
    fs::write(
        model.path().join("model.safetensors"),
        safetensors(header, &[1, 2, 3, 4, 5]),
    )
    .unwrap();
    fs::write(model.path().join("config.json"), "{}").unwrap();
    let out = model.path().join("out");
    run(model.path(), &out, ConvertOptions::default()).unwrap();
    let checkpoint = Checkpoint::open(&out).unwrap();
    let info = checkpoint.info("w").unwrap();
    assert_eq!(
        (info.stored.name(), &*checkpoint.raw_bytes(info).unwrap()),
        ("F8_E4M3", &[1, 2, 3, 4][..])
    );
    let options = ConvertOptions {
        dtype: Some(DType::F32),
        ..ConvertOptions::default()
    };
    let error = run(model.path(), &model.path().join("f32"), options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("tensor `w`: is stored as F8_E4M3, which cannot be decoded yet"),
        "{error}"
    );
    assert!(!model.path().join("f32").exists());
}

#[test]
fn stacking_and_separating_undo_each_other() {
    let model = tiny("llama", false);
    let (fused, back) = (model.path().join("fused"), model.path().join("back"));
    let summary = run(model.path(), &fused, layout(Layout::Fuse)).unwrap();
    assert_eq!(
        (summary.n_tensors, summary.model_type.as_str()),
        (14, "phi3")
    );
    let stacked = Checkpoint::open(&fused).unwrap();
    assert!(stacked.has_stacked_projections());
    let separate = Checkpoint::open(model.path()).unwrap();
    let bytes = |name: &str| {
        separate
            .get(&format!("model.layers.1.{name}.weight"))
            .unwrap()
            .bytes()
            .to_vec()
    };
    let qkv = stacked
        .get("model.layers.1.self_attn.qkv_proj.weight")
        .unwrap();
    assert_eq!((qkv.shape(), qkv.dtype()), (&[32, 16][..], DType::BF16));
    assert_eq!(
        qkv.bytes(),
        [
            bytes("self_attn.q_proj"),
            bytes("self_attn.k_proj"),
            bytes("self_attn.v_proj")
        ]
        .concat()
    );
    let gate_up = stacked
        .get("model.layers.1.mlp.gate_up_proj.weight")
        .unwrap();
    assert_eq!(
        gate_up.bytes(),
        [bytes("mlp.gate_proj"), bytes("mlp.up_proj")].concat()
    );
    run(&fused, &back, layout(Layout::Unfuse)).unwrap();
    same_tensors(model.path(), &back);
    let back = config(&back);
    assert_eq!(back["model_type"], "llama");
    for (field, value) in config(model.path()).as_object().unwrap() {
        assert_eq!(&back[field], value, "{field}");
    }
}

#[test]
fn a_fused_config_is_all_that_phi3_needs() {
    let model = tiny("mistral", false);
    let mut source = config(model.path());
    for gone in ["rms_norm_eps", "pad_token_id", "num_key_value_heads"] {
        source.as_object_mut().unwrap().shift_remove(gone);
    }
    source["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 5000.0});
    fs::write(model.path().join("config.json"), source.to_string()).unwrap();
    let out = model.path().join("out");
    run(model.path(), &out, layout(Layout::Fuse)).unwrap();
    let fused = config(&out);
    let expected = json!({
        "model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "rms_norm_eps": 1e-6, "pad_token_id": null,
        "num_key_value_heads": 2, "head_dim": 4, "original_max_position_embeddings": 64, "sliding_window": 4096,
        "tie_word_embeddings": true, "rope_theta": 10000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 1.0},
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(fused.get(field), Some(value), "{field}");
    }
    assert!(fused.get("attention_bias").is_none());
    let back = model.path().join("back");
    run(&out, &back, layout(Layout::Unfuse)).unwrap();
    assert_eq!(
        (
            config(&back)["model_type"].as_str(),
            config(&back)["sliding_window"].as_u64()
        ),
        (Some("mistral"), Some(4096))
    );
}

#[test]
fn biases_are_stacked_too_and_keep_their_model_type() {
    let model = tiny("qwen2", true);
    let (fused, back) = (model.path().join("fused"), model.path().join("back"));
    run(model.path(), &fused, layout(Layout::Fuse)).unwrap();
    assert_eq!(config(&fused)["model_type"], "qwen2");
    let checkpoint = Checkpoint::open(&fused).unwrap();
    assert_eq!(
        checkpoint
            .info("model.layers.0.self_attn.qkv_proj.bias")
            .unwrap()
            .shape,
        [32]
    );
    run(&fused, &back, layout(Layout::Unfuse)).unwrap();
    same_tensors(model.path(), &back);
}

#[test]
fn a_gguf_file_becomes_a_whole_folder() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("tiny.gguf");
    fs::write(&gguf, llama_bytes()).unwrap();
    let out = folder.path().join("out");
    run(&gguf, &out, ConvertOptions::default()).unwrap();
    let (before, after) = (
        ModelFiles::open(&gguf).unwrap(),
        ModelFiles::open(&out).unwrap(),
    );
    assert_eq!(after.checkpoint().tensors().len(), 11);
    for name in before.checkpoint().names() {
        let (x, y) = (
            before.checkpoint().get(name).unwrap(),
            after.checkpoint().get(name).unwrap(),
        );
        assert_eq!(y.dtype(), DType::F32);
        assert_eq!(x.to_f32_vec().unwrap(), y.to_f32_vec().unwrap(), "{name}");
    }
    let mut expected = before.config().clone();
    expected["torch_dtype"] = json!("float32");
    assert_eq!(after.config(), &expected);
    assert_eq!(
        after.generation_ids().unwrap(),
        before.generation_ids().unwrap()
    );
    assert_eq!(
        after.chat_template().unwrap().unwrap().template,
        "{{ messages }}"
    );
    let text = "ab ab1<user>é<|end|>";
    let ids = |model: &ModelFiles| model.tokenizer().unwrap().encode(text, true).unwrap();
    assert_eq!(ids(&after), ids(&before));
    // And, stacked, the folder that Phi-3 would read.
    let fused = folder.path().join("fused");
    run(&gguf, &fused, layout(Layout::Fuse)).unwrap();
    let qkv = Checkpoint::open(&fused)
        .unwrap()
        .get("model.layers.0.self_attn.qkv_proj.weight")
        .unwrap();
    let q = before
        .checkpoint()
        .get("model.layers.0.self_attn.q_proj.weight")
        .unwrap();
    assert_eq!(qkv.rows(0..16).unwrap().bytes(), q.bytes());
}

#[test]
fn a_gguf_file_to_a_gguf_file_keeps_bytes_and_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, out) = (
        folder.path().join("tiny.gguf"),
        folder.path().join("out.gguf"),
    );
    let mut tensors = llama_tensors();
    let factors: Vec<f32> = vec![1.0, 2.0];
    tensors.insert(
        "rope_freqs.weight".into(),
        HostTensor::from_slice(&[2], &factors).unwrap(),
    );
    write_gguf_file(&gguf, &llama_metadata(&gguf), &tensors);
    run(&gguf, &out, ConvertOptions::default()).unwrap();
    let (before, after) = (
        Checkpoint::open(&gguf).unwrap(),
        Checkpoint::open(&out).unwrap(),
    );
    let (a, b) = (before.gguf().unwrap(), after.gguf().unwrap());
    let (a_bytes, b_bytes) = (fs::read(&gguf).unwrap(), fs::read(&out).unwrap());
    assert_eq!(a.tensors.len(), 12);
    for (name, tensor) in &a.tensors {
        let other = &b.tensors[name];
        assert_eq!(
            (tensor.stored, &tensor.shape),
            (other.stored, &other.shape),
            "{name}"
        );
        assert!(
            a_bytes[tensor.range.clone()] == b_bytes[other.range.clone()],
            "{name}"
        );
    }
    for (key, value) in a.metadata.values() {
        assert_eq!(b.metadata.get(key), Some(value), "{key}");
    }
}

#[test]
fn a_folder_becomes_a_gguf_file_and_comes_back() {
    let model = tiny("llama", false);
    let (gguf, back) = (model.path().join("x.gguf"), model.path().join("back"));
    run(model.path(), &gguf, ConvertOptions::default()).unwrap();
    let checkpoint = Checkpoint::open(&gguf).unwrap();
    let file = checkpoint.gguf().unwrap();
    assert_eq!(
        file.metadata.get("general.file_type"),
        Some(&GgufValue::U32(32))
    );
    assert_eq!(
        file.tensors["blk.0.attn_norm.weight"].stored.name(),
        "F32",
        "vectors are f32"
    );
    // The file has q's rows in pairs.
    let q = Checkpoint::open(model.path())
        .unwrap()
        .get("model.layers.0.self_attn.q_proj.weight")
        .unwrap();
    let info = checkpoint
        .info("model.layers.0.self_attn.q_proj.weight")
        .unwrap();
    let stored = checkpoint.raw_bytes(info).unwrap();
    assert_eq!(
        &stored[32..64],
        &q.bytes()[64..96],
        "row 1 in the file is row 2 of the model"
    );
    let options = ConvertOptions {
        dtype: Some(DType::BF16),
        ..ConvertOptions::default()
    };
    run(&gguf, &back, options).unwrap();
    same_tensors(model.path(), &back);
    let (a, b) = (config(model.path()), config(&back));
    for field in [
        "hidden_size",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "rope_theta",
        "rms_norm_eps",
        "tie_word_embeddings",
        "torch_dtype",
        "model_type",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    ] {
        assert_eq!(a[field], b[field], "{field}");
    }
}

#[test]
fn quantising_encodes_matrices_whose_rows_are_whole_blocks() {
    let model = tiny("qwen2", true);
    let out = model.path().join("x.gguf");
    let options = ConvertOptions {
        quantize: Some(BlockFormat::Q8_0),
        ..ConvertOptions::default()
    };
    run(model.path(), &out, options).unwrap();
    let (before, after) = (
        Checkpoint::open(model.path()).unwrap(),
        Checkpoint::open(&out).unwrap(),
    );
    let down = "model.layers.0.mlp.down_proj.weight";
    let block = DType::Block(BlockFormat::Q8_0);
    let expected = before
        .get(down)
        .unwrap()
        .cast(DType::F32)
        .unwrap()
        .cast(block)
        .unwrap();
    assert_eq!(after.get(down).unwrap().dtype(), block);
    assert_eq!(after.get(down).unwrap().bytes(), expected.bytes());
    // Rows of 16 are no whole block of 32.
    let q = "model.layers.0.self_attn.q_proj.weight";
    assert_eq!(
        after.get(q).unwrap().bytes(),
        before.get(q).unwrap().bytes()
    );
    assert_eq!(
        after
            .info("model.layers.0.self_attn.q_proj.bias")
            .unwrap()
            .dtype(),
        Some(DType::F32)
    );
    // Blocks that are in the format already keep their bytes.
    let again = model.path().join("again.gguf");
    run(&out, &again, options).unwrap();
    same_tensors(&out, &again);
}

#[test]
fn tokenizers_go_into_gguf_files_and_come_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, out, second) = (
        folder.path().join("a.gguf"),
        folder.path().join("out"),
        folder.path().join("b.gguf"),
    );
    let mut values = llama_metadata(&first).values().clone();
    values.insert("tokenizer.ggml.add_bos_token".into(), GgufValue::Bool(true));
    values.insert("tokenizer.ggml.bos_token_id".into(), GgufValue::U32(1));
    write_gguf_file(&first, &GgufMetadata::new(&first, values), &llama_tensors());
    run(&first, &out, ConvertOptions::default()).unwrap();
    run(&out, &second, ConvertOptions::default()).unwrap();
    let checkpoint = Checkpoint::open(&second).unwrap();
    let metadata = &checkpoint.gguf().unwrap().metadata;
    assert_eq!(metadata.get("tokenizer.ggml.pre"), Some(&text("smollm")));
    let original = Checkpoint::open(&first).unwrap();
    for key in [
        "tokens",
        "merges",
        "token_type",
        "add_bos_token",
        "bos_token_id",
        "eos_token_id",
    ] {
        let key = format!("tokenizer.ggml.{key}");
        assert_eq!(
            metadata.get(&key),
            original.gguf().unwrap().metadata.get(&key),
            "{key}"
        );
    }
    assert_eq!(
        metadata.get("tokenizer.chat_template"),
        Some(&text("{{ messages }}"))
    );
    let mut tokenizer: Value =
        serde_json::from_str(&fs::read_to_string(out.join("tokenizer.json")).unwrap()).unwrap();
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("x+");
    fs::write(out.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let error = run(
        &out,
        &folder.path().join("c.gguf"),
        ConvertOptions::default(),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains(
            "tokenizer.json: `pre_tokenizer` cuts texts in a way that has no name in GGUF"
        ),
        "{error}"
    );
}

#[test]
fn dtypes_change_floats_and_only_floats() {
    let model = tempfile::tempdir().unwrap();
    let tensors = IndexMap::from([
        ("w".to_string(), counting(&[3, 5])),
        (
            "ids".to_string(),
            HostTensor::from_slice(&[2], &[7_i64, -1]).unwrap(),
        ),
        ("half".to_string(), counting(&[4]).cast(DType::F16).unwrap()),
    ]);
    write_safetensors_file(&model.path().join("model.safetensors"), &tensors);
    fs::write(model.path().join("config.json"), r#"{"dtype": "float32"}"#).unwrap();
    let out = model.path().join("out");
    run(
        model.path(),
        &out,
        ConvertOptions {
            dtype: Some(DType::BF16),
            ..ConvertOptions::default()
        },
    )
    .unwrap();
    let checkpoint = Checkpoint::open(&out).unwrap();
    assert_eq!(
        checkpoint.get("w").unwrap().to_vec::<bf16>().unwrap()[14],
        bf16::from_f32(14.0)
    );
    assert_eq!(
        checkpoint.get("ids").unwrap().to_vec::<i64>().unwrap(),
        [7, -1]
    );
    assert_eq!(checkpoint.get("half").unwrap().dtype(), DType::BF16);
    assert_eq!(config(&out), json!({"dtype": "bfloat16"}));
}

#[test]
fn a_value_beyond_f16_is_an_error_and_leaves_nothing() {
    let model = tempfile::tempdir().unwrap();
    let values = [1.0_f32, f32::INFINITY, 70000.0];
    let tensors = IndexMap::from([(
        "w".to_string(),
        HostTensor::from_slice(&[3], &values).unwrap(),
    )]);
    write_safetensors_file(&model.path().join("model.safetensors"), &tensors);
    fs::write(model.path().join("config.json"), "{}").unwrap();
    let options = ConvertOptions {
        dtype: Some(DType::F16),
        ..ConvertOptions::default()
    };
    let error = run(model.path(), &model.path().join("out"), options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("tensor `w`: holds 70000, which is beyond the range of f16"),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(model.path()).unwrap().count(),
        2,
        "no folder and no temporary folder"
    );
}

#[test]
fn what_cannot_be_done_is_refused() {
    let model = tiny("llama", false);
    let bert = tempfile::tempdir().unwrap();
    let tensors = IndexMap::from([(
        "encoder.layer.0.attention.self.query.weight".to_string(),
        counting(&[2, 2]),
    )]);
    write_safetensors_file(&bert.path().join("model.safetensors"), &tensors);
    fs::write(bert.path().join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
    let out = model.path().join("out");
    let refused = |model: &Path, out: &Path, options: ConvertOptions, expected: &str| {
        let error = run(model, out, options).unwrap_err().to_string();
        assert!(
            error.contains(expected),
            "expected `{expected}` in: {error}"
        );
    };
    let plain = ConvertOptions::default();
    refused(
        bert.path(),
        &out,
        layout(Layout::Fuse),
        "a model of type `bert` cannot be stacked: there is no public stacked layout",
    );
    refused(
        bert.path(),
        &bert.path().join("x.gguf"),
        plain,
        "`model_type` is `bert`, and GGUF files are written for llama, mistral and qwen2",
    );
    refused(
        model.path(),
        &out,
        layout(Layout::Unfuse),
        "there are no stacked projections (qkv_proj, gate_up_proj)",
    );
    refused(
        model.path(),
        &out,
        ConvertOptions {
            dtype: Some(DType::I8),
            ..plain
        },
        "cannot be converted to i8: expected f32, f16 or bf16",
    );
    refused(
        model.path(),
        &out,
        ConvertOptions {
            quantize: Some(BlockFormat::Q4_0),
            ..plain
        },
        "give the output a name that ends in `.gguf`",
    );
    refused(
        model.path(),
        &model.path().join("x.gguf"),
        layout(Layout::Fuse),
        "x.gguf: GGUF has no stacked projections of these models: leave `--fuse` out",
    );
    refused(
        model.path(),
        model.path(),
        plain,
        "a folder that is not empty is already there",
    );
    refused(
        model.path(),
        &model.path().join("config.json"),
        plain,
        "a file is already there",
    );
    refused(
        model.path(),
        Path::new("/no/such/folder/out"),
        plain,
        "/no/such/folder/out: cannot create",
    );
    let fused = model.path().join("fused");
    run(model.path(), &fused, layout(Layout::Fuse)).unwrap();
    refused(
        &fused,
        &out,
        layout(Layout::Fuse),
        "the projections are stacked already",
    );
    refused(
        &fused,
        &model.path().join("x.gguf"),
        plain,
        "stacked projections can be separated with --unfuse",
    );
    let mut wrong = config(&fused);
    wrong["num_key_value_heads"] = json!(1);
    fs::write(fused.join("config.json"), wrong.to_string()).unwrap();
    refused(
        &fused,
        &out,
        layout(Layout::Unfuse),
        "tensor `model.layers.0.self_attn.qkv_proj.weight`: has shape [32, 16], expected the 16+4+4 rows of its parts by the config",
    );
    wrong["num_key_value_heads"] = json!(2);
    wrong["partial_rotary_factor"] = json!(0.5);
    fs::write(fused.join("config.json"), wrong.to_string()).unwrap();
    refused(
        &fused,
        &out,
        layout(Layout::Unfuse),
        "`partial_rotary_factor` is not 1",
    );
    assert!(!out.exists());
}

#[test]
fn llama3_scaling_goes_through_gguf() {
    let model = tiny("llama", false);
    let mut source = config(model.path());
    source["rope_theta"] = json!(500000.0);
    source["rope_scaling"] = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    fs::write(model.path().join("config.json"), source.to_string()).unwrap();
    let gguf = model.path().join("x.gguf");
    run(model.path(), &gguf, ConvertOptions::default()).unwrap();
    let read = ModelFiles::open(&gguf).unwrap();
    assert_eq!(read.config()["rope_scaling"], source["rope_scaling"]);
    assert!(!read.checkpoint().contains("rope_freqs.weight"));
    source["rope_scaling"]["rope_type"] = json!("wild");
    fs::write(model.path().join("config.json"), source.to_string()).unwrap();
    let error = run(
        model.path(),
        &model.path().join("y.gguf"),
        ConvertOptions::default(),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("`rope_scaling.rope_type` is `wild`"),
        "{error}"
    );
}

/// A model that ties its head and stores another one all the same keeps it.
#[test]
fn a_head_that_differs_from_the_embedding_is_never_dropped() {
    for differs in [false, true] {
        let model = tiny("llama", false);
        let checkpoint = Checkpoint::open(model.path()).unwrap();
        let mut tensors: IndexMap<String, HostTensor> = checkpoint
            .names()
            .map(|name| (name.to_string(), checkpoint.get(name).unwrap()))
            .collect();
        let head = match differs {
            true => counting(&[40, 16]).cast(DType::BF16).unwrap(),
            false => tensors["model.embed_tokens.weight"].clone(),
        };
        tensors.insert("lm_head.weight".to_string(), head);
        write_safetensors_file(&model.path().join("model.safetensors"), &tensors);
        assert_eq!(
            Checkpoint::open(model.path()).unwrap().has_own_head(),
            differs
        );
        let gguf = model.path().join("x.gguf");
        run(model.path(), &gguf, ConvertOptions::default()).unwrap();
        let read = ModelFiles::open(&gguf).unwrap();
        assert_eq!(read.config()["tie_word_embeddings"], json!(!differs));
        assert_eq!(read.checkpoint().contains("lm_head.weight"), differs);
    }
}
