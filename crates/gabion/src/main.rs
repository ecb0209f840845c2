//! The `gabion` program: words in, an exit code out. What each command does is in `cli/`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
