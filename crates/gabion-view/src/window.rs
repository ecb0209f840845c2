//! The viewer's window: egui around what [`Look`] decides, and egui_graphs for the drawing.

mod bottom;
mod canvas;
mod details;
mod edge;
mod entry;
mod face;
mod keys;
mod memory_tab;
mod node;
mod paint;
mod picture;
pub mod raster;
mod screen;
mod stack_tab;
mod text_tab;
mod top;

use egui::{Frame, Panel, RichText, Ui};
use gabion_tensor::HostTensor;

pub use bottom::Tab;
pub use picture::{ExportError, ExportKind, export, picture};
pub use screen::{Ended, Prepared, Screen, Slot};

use crate::document::{Document, GroupId};
use crate::loading::{Teller, line};
use crate::look::{Look, Pane, Theme, named};
use crate::place::Item;
use crate::{OtherSteps, Timings};
use bottom::Bottom;
use canvas::Canvas;

/// Gives the values of a checkpoint's tensor by its name.
pub type Loader<'d> = Box<dyn Fn(&str) -> Option<HostTensor> + Send + 'd>;

/// The same, lent.
type Loads<'l> = dyn Fn(&str) -> Option<HostTensor> + 'l;

/// How to begin.
#[derive(Default)]
pub struct Options<'d> {
    /// The stage to look at first: `graph`, a pass, or `plan`.
    pub stage: Option<String>,
    /// A module path, or a name of a weight or value, to jump to.
    pub focus: Option<String>,
    /// Times that steps took, for each thing that was run.
    pub timings: Vec<Timings>,
    /// Values of weights, for their histograms.
    pub loader: Option<Loader<'d>>,
    /// Light or dark; by what the desktop says if it is not said here.
    pub theme: Option<Theme>,
}

/// Why there is no window, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// Nothing to draw on.
    #[error("there is no display: {reason}")]
    NoDisplay {
        /// What the window system said.
        reason: String,
    },
    /// The system has a display, and no window could be opened on it.
    #[error("the window cannot be opened: {reason}")]
    NoWindow {
        /// What the window system said.
        reason: String,
    },
    /// A stage that the document has not.
    #[error("there is no stage {asked}; there are {known}")]
    NoStage {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// Nothing has this name.
    #[error("nothing is called {asked}, neither a module nor a weight or value{near}")]
    NoFocus {
        /// What was asked for.
        asked: String,
        /// Names like it, as a sentence's end.
        near: String,
    },
    /// Times of another plan.
    #[error(transparent)]
    Timings(#[from] OtherSteps),
}

impl Options<'_> {
    /// Refuses options that name what the document has not, or times of another plan.
    ///
    /// # Errors
    ///
    /// [`WindowError::NoStage`], [`WindowError::NoFocus`] and [`WindowError::Timings`].
    pub fn check(&self, document: &Document) -> Result<(), WindowError> {
        self.start(document).map(drop)
    }

    /// The stage and the item to begin with.
    fn start(&self, document: &Document) -> Result<(usize, Option<Item>), WindowError> {
        for timings in &self.timings {
            timings.check(document.plan())?;
        }
        let stage = match &self.stage {
            Some(stage) => stage_of(document, stage)?,
            None => 0,
        };
        let Some(focus) = &self.focus else {
            return Ok((stage, None));
        };
        let item = named(document, stage, focus).ok_or_else(|| no_focus(document, focus))?;
        Ok((stage, Some(item)))
    }
}

/// What is drawn, and all that is drawn with.
pub struct Viewer<'d> {
    /// What is looked at.
    pub look: Look<'d>,
    now: Canvas,
    before: Canvas,
    bottom: Bottom,
    loader: Option<Loader<'d>>,
    follows_system: bool,
    drawn_theme: Option<Theme>,
    message: Option<String>,
}

