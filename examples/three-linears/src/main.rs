//! Prints the graph: `cargo run > projections.gir`.

fn main() {
    match three_linears::projections() {
        Ok(graph) => print!("{}", graph.to_text()),
        Err(errors) => {
            eprint!("{errors}");
            std::process::exit(1);
        }
    }
}
