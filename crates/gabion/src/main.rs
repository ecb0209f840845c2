//! The `gabion` program: words in, an exit code out. What each command does is in `cli/`.

mod cli;

fn main() -> std::process::ExitCode {
    // A file that reaches the limit of its size is an error like a full disk, and no end of the program: with a handler the
    // write fails. Where no handler can be set, the system's way stays.
    #[cfg(unix)]
    let _unset =
        signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    cli::main()
}
