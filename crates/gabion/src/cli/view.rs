//! `gabion view`: a graph, what each pass made of it, and its plan, in a window.

use std::ffi::OsString;

use gabion::checkpoint::ModelFiles;
use gabion_view::Sizes;
use gabion_view::look::Theme;
use gabion_view::window::{Loader, Options, WindowError, open};

use super::Done;
use super::error::CliError;
use super::looked_at::LookedAt;
use super::output::Output;

/// Words of `gabion view`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, a folder, a .gguf file, or a graph in text form (- is standard input)
    #[arg(value_name = "MODEL|GRAPH")]
    source: OsString,
    /// Begin at this module path, weight or value (layers.3.self_attn)
    #[arg(long, value_name = "PATH")]
    focus: Option<String>,
    /// Begin at this stage [default: graph]
    #[arg(long, value_name = "graph|PASS|plan")]
    stage: Option<String>,
    /// Light or dark [default: what the desktop says]
    #[arg(long, value_enum)]
    theme: Option<ThemeWord>,
}

/// Words of `--theme`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ThemeWord {
    Light,
    Dark,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let progress = out.spinner("lowering");
    let looked_at = LookedAt::open(&args.source, out)?;
    let document = looked_at.document(&Sizes::default(), out);
    drop(progress);
    // Without its files a model can be looked at, but for its weights.
    let files = looked_at.model.as_deref();
    let files = files.and_then(|path| ModelFiles::open(path).ok());
    let loader = files
        .as_ref()
        .map(|files| -> Loader<'_> { Box::new(move |name| files.checkpoint().get(name).ok()) });
    let options = Options {
        stage: args.stage.clone(),
        focus: args.focus.clone(),
        loader,
        theme: args.theme.map(|theme| match theme {
            ThemeWord::Light => Theme::Light,
            ThemeWord::Dark => Theme::Dark,
        }),
        ..Options::default()
    };
    open(&document, options).map_err(|error| explained(error, args))?;
    Ok(document.faults.is_empty())
}

/// Where there is no window, there is still a page.
fn explained(error: WindowError, args: &Args) -> anyhow::Error {
    let instead = match error {
        WindowError::NoDisplay { .. } | WindowError::NoWindow { .. } => {
            args.source.to_string_lossy()
        }
        WindowError::NoStage { .. } | WindowError::NoFocus { .. } => return error.into(),
    };
    let message = format!(
        "{error}: `gabion report {instead} -o report.html` writes the same as a page for a browser"
    );
    CliError::Options(message).into()
}
