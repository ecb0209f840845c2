//! The window while there is nothing to look at yet: what is done, with a way to call it off; then the viewer, or why there
//! is none.

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use egui::{Align, Frame, Grid, Label, Layout, Panel, ProgressBar, RichText, ScrollArea, Ui};

use super::paint::{color, style};
use super::{Options, Viewer, title_of};
use crate::document::Document;
use crate::loading::{Listener, Loading, Part, State, Task};
use crate::look::Theme;
use crate::look::colour::time;

/// What is looked at, once it is there.
pub struct Prepared {
    /// The document.
    pub document: Document,
    /// How to begin.
    pub options: Options<'static>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// Before there was anything to look at.
    #[default]
    Stopped,
    /// There was nothing to look at, and the window said why.
    Failed,
    /// It was looked at, with so many faults.
    Shown {
        /// [`Document::faults`].
        faults: usize,
    },
}

/// Where a screen puts what it shows: it outlives the screen.
#[derive(Default)]
pub struct Slot {
    early: OnceCell<Document>,
    document: OnceCell<Document>,
    ended: Cell<Ended>,
}

impl Slot {
    /// How it ended, or would if the window were closed now.
    pub fn ended(&self) -> Ended {
        self.ended.get()
    }
}

enum Shown<'d> {
    Loading {
        loading: Box<Loading<Prepared>>,
        listener: Listener<Prepared>,
        /// What there is to look at meanwhile.
        early: Option<Box<Viewer<'d>>>,
    },
    Failed {
        tasks: Vec<Task>,
        why: String,
    },
    Viewer(Box<Viewer<'d>>),
}

/// What a window shows from its first moment to its last.
pub struct Screen<'d> {
    slot: &'d Slot,
    title: String,
    theme: Option<Theme>,
    styled: bool,
    shown: Shown<'d>,
}

/// How often the time is shown anew while something is done.
const TICK: Duration = Duration::from_millis(250);

impl<'d> Screen<'d> {
    /// Shows what the listener hears, and then what it made.
    pub fn new(
        slot: &'d Slot,
        title: &str,
        theme: Option<Theme>,
        listener: Listener<Prepared>,
    ) -> Self {
        Self {
            slot,
            title: title.to_owned(),
            theme,
            styled: false,
            shown: Shown::Loading {
                loading: Box::default(),
                listener,
                early: None,
            },
        }
    }

