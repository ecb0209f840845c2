//! What can be asked of a viewer by one key. Keys are written as words here: `shift+n`, `left`, `/`.

/// A command without arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described in the table below")]
pub enum Command {
    Help,
    Search,
    NextMatch,
    PreviousMatch,
    NextStage,
    PreviousStage,
    Compare,
    OpenOrClose,
    OpenAllInside,
    CloseAll,
    SelectAround,
    SelectNext,
    SelectPrevious,
    SelectOperand,
    SelectUser,
    Deselect,
    ConeUp,
    ConeDown,
    Isolate,
    Back,
    Forward,
    Bookmark,
    NextBookmark,
    HideWeights,
    HideMovement,
    Turn,
    NextColours,
    Theme,
    Fit,
    ShowSelection,
    ZoomIn,
    ZoomOut,
    Panels,
}

/// A command, its key and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The command.
    pub command: Command,
    /// The key.
    pub key: &'static str,
    /// What it does.
    pub what: &'static str,
}

const fn bind(key: &'static str, command: Command, what: &'static str) -> Binding {
    Binding { command, key, what }
}

/// All commands with their keys.
pub const BINDINGS: [Binding; 33] = [
    bind("?", Command::Help, "show or hide this list"),
    bind("/", Command::Search, "search"),
    bind("n", Command::NextMatch, "next match"),
    bind("shift+n", Command::PreviousMatch, "previous match"),
    bind("]", Command::NextStage, "next stage"),
    bind("[", Command::PreviousStage, "previous stage"),
    bind(
        "c",
        Command::Compare,
        "compare with the stage before, side by side",
    ),
    bind(
        "enter",
        Command::OpenOrClose,
        "open or close the selected group",
    ),
    bind(
        "shift+enter",
        Command::OpenAllInside,
        "open the selected group and all inside it",
    ),
    bind("x", Command::CloseAll, "close all groups"),
    bind(
        "backspace",
        Command::SelectAround,
        "select the group around the selection",
    ),
    bind(
        "right",
        Command::SelectNext,
        "select the next item beside it",
    ),
    bind(
        "left",
        Command::SelectPrevious,
        "select the previous item beside it",
    ),
    bind(
        "up",
        Command::SelectOperand,
        "select what the selection reads",
    ),
    bind(
        "down",
        Command::SelectUser,
        "select what reads the selection",
    ),
    bind(
        "escape",
        Command::Deselect,
        "select nothing, show everything",
    ),
    bind(
        "u",
        Command::ConeUp,
        "light up all that the selection depends on",
    ),
    bind(
        "d",
        Command::ConeDown,
        "light up all that depends on the selection",
    ),
    bind("i", Command::Isolate, "hide all that is not lit up"),
    bind("alt+left", Command::Back, "back to the last selection"),
    bind("alt+right", Command::Forward, "forward again"),
    bind("b", Command::Bookmark, "set or remove a bookmark"),
    bind("shift+b", Command::NextBookmark, "go to the next bookmark"),
    bind(
        "w",
        Command::HideWeights,
        "show or hide weights and constants",
    ),
    bind(
        "m",
        Command::HideMovement,
        "show or hide what only moves elements",
    ),
    bind("r", Command::Turn, "top-down or left-right"),
    bind(
        "k",
        Command::NextColours,
        "next colours: kind, operations, bytes, intensity, time",
    ),
    bind("t", Command::Theme, "light or dark"),
    bind("f", Command::Fit, "show everything"),
    bind("s", Command::ShowSelection, "show the selection"),
    bind("+", Command::ZoomIn, "larger"),
    bind("-", Command::ZoomOut, "smaller"),
    bind("p", Command::Panels, "show or hide the panels"),
];

impl Command {
    /// The command of a key.
    pub fn of_key(key: &str) -> Option<Self> {
        let found = BINDINGS.iter().find(|binding| binding.key == key);
        found.map(|binding| binding.command)
    }

    /// Its key.
    pub fn key(self) -> &'static str {
        let found = BINDINGS.iter().find(|binding| binding.command == self);
        found.map_or("", |binding| binding.key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_and_every_command_stands_once() {
        let keys: BTreeSet<&str> = BINDINGS.iter().map(|it| it.key).collect();
        let commands: BTreeSet<Command> = BINDINGS.iter().map(|it| it.command).collect();
        assert_eq!(keys.len(), BINDINGS.len());
        assert_eq!(commands.len(), BINDINGS.len());
        for binding in &BINDINGS {
            assert_eq!(Command::of_key(binding.key), Some(binding.command));
            assert_eq!(binding.command.key(), binding.key);
        }
    }
}
