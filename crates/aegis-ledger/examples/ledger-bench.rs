//! Measures the ledger: records appended per second in synced group commits, records verified per second on
//! one core, and the peak of memory. `ledger-bench [FOLDER] [RECORDS]`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use aegis_ledger::store::Entry;
use aegis_ledger::{Custody, Held, Ledger, Sealing};
use aegis_sys::clock::{SystemClock, monotonic_us};
use aegis_types::{Act, Action, Clock as _, Event, Process, Resource, SessionId, Text, What};

/// As many as the recorder's writer commits at a time at most.
const BATCH: usize = 4_096;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let count: usize = arguments.next().map_or(Ok(500_000), |text| text.parse())?;
    let folder = folder.join(format!("ledger-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = measure(&folder, &folder.join("audit.db"), count);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path, path: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let session = SessionId::at(SystemClock.now().wall);
    let custody = Custody::of(folder, path, Vec::new());
    let mut ledger = Ledger::open(path, &custody)?;
    let before = monotonic_us();
    let mut made = 0;
    while made < count {
        let size = BATCH.min(count - made);
        let batch: Vec<Entry> = (made..made + size)
            .map(|n| Entry::new(session, "observer", &event(n)))
            .collect::<Result<_, _>>()?;
        ledger.append(&batch, Sealing::WhenMany)?;
        made += size;
    }
    writeln!(out, "append {} records/s", per_second(count, before))?;
    drop(ledger);
    let ledger = Ledger::open_to_read(path)?;
    let before = monotonic_us();
    let verdict = ledger.verify(&Held { custody: Some(custody), ..Held::default() })?;
    writeln!(out, "verify {} records/s", per_second(count, before))?;
    if !verdict.is_good() || verdict.proof.records < count as u64 {
        return Err(format!("the ledger does not verify: {verdict:?}").into());
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    writeln!(out, "peak {} MiB", kib.div_ceil(1024))?;
    Ok(())
}

fn per_second(count: usize, before: u64) -> u64 {
    count as u64 * 1_000_000 / (monotonic_us() - before).max(1)
}

/// An event as the observer makes it.
fn event(n: usize) -> Event {
    let now = SystemClock.now();
    let process = Process { exe: Text::from("/usr/bin/cat").into(), pid: 4711, ppid: 4710, tid: 4711 };
    let path = Text::from(format!("/home/user/project/src/module/file-{n}.rs").as_str());
    let act = Act::new(Action::FileRead, "openat", process, Resource::Path(path));
    Event { at: now.wall, mono_us: now.mono_us, what: What::Action(Box::new(act)) }
}