    /// The viewer, once there is something to look at.
    pub fn viewer(&mut self) -> Option<&mut Viewer<'d>> {
        match &mut self.shown {
            Shown::Viewer(viewer) => Some(viewer),
            Shown::Loading { early, .. } => early.as_deref_mut(),
            Shown::Failed { .. } => None,
        }
    }

    /// Draws everything into a window's ui.
    pub fn ui(&mut self, ui: &mut Ui) {
        let now = Duration::from_secs_f64(ui.input(|input| input.time.max(0.0)));
        self.listen(ui, now);
        let close = match &mut self.shown {
            Shown::Viewer(viewer) => return viewer.ui(ui),
            Shown::Loading {
                loading,
                early: Some(viewer),
                ..
            } => {
                ui.ctx().request_repaint_after(TICK);
                let frame = Frame::side_top_panel(ui.style());
                let strip = Panel::top("loading").frame(frame);
                let stops = strip.show(ui, |ui| meanwhile(ui, loading.tasks())).inner;
                viewer.ui(ui);
                if stops {
                    self.stop_early();
                }
                return;
            }
            shown => {
                let theme = begin_style(ui, self.theme, &mut self.styled);
                match shown {
                    Shown::Failed { tasks, why } => failed(ui, theme, &self.title, tasks, why),
                    Shown::Loading { loading, .. } => {
                        ui.ctx().request_repaint_after(TICK);
                        going(ui, theme, &self.title, loading.tasks(), now)
                    }
                    Shown::Viewer(_) => false,
                }
            }
        };
        if close {
            if let Shown::Loading {
                loading, listener, ..
            } = &mut self.shown
            {
                listener.stop();
                loading.stop();
            }
            ui.ctx().send_viewport_cmd(egui::ViewportCommand::Close);
        }
    }

    /// Calls the work off, and leaves what is there early.
    fn stop_early(&mut self) {
        if let Shown::Loading {
            listener, early, ..
        } = &mut self.shown
        {
            listener.stop();
            if let Some(viewer) = early.take() {
                self.shown = Shown::Viewer(viewer);
            }
        }
    }

    /// Hears what is new, and goes on to the viewer or to the reason why there is none.
    fn listen(&mut self, ui: &Ui, now: Duration) {
        let Shown::Loading {
            loading,
            listener,
            early,
        } = &mut self.shown
        else {
            return;
        };
        listener.listen(loading, now);
        if let (Some(made), None) = (loading.take_early(), &early) {
            let viewer = open(self.slot, &self.slot.early, ui, self.theme, made);
            *early = viewer.ok().map(Box::new);
        }
        if matches!(loading.state(), State::Going | State::Stopped) {
            return;
        }
        let tasks = loading.tasks().to_vec();
        let failed = |why| Shown::Failed { tasks, why };
        let early = early.take();
        self.shown = match std::mem::take(loading.as_mut()).into_state() {
            State::Ready(made) => match self.go_on(ui, made, early.as_deref()) {
                Ok(viewer) => Shown::Viewer(Box::new(viewer)),
                Err(why) => failed(why),
            },
            State::Failed(why) => failed(why),
            State::Going | State::Stopped => return,
        };
        if matches!(self.shown, Shown::Failed { .. }) {
            self.slot.ended.set(Ended::Failed);
        }
    }

    /// The viewer of everything, as it was left by the one that was there early: unless words say where to begin.
    fn go_on(
        &self,
        ui: &Ui,
        made: Prepared,
        early: Option<&Viewer<'_>>,
    ) -> Result<Viewer<'d>, String> {
        let begins = made.options.stage.is_some() || made.options.focus.is_some();
        let mut viewer = open(self.slot, &self.slot.document, ui, self.theme, made)?;
        if let (Some(early), false) = (early, begins) {
            viewer.go_on_from(early);
        }
        Ok(viewer)
    }
}

fn open<'d>(
    slot: &Slot,
    document: &'d OnceCell<Document>,
    ui: &Ui,
    theme: Option<Theme>,
    made: Prepared,
) -> Result<Viewer<'d>, String> {
    let document = document.get_or_init(|| made.document);
    let options = Options {
        theme: theme.or(made.options.theme),
        ..made.options
    };
    let viewer = Viewer::new(document, options).map_err(|error| error.to_string())?;
    let faults = document.faults.len();
    slot.ended.set(Ended::Shown { faults });
    let title = egui::ViewportCommand::Title(title_of(&document.title));
    ui.ctx().send_viewport_cmd(title);
    Ok(viewer)
}

/// A line above the viewer: what is still being done. Says whether to leave it at that.
fn meanwhile(ui: &mut Ui, tasks: &[Task]) -> bool {
    let words = tasks.last().map(words_of).unwrap_or_default();
    let line = ui.horizontal(|ui| {
        ui.label(format!("The graph as it was built. {words} …"));
        let stop = ui.button("Stop");
        stop.on_hover_text("leave it at the graph as it was built")
            .clicked()
    });
    line.inner
}

/// The theme, with the style that belongs to it set once.
fn begin_style(ui: &Ui, asked: Option<Theme>, styled: &mut bool) -> Theme {
    let theme = asked.unwrap_or_else(|| match ui.ctx().system_theme() {
        Some(egui::Theme::Dark) => Theme::Dark,
        Some(egui::Theme::Light) | None => Theme::default(),
    });
    if !std::mem::replace(styled, true) {
        style(ui.ctx(), theme);
        ui.ctx().request_discard("the theme is set");
    }
    theme
}

