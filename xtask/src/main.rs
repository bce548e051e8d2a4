//! Tasks of the workspace that take more than three lines: `cargo xtask graph`.

mod graph;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    match std::env::args().nth(1).as_deref() {
        Some("graph") => {
            let faults = graph::check(root)?;
            let mut out = io::stdout().lock();
            for fault in &faults {
                writeln!(out, "graph: {fault}")?;
            }
            if faults.is_empty() {
                writeln!(out, "graph: every edge points down, and unsafe code stands only where it may")?;
            }
            Ok(ExitCode::from(u8::from(!faults.is_empty())))
        }
        _ => {
            writeln!(io::stderr(), "usage: cargo xtask graph")?;
            Ok(ExitCode::from(2))
        }
    }
}
