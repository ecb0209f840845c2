//! `gabion view`: a graph, what each pass made of it, and its plan, in a window.

use std::ffi::OsString;
use std::path::Path;

use gabion::checkpoint::ModelFiles;
use gabion::cpu::cpu_target;
use gabion::ir::Graph;
use gabion::ir::verify::{VerifyErrors, verify};
use gabion::lower::{LowerOptions, lower, lower_graph};
use gabion_view::look::Theme;
use gabion_view::window::{Loader, Options, WindowError, open};
use gabion_view::{Document, Sizes};

use super::error::CliError;
use super::output::Output;
use super::{Done, graph_file, lower as lower_command, model_arg};

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
    let looked_at = looked_at(&args.source, out)?;
    let document = document(&looked_at.graph, looked_at.faults.as_ref());
    drop(progress);
    for (_, fault) in &document.faults {
        out.warn(format_args!("@{}: {fault}", looked_at.graph.name));
    }
    let files = looked_at.files.as_ref();
    let loader = files
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

/// What is looked at.
struct LookedAt {
    graph: Graph,
    faults: Option<VerifyErrors>,
    files: Option<ModelFiles>,
}

/// What is no graph is an error; what does not verify can be looked at.
fn looked_at(source: &OsString, out: &Output) -> anyhow::Result<LookedAt> {
    let path = Path::new(source);
    let is_text = path == Path::new("-") || (path.is_file() && !model_arg::is_model(path));
    if is_text {
        let parsed = Graph::parse(&graph_file::read_text(path)?);
        let graph = parsed.map_err(|errors| errors.with_file(path.display().to_string()))?;
        let faults = verify(&graph).err();
        return Ok(LookedAt {
            graph,
            faults,
            files: None,
        });
    }
    let (graph, path) = lower_command::graph_of(source, None, out)?;
    let files = path.and_then(|path| ModelFiles::open(&path).ok());
    Ok(LookedAt {
        graph,
        faults: None,
        files,
    })
}

/// The graph at every stage, as far as lowering comes; why it comes no further is a fault.
fn document(graph: &Graph, faults: Option<&VerifyErrors>) -> Document {
    let sizes = Sizes::default();
    if let Some(errors) = faults {
        let mut document = Document::of_graph(graph, &sizes);
        document.mark(errors);
        return document;
    }
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    let failed = match lower(graph, &cpu_target(), &options) {
        Ok(lowered) => return Document::of_lowered(graph, &lowered, &sizes),
        Err(error) => error.to_string(),
    };
    let mut document = match lower_graph(graph, &cpu_target(), &options) {
        Ok(lowered) => Document::of_lowered(graph, &lowered, &sizes),
        Err(_) => Document::of_graph(graph, &sizes),
    };
    document.faults.push((None, failed));
    document
}