/// A column in the middle of the window.
fn middle<R>(ui: &mut Ui, width: f32, add: impl FnOnce(&mut Ui) -> R) -> R {
    let frame = Frame::central_panel(ui.style());
    let shown = egui::CentralPanel::default().frame(frame).show(ui, |ui| {
        let width = ui.available_width().min(width);
        ui.add_space(ui.available_height() * 0.2);
        let aside = (ui.available_width() - width) / 2.0;
        let column = |ui: &mut Ui| {
            ui.set_width(width);
            add(ui)
        };
        ui.horizontal(|ui| {
            ui.add_space(aside);
            let down = Layout::top_down(Align::Min);
            let size = egui::vec2(width, 0.0);
            ui.allocate_ui_with_layout(size, down, column).inner
        })
        .inner
    });
    shown.inner
}

/// What is done so far; says whether to call it off.
fn going(ui: &mut Ui, theme: Theme, title: &str, tasks: &[Task], now: Duration) -> bool {
    middle(ui, 520.0, |ui| {
        ui.label(RichText::new(title).heading());
        ui.add_space(8.0);
        show_tasks(ui, theme, tasks, Some(now));
        ui.add_space(4.0);
        let part = tasks.last().and_then(|task| task.part.as_ref());
        let share = part.map_or(0.0, |it| it.done as f32 / it.all.max(1) as f32);
        let bar = ProgressBar::new(share).desired_height(6.0);
        ui.add_visible(part.is_some(), bar);
        ui.add_space(8.0);
        leave(ui, "Cancel")
    })
}

/// Why there is nothing to look at; says whether to close the window.
fn failed(ui: &mut Ui, theme: Theme, title: &str, tasks: &[Task], why: &str) -> bool {
    let height = ui.available_height() * 0.4;
    middle(ui, 900.0, |ui| {
        ui.label(RichText::new(title).heading());
        ui.add_space(8.0);
        show_tasks(ui, theme, tasks, None);
        ui.add_space(8.0);
        let fault = color(theme.fault());
        ui.label(RichText::new("This cannot be shown:").color(fault).strong());
        // Errors of texts are drawn: their lines stay as they are.
        let words = Label::new(RichText::new(why).monospace()).extend();
        ScrollArea::both()
            .max_height(height)
            .min_scrolled_height(height)
            .show(ui, |ui| ui.add(words.selectable(true)));
        ui.add_space(8.0);
        leave(ui, "Close")
    })
}

/// A button that closes the window, as escape does.
fn leave(ui: &mut Ui, words: &str) -> bool {
    let button = ui.button(words).on_hover_text("close the window (escape)");
    button.clicked() || ui.input(|input| input.key_pressed(egui::Key::Escape))
}

/// A line for each task. `now` is missing once nothing is done any more.
fn show_tasks(ui: &mut Ui, theme: Theme, tasks: &[Task], now: Option<Duration>) {
    let micros = |it: Duration| time(it.as_secs_f64() * 1e6);
    Grid::new("tasks")
        .num_columns(2)
        .spacing([16.0, 3.0])
        .show(ui, |ui| {
            for task in tasks {
                let words = RichText::new(words_of(task));
                ui.label(match task.took {
                    Some(_) => words.color(color(theme.weak_text())),
                    None => words,
                });
                let passed = now.map(|now| now.saturating_sub(task.began));
                let took = task.took.or(passed).map_or_else(String::new, micros);
                ui.label(RichText::new(took).color(color(theme.weak_text())));
                ui.end_row();
            }
        });
}

/// `lowering: fuse_epilogue, 7 of 16`.
fn words_of(task: &Task) -> String {
    match &task.part {
        Some(Part { what, done, all }) => format!("{}: {what}, {} of {all}", task.what, done + 1),
        None => task.what.clone(),
    }
}