impl<'d> Viewer<'d> {
    /// A viewer of a document.
    ///
    /// # Errors
    ///
    /// As [`Options::check`].
    pub fn new(document: &'d Document, options: Options<'d>) -> Result<Self, WindowError> {
        let (stage, focus) = options.start(document)?;
        let mut look = Look::new(document);
        look.set_timings(options.timings);
        if let Some(theme) = options.theme {
            look.theme = theme;
        }
        look.set_stage(stage);
        if let Some(item) = focus {
            look.jump(item);
            if let Item::Group(group) = item {
                look.set_open(group, true);
            }
        }
        Ok(Self {
            look,
            now: Canvas::new(Pane::Now),
            before: Canvas::new(Pane::Before),
            bottom: Bottom::default(),
            loader: options.loader,
            follows_system: options.theme.is_none(),
            drawn_theme: None,
            message: None,
        })
    }

    /// Shows what a viewer of an earlier stage of the same work shows.
    fn go_on_from(&mut self, early: &Viewer<'_>) {
        self.look.go_on_from(&early.look);
        self.follows_system = early.follows_system;
    }

    /// Shows a tab below the drawing.
    pub fn show_tab(&mut self, tab: Tab) {
        self.bottom.tab = tab;
    }

    /// How often the drawing was drawn anew; it rests while nothing happens.
    pub fn times_drawn(&self) -> u64 {
        self.now.shown() + self.before.shown()
    }

    /// Where the drawing of the stage that is looked at was last shown.
    pub fn drawing(&self) -> egui::Rect {
        self.now.rect()
    }

    /// Draws everything into a window's ui.
    pub fn ui(&mut self, ui: &mut Ui) {
        self.theme(ui);
        keys::keys(ui, &mut self.look);
        let frame = Frame::side_top_panel(ui.style());
        Panel::top("top").frame(frame).show(ui, |ui| {
            top::bar(ui, &mut self.look, &mut self.message);
        });
        if self.look.panels {
            Panel::bottom("bottom")
                .resizable(true)
                .default_size(210.0)
                .min_size(60.0)
                .frame(frame)
                .show(ui, |ui| {
                    let loader = self.loader.as_ref();
                    let loader = loader.map(|it| -> &Loads<'_> { it.as_ref() });
                    self.bottom.ui(ui, &mut self.look, loader);
                });
            Panel::right("details")
                .resizable(true)
                .default_size(300.0)
                .min_size(160.0)
                .frame(frame)
                .show(ui, |ui| {
                    details::panel(ui, &mut self.look);
                });
        }
        egui::CentralPanel::no_frame().show(ui, |ui| self.panes(ui));
        if !self.now.has_pointer() && !self.before.has_pointer() {
            self.look.release_hover();
        }
        if self.look.help {
            keys::help(ui, &mut self.look);
        }
        top::message(ui, &mut self.message);
    }

    fn theme(&mut self, ui: &Ui) {
        if self.follows_system {
            // Once: afterwards it is what the button says.
            self.follows_system = false;
            if let Some(system) = ui.ctx().system_theme() {
                self.look.theme = match system {
                    egui::Theme::Dark => Theme::Dark,
                    egui::Theme::Light => Theme::Light,
                };
            }
        }
        if self.drawn_theme != Some(self.look.theme) {
            self.drawn_theme = Some(self.look.theme);
            paint::style(ui.ctx(), self.look.theme);
            self.look.redraw();
            ui.ctx().request_discard("the theme changed");
        }
    }

    fn panes(&mut self, ui: &mut Ui) {
        let Some(against) = self.look.against() else {
            self.now.ui(ui, &mut self.look);
            return top::legend(ui, &mut self.look);
        };
        let half = (ui.available_width() - 4.0) / 2.0;
        let document = self.look.document();
        let ground = paint::color(self.look.theme.group_ground(0));
        let head = |ui: &mut Ui, stage: usize| {
            ui.painter().rect_filled(ui.max_rect(), 0.0, ground);
            ui.horizontal(|ui| {
                ui.add_space(6.0);
                ui.label(RichText::new(&*document.stages[stage].name).strong());
            });
        };
        let stage = self.look.stage();
        Panel::left("before")
            .exact_size(half)
            .resizable(false)
            .frame(Frame::NONE)
            .show(ui, |ui| {
                head(ui, against);
                self.before.ui(ui, &mut self.look);
            });
        egui::CentralPanel::no_frame().show(ui, |ui| {
            head(ui, stage);
            self.now.ui(ui, &mut self.look);
            top::legend(ui, &mut self.look);
        });
    }
}

fn stage_of(document: &Document, name: &str) -> Result<usize, WindowError> {
    let found = document
        .stages
        .iter()
        .position(|stage| &*stage.name == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = document.stages.iter().map(|stage| &*stage.name).collect();
        WindowError::NoStage {
            asked: name.to_owned(),
            known: known.join(", "),
        }
    })
}

