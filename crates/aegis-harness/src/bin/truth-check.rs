//! Compares what `ground-truth` did with what was recorded of it: `truth-check ROOT OUT EXPORT`, where EXPORT
//! is a file of `aegis audit export --format jsonl`. Exit code 0 where nothing is missed or invented, else 1.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use aegis_harness::truth;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [root, out, export] = arguments.as_slice() else {
        writeln!(io::stderr(), "usage: truth-check ROOT OUT EXPORT")?;
        return Ok(ExitCode::from(2));
    };
    let lines = truth::load_truth(Path::new(out))?;
    let records = truth::load_records(Path::new(export))?;
    let report = truth::compare(&lines, &records, Path::new(root));
    writeln!(io::stdout(), "{report}")?;
    Ok(ExitCode::from(u8::from(!report.is_exact())))
}
