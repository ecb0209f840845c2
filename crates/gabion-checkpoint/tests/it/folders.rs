//! Model folders: config, tokenizer, chat template, stop tokens, pooling; each error names file and field.

use std::fs;
use std::path::Path;

use gabion_checkpoint::{GenerationIds, ModelFiles, Pooling, SentenceConfig};

use crate::sample::{llama_bytes, safetensors};

/// A folder of these files, with an empty checkpoint and an empty config unless they are given.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("model.safetensors"),
        safetensors("{}", &[]),
    )
    .unwrap();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn shown(folder: &Path, error: impl ToString) -> String {
    error
        .to_string()
        .replace(&format!("{}/", folder.display()), "")
}

#[test]
fn stop_tokens_may_be_one_or_many_and_generation_wins() {
    let ids = |files: &[(&str, &str)]| {
        let folder = folder(files);
        let ids = ModelFiles::open(folder.path()).unwrap().generation_ids();
        ids.map_err(|error| shown(folder.path(), error))
    };
    let config = (
        "config.json",
        r#"{"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": null}"#,
    );
    assert_eq!(
        ids(&[config]).unwrap(),
        GenerationIds {
            bos: Some(1),
            eos: vec![2],
            pad: None
        }
    );
    let generation = (
        "generation_config.json",
        r#"{"eos_token_id": [7, 8], "pad_token_id": 9}"#,
    );
    assert_eq!(
        ids(&[config, generation]).unwrap(),
        GenerationIds {
            bos: Some(1),
            eos: vec![7, 8],
            pad: Some(9)
        }
    );
    assert_eq!(ids(&[]).unwrap(), GenerationIds::default());
    assert_eq!(
        ids(&[("generation_config.json", r#"{"eos_token_id": [7, -8]}"#)]).unwrap_err(),
        "generation_config.json: `eos_token_id` is `[7,-8]`, expected a token id or a list of token ids"
    );
}

#[test]
fn chat_templates_come_from_the_file_then_the_config() {
    let template = |files: &[(&str, &str)]| {
        let folder = folder(files);
        let template = ModelFiles::open(folder.path()).unwrap().chat_template();
        template.map_err(|error| shown(folder.path(), error))
    };
    assert_eq!(template(&[]).unwrap(), None);
    assert_eq!(template(&[("tokenizer_config.json", "{}")]).unwrap(), None);
    let config = (
        "tokenizer_config.json",
        r#"{"chat_template": "A", "bos_token": "<s>", "eos_token": {"content": "</s>"}}"#,
    );
    let read = template(&[config]).unwrap().unwrap();
    assert_eq!(
        (
            read.template.as_str(),
            read.bos_token.as_deref(),
            read.eos_token.as_deref()
        ),
        ("A", Some("<s>"), Some("</s>"))
    );
    let read = template(&[config, ("chat_template.jinja", "B")])
        .unwrap()
        .unwrap();
    assert_eq!(
        (read.template.as_str(), read.bos_token.as_deref()),
        ("B", Some("<s>"))
    );
    let list = r#"{"chat_template": [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]}"#;
    assert_eq!(
        template(&[("tokenizer_config.json", list)])
            .unwrap()
            .unwrap()
            .template,
        "D"
    );
    assert_eq!(
        template(&[("tokenizer_config.json", r#"{"chat_template": 3}"#)]).unwrap_err(),
        "tokenizer_config.json: `chat_template` is `3`, expected a template, or a list with one named `default`"
    );
}

const MODULES: &str = r#"[{"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}]"#;

#[test]
fn sentence_transformers_say_how_they_pool() {
    let read = |files: &[(&str, &str)]| {
        let folder = folder(files);
        let config = ModelFiles::open(folder.path()).and_then(|it| it.sentence_config());
        config.map_err(|error| shown(folder.path(), error))
    };
    let mean = (
        "1_Pooling/config.json",
        r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}"#,
    );
    let length = (
        "sentence_bert_config.json",
        r#"{"max_seq_length": 256, "do_lower_case": true}"#,
    );
    assert_eq!(read(&[]).unwrap(), None);
    assert_eq!(
        read(&[("modules.json", MODULES), mean, length])
            .unwrap()
            .unwrap(),
        SentenceConfig {
            pooling: Pooling::Mean,
            normalize: true,
            max_seq_length: Some(256),
            do_lower_case: true
        }
    );
    let plain = r#"[{"type": "x.Transformer"}, {"type": "y.z.Pooling", "path": "1_Pooling"}]"#;
    let last = ("1_Pooling/config.json", r#"{"pooling_mode": "lasttoken"}"#);
    assert_eq!(
        read(&[("modules.json", plain), last]).unwrap().unwrap(),
        SentenceConfig {
            pooling: Pooling::LastToken,
            normalize: false,
            max_seq_length: None,
            do_lower_case: false
        }
    );
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("modules.json", MODULES)],
            "1_Pooling/config.json: cannot read",
        ),
        (
            &[("modules.json", MODULES), ("1_Pooling/config.json", "{}")],
            "all other poolings are off, expected one",
        ),
        (
            &[
                ("modules.json", MODULES),
                (
                    "1_Pooling/config.json",
                    r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#,
                ),
            ],
            "1_Pooling/config.json: `pooling_mode_max_tokens` is on beside another pooling",
        ),
        (
            &[
                ("modules.json", MODULES),
                (
                    "1_Pooling/config.json",
                    r#"{"pooling_mode_mean_tokens": 1}"#,
                ),
            ],
            "1_Pooling/config.json: `pooling_mode_mean_tokens` is `1`, expected a boolean",
        ),
        (
            &[("modules.json", r#"[{"type": "a.Dense"}]"#)],
            "modules.json: `type` is `Dense`, expected Transformer, Pooling or Normalize",
        ),
        (
            &[("modules.json", r#"[{"type": "a.Pooling", "path": "../x"}]"#)],
            "modules.json: `path` is `../x`",
        ),
        (
            &[("modules.json", r#"[{"path": ""}]"#)],
            "modules.json: `type` is missing, expected a string",
        ),
        (
            &[("modules.json", "{}")],
            "modules.json: `modules` is `{}`, expected a list of modules",
        ),
        (
            &[
                ("modules.json", plain),
                last,
                ("sentence_bert_config.json", r#"{"max_seq_length": -1}"#),
            ],
            "sentence_bert_config.json: `max_seq_length` is `-1`",
        ),
    ];
    for (files, expected) in cases {
        let error = read(files).unwrap_err();
        assert!(
            error.contains(expected),
            "expected `{expected}` in: {error}"
        );
    }
}

#[test]
fn the_encoder_of_a_sentence_transformer_may_lie_deeper() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("0_Transformer");
    fs::create_dir(&inner).unwrap();
    fs::write(
        folder.path().join("modules.json"),
        r#"[{"type": "a.Transformer", "path": "0_Transformer"}]"#,
    )
    .unwrap();
    fs::write(inner.join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
    fs::write(inner.join("model.safetensors"), safetensors("{}", &[])).unwrap();
    let model = ModelFiles::open(folder.path()).unwrap();
    assert_eq!(model.config()["model_type"], "bert");
}

#[test]
fn folders_that_lack_files_say_which() {
    let folder = tempfile::tempdir().unwrap();
    let error = shown(folder.path(), ModelFiles::open(folder.path()).unwrap_err());
    assert!(error.starts_with("config.json: cannot read"), "{error}");
    fs::write(folder.path().join("config.json"), "[1").unwrap();
    let error = shown(folder.path(), ModelFiles::open(folder.path()).unwrap_err());
    assert!(
        error.starts_with("config.json: not valid JSON: EOF"),
        "{error}"
    );
    fs::write(folder.path().join("config.json"), r#"{"a": 1, "a": 2}"#).unwrap();
    let error = shown(folder.path(), ModelFiles::open(folder.path()).unwrap_err());
    assert!(
        error.starts_with(
            "config.json: not valid JSON: the key `a` appears twice: leave one of the two out"
        ),
        "{error}"
    );
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    let error = ModelFiles::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("holds no checkpoint"), "{error}");
    fs::write(
        folder.path().join("model.safetensors"),
        safetensors("{}", &[]),
    )
    .unwrap();
    let model = ModelFiles::open(folder.path()).unwrap();
    assert!(!model.has_tokenizer());
    let error = shown(folder.path(), model.tokenizer().unwrap_err());
    assert!(error.starts_with("tokenizer.json: cannot read"), "{error}");
    let error = ModelFiles::open(&folder.path().join("model.safetensors"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a safetensors file has no config"),
        "{error}"
    );
}

#[test]
fn a_gguf_file_is_a_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    fs::write(&path, llama_bytes()).unwrap();
    let model = ModelFiles::open(&path).unwrap();
    assert_eq!(model.config()["model_type"], "llama");
    assert_eq!(model.config()["vocab_size"], 13);
    assert_eq!(model.config()["tie_word_embeddings"], true);
    assert_eq!(model.generation_ids().unwrap().eos, [0]);
    let template = model.chat_template().unwrap().unwrap();
    assert_eq!(
        (template.template.as_str(), template.eos_token.as_deref()),
        ("{{ messages }}", Some("<|end|>"))
    );
    assert!(model.has_tokenizer());
    assert_eq!(model.tokenizer().unwrap().encode("ab", true).unwrap(), [8]);
    assert_eq!(model.sentence_config().unwrap(), None);
}
