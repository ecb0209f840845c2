//! `gabion view`: a graph, what each pass made of it, and its plan, in a window.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use gabion::explain::names_like;
use gabion::lower::{LowerError, Watch};
use gabion_view::Sizes;
use gabion_view::loading::{Teller, line};
use gabion_view::look::Theme;
use gabion_view::window::{Ended, Options, Prepared, WindowError, open_when_ready};

use super::error::CliError;
use super::looked_at::LookedAt;
use super::output::{Output, words_of};
use super::step_times::TimeArgs;
use super::{Done, lower, model_arg};

/// Words of `gabion view`.
#[derive(Clone, clap::Args)]
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
    #[command(flatten)]
    times: TimeArgs,
}

/// Words of `--theme`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ThemeWord {
    Light,
    Dark,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    args.check(out)?;
    let theme = args.theme.map(|theme| match theme {
        ThemeWord::Light => Theme::Light,
        ThemeWord::Dark => Theme::Dark,
    });
    let (words, told) = (args.clone(), *out);
    let title = args.source.to_string_lossy();
    let ended = open_when_ready(&title, theme, move |teller| {
        prepare(&words, &told, teller).map_err(|error| {
            // The window shows it too, for as long as it is open; nobody is left to tell once it is closed.
            if teller.goes_on() {
                told.error(&error);
            }
            words_of(&error)
        })
    });
    match ended {
        Ok(Ended::Shown { faults }) => Ok(faults == 0),
        Ok(Ended::Stopped) => Ok(true),
        Ok(Ended::Failed) => Ok(false),
        Err(error) => Err(explained(error, args, out)),
    }
}

impl Args {
    /// Refuses what can be seen to be wrong before a window is opened, and has a preset fetched: that is not left half done
    /// when the window is closed.
    fn check(&self, out: &Output) -> anyhow::Result<()> {
        self.times.check()?;
        if let Some(stage) = &self.stage {
            lower::check_stage(stage)?;
        }
        if self.source != "-" {
            model_arg::locate(&self.source, out)?;
        }
        Ok(())
    }
}

/// Called off: the window is closed, so nobody reads this.
fn called_off(before: &'static str) -> anyhow::Error {
    LowerError::Cancelled { before }.into()
}

/// Everything that is looked at. What is done is told on the way.
fn prepare(args: &Args, out: &Output, teller: &Teller<Prepared>) -> anyhow::Result<Prepared> {
    let begins = |what: &str, before| match teller.begins(what) {
        true => Ok(()),
        false => Err(called_off(before)),
    };
    begins("opening and building", "building")?;
    let looked_at = LookedAt::open(&args.source, out)?;
    begins("lowering", "lowering")?;
    // Words that say where to begin are followed once everything is there.
    let anywhere = args.stage.is_none() && args.focus.is_none();
    if anywhere
        && let Some(early) = looked_at.early(&Sizes::default())
        && !teller.shows(Prepared {
            document: early,
            options: Options::default(),
        })
    {
        return Err(called_off("lowering"));
    }
    let passes = teller.clone();
    let watch = Watch::new(move |ahead| passes.part(ahead.name, ahead.done, ahead.all));
    let document = looked_at.document(&Sizes::default(), Some(watch), out)?;
    let mut options = Options {
        stage: args.stage.clone(),
        focus: args.focus.clone(),
        ..Options::default()
    };
    // Before anything runs.
    let wrong = options.check(&document);
    wrong.map_err(|error| named(error, &looked_at, &args.source))?;
    if let Some(task) = args.times.task() {
        begins(&task, "running")?;
        options.timings = args.times.timings(&args.source, &looked_at, &document)?;
    }
    options.loader = looked_at.loader();
    Ok(Prepared { document, options })
}

/// What was asked to begin at is not in the graph: which graph, and what in it resembles the word.
fn named(error: WindowError, looked_at: &LookedAt, source: &OsStr) -> anyhow::Error {
    let WindowError::NoFocus { asked, .. } = error else {
        return error.into();
    };
    let near = names_like(&looked_at.graph, &asked);
    let near = match near.is_empty() {
        true => "; `gabion lower MODEL --stage graph` shows all names".to_owned(),
        false => format!("; the nearest names are {}", near.join(", ")),
    };
    let model = looked_at.model.as_deref().unwrap_or(Path::new(source));
    CliError::in_file(model, WindowError::NoFocus { asked, near }).into()
}

/// Where there is no window, there is still a page. What is wrong with the input or the words is said first: it can be
/// mended without a display. Nothing is lowered for that unless the words ask for something that only lowering can tell.
fn explained(error: WindowError, args: &Args, out: &Output) -> anyhow::Error {
    if !matches!(
        error,
        WindowError::NoDisplay { .. } | WindowError::NoWindow { .. }
    ) {
        return error.into();
    }
    let opened = match args.focus.is_some() || args.times.reads_a_file() {
        true => {
            let (teller, _listener) = line(|| {});
            let words = Args {
                times: args.times.without_run(),
                ..args.clone()
            };
            prepare(&words, out, &teller).map(drop)
        }
        false => LookedAt::open(&args.source, out).map(drop),
    };
    if let Err(wrong) = opened {
        return wrong;
    }
    let instead = args.source.to_string_lossy();
    let message = format!(
        "{error}: `gabion report {instead} -o report.html` writes the same as a page for a browser"
    );
    CliError::Options(message).into()
}
