//! The viewer's window: egui around what [`Look`] decides, and egui_graphs for the drawing.

mod bottom;
mod canvas;
mod details;
mod edge;
mod face;
mod keys;
mod memory_tab;
mod node;
mod paint;
mod picture;
pub mod raster;
mod stack_tab;
mod text_tab;
mod top;

use egui::{Frame, Panel, RichText, Ui};
use gabion_tensor::HostTensor;

pub use picture::{ExportError, ExportKind, export, picture};

use crate::document::{Document, GroupId};
use crate::look::{Look, Pane, Theme, Timings};
use crate::place::Item;
use bottom::Bottom;
use canvas::Canvas;

/// Gives the values of a checkpoint's tensor by its name.
pub type Loader<'d> = Box<dyn Fn(&str) -> Option<HostTensor> + 'd>;

/// The same, lent.
type Loads<'l> = dyn Fn(&str) -> Option<HostTensor> + 'l;

/// How to begin.
#[derive(Default)]
pub struct Options<'d> {
    /// The stage to look at first: `graph`, a pass, or `plan`.
    pub stage: Option<String>,
    /// A module path, or a name of a weight or value, to jump to.
    pub focus: Option<String>,
    /// Times that steps took.
    pub timings: Option<Timings>,
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
    /// [`WindowError::NoStage`] and [`WindowError::NoFocus`] if the options name what is not there.
    pub fn new(document: &'d Document, options: Options<'d>) -> Result<Self, WindowError> {
        let mut look = Look::new(document);
        look.set_timings(options.timings);
        if let Some(theme) = options.theme {
            look.theme = theme;
        }
        if let Some(stage) = &options.stage {
            look.set_stage(stage_of(document, stage)?);
        }
        if let Some(focus) = &options.focus {
            let item = look.named(focus).ok_or_else(|| no_focus(document, focus))?;
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
                    self.bottom.ui(ui, &mut self.look, self.loader.as_deref());
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

struct App<'d>(Viewer<'d>);

impl eframe::App for App<'_> {
    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        self.0.ui(ui);
    }
}

/// Opens a window and returns when it is closed.
///
/// # Errors
///
/// [`WindowError`] if the options name what is not there, or no window can be opened.
pub fn open(document: &Document, options: Options<'_>) -> Result<(), WindowError> {
    // What is wrong with the options is said first: it can be mended without a display.
    let viewer = Viewer::new(document, options)?;
    let title = format!("{} · Gabion", document.title);
    let native = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title(&title)
            .with_app_id("gabion")
            .with_inner_size([1440.0, 900.0])
            .with_min_inner_size([480.0, 320.0]),
        renderer: eframe::Renderer::Glow,
        ..eframe::NativeOptions::default()
    };
    let created = eframe::run_native("gabion", native, Box::new(|_| Ok(Box::new(App(viewer)))));
    created.map_err(|error| {
        let reason = error.to_string();
        match &error {
            eframe::Error::Winit(_) | eframe::Error::WinitEventLoop(_) => {
                WindowError::NoDisplay { reason }
            }
            _ => WindowError::NoWindow { reason },
        }
    })
}
