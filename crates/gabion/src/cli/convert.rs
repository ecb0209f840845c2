//! `gabion convert`: a model in another format, dtype or layout.

use std::ffi::OsString;
use std::path::PathBuf;

use gabion::ModelError;
use gabion::checkpoint::{ConvertOptions, Layout, ModelFiles, convert};
use gabion::encoder::{bert_encoder, sentence_options};
use gabion::language_model::causal_lm;
use gabion::tensor::{BlockFormat, DType};
use serde_json::json;

use super::output::Output;
use super::{Done, model_arg};

/// Words of `gabion convert`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, a folder or a .gguf file
    model: OsString,
    /// The folder to make, or the .gguf file to write
    out: PathBuf,
    /// The dtype of floating tensors: f32, f16 or bf16 [default: as they are; block formats become
    /// f32 in a folder]
    #[arg(long, value_name = "D")]
    dtype: Option<DType>,
    /// Store q, k, v as one tensor and gate, up as one tensor
    #[arg(long, conflicts_with = "unfuse")]
    fuse: bool,
    /// Store each projection in a tensor of its own
    #[arg(long)]
    unfuse: bool,
    /// The block format of matrices (the output is then a .gguf file)
    #[arg(long, value_name = "FORMAT", value_parser = block_format)]
    quantize: Option<BlockFormat>,
}

fn block_format(word: &str) -> Result<BlockFormat, String> {
    BlockFormat::ALL
        .into_iter()
        .find(|f| f.name() == word)
        .ok_or_else(|| {
            let known = BlockFormat::ALL.map(|f| f.name()).join(", ");
            format!("expected {known}")
        })
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let (located, files) = model_arg::open(&args.model, out)?;
    check(&files)?;
    let layout = match (args.fuse, args.unfuse) {
        (true, _) => Layout::Fuse,
        (_, true) => Layout::Unfuse,
        _ => Layout::Keep,
    };
    let progress = out.spinner("converting");
    let made = convert(
        &files,
        &args.out,
        &ConvertOptions {
            dtype: args.dtype,
            layout,
            quantize: args.quantize,
        },
    )?;
    drop(progress);
    out.line(format_args!(
        "{}: {} tensors, {} bytes, model_type {}",
        args.out.display(),
        made.n_tensors,
        made.tensor_bytes,
        made.model_type
    ))?;
    out.object(|| {
        json!({
            "model": located.name,
            "out": args.out,
            "tensors": made.n_tensors,
            "tensor_bytes": made.tensor_bytes,
            "model_type": made.model_type,
        })
    })?;
    Ok(true)
}

/// Refuses a checkpoint whose tensors are not those of its config: what came of it could not be
/// loaded. Models that cannot be built here, and tensors that no model has, are converted all the
/// same.
fn check(files: &ModelFiles) -> anyhow::Result<()> {
    let built = if model_arg::is_encoder(files) {
        sentence_options(files).and_then(|(_, options)| bert_encoder(files, options).map(drop))
    } else {
        causal_lm(files).map(drop)
    };
    match built {
        Err(ModelError::Tensors(report))
            if !(report.missing.is_empty() && report.misshapen.is_empty()) =>
        {
            Err(report.into())
        }
        _ => Ok(()),
    }
}