fn no_focus(document: &Document, asked: &str) -> WindowError {
    let last = asked.rsplit('.').next().unwrap_or(asked).to_lowercase();
    let groups = (1..document.tree.groups.len() as u32).map(GroupId);
    let paths = groups.map(|id| document.tree.get(id).path.to_string());
    let mut near: Vec<String> = paths
        .filter(|path| path.to_lowercase().contains(&last))
        .take(3)
        .collect();
    near.dedup();
    WindowError::NoFocus {
        asked: asked.to_owned(),
        near: match near.is_empty() {
            true => String::new(),
            false => format!("; there is {}", near.join(", ")),
        },
    }
}

/// Opens a window at once, and returns when it is closed. `work` makes in a thread of its own what is looked at, and tells
/// meanwhile what it is doing; the window shows that, then the viewer, or the error. Where there is no display, the work is
/// not begun. If the window is closed before the work is done, this returns at once: the thread is told, and ends when it
/// next asks.
///
/// # Errors
///
/// [`WindowError::NoDisplay`] or [`WindowError::NoWindow`].
pub fn open_when_ready(
    title: &str,
    theme: Option<Theme>,
    work: impl FnOnce(&Teller<Prepared>) -> Result<Prepared, String> + Send + 'static,
) -> Result<Ended, WindowError> {
    let slot = Slot::default();
    native(title, |context| {
        let context = context.clone();
        let (teller, listener) = line(move || context.request_repaint());
        // As much stack as the main thread has: the work may be done in either.
        let thread = std::thread::Builder::new().stack_size(8 << 20);
        thread.spawn(move || teller.ends(work(&teller)))?;
        Ok(Screen::new(&slot, title, theme, listener))
    })?;
    Ok(slot.ended())
}

fn title_of(name: &str) -> String {
    format!("{name} · Gabion")
}

struct App<'d>(Screen<'d>);

impl eframe::App for App<'_> {
    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        self.0.ui(ui);
    }
}

/// What the window system said, without the line of its source that said it: `.. at event_loop.rs:7: no display.`
fn without_place(reason: &str) -> String {
    let place = reason
        .find(".rs:")
        .and_then(|at| reason[at..].split_once(": "));
    let said = place.map_or(reason, |(_, said)| said);
    said.trim_end_matches('.').to_owned()
}

/// Runs a window until it is closed.
fn native<'d>(
    name: &str,
    screen: impl FnOnce(&egui::Context) -> std::io::Result<Screen<'d>> + 'd,
) -> Result<(), WindowError> {
    let native = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title(title_of(name))
            .with_app_id("gabion")
            .with_inner_size([1440.0, 900.0])
            .with_min_inner_size([480.0, 320.0]),
        renderer: eframe::Renderer::Glow,
        ..eframe::NativeOptions::default()
    };
    let create = move |creation: &eframe::CreationContext<'_>| {
        let app = App(screen(&creation.egui_ctx)?);
        Ok(Box::new(app) as Box<dyn eframe::App + 'd>)
    };
    let created = eframe::run_native("gabion", native, Box::new(create));
    created.map_err(|error| {
        let reason = without_place(&error.to_string());
        match &error {
            eframe::Error::Winit(_) | eframe::Error::WinitEventLoop(_) => {
                WindowError::NoDisplay { reason }
            }
            _ => WindowError::NoWindow { reason },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::without_place;

    #[test]
    fn reasons_name_no_file_of_the_source() {
        let said = without_place("winit: os error at /a/b-0.3/mod.rs:765: neither X nor Y is set.");
        assert_eq!(said, "neither X nor Y is set");
        assert_eq!(
            without_place("no OpenGL: nothing fits"),
            "no OpenGL: nothing fits"
        );
        assert_eq!(without_place("at mod.rs:7"), "at mod.rs:7");
    }
}
