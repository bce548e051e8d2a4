//! Runs a command below the observer's filter and lets every notified call go on at once: the least that any
//! observer by seccomp user notification costs, for the benchmark to compare with.
//!
//! `answer-only CMD [ARGUMENT...]`; CMD is a path. Exits as the command does.
#![expect(clippy::unwrap_used, reason = "an example ends where something fails")]

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt as _;

use aegis_sys::launch::{Command, Launcher};
use aegis_sys::process::{Change, Ended, Limits, wait_for};
use aegis_sys::signals::block_all;

fn main() {
    let bytes = |word: std::ffi::OsString| CString::new(word.into_vec()).unwrap();
    let argv: Vec<CString> = std::env::args_os().skip(1).map(bytes).collect();
    let environment = std::env::vars_os()
        .map(|(name, value)| bytes([name.as_os_str(), value.as_os_str()].join(std::ffi::OsStr::new("="))));
    let command = Command {
        candidates: argv.first().cloned().into_iter().collect(),
        environment: environment.collect(),
        argv,
        directory: None,
        mask: block_all().unwrap(),
        limits: Limits::default(),
        umask: 0o022,
        confinement: None,
    };
    let (launcher, listener, _) =
        Launcher::begin(aegis_observer::filter(false), || Ok(())).unwrap().ready().unwrap();
    std::thread::spawn(move || {
        while let Ok(notification) = listener.receive() {
            notification.proceed().unwrap();
        }
    });
    let agent = launcher.launch(command).unwrap();
    loop {
        match wait_for(agent, true).unwrap() {
            Some(Change::Ended(Ended::Code(code))) => std::process::exit(code),
            Some(Change::Ended(Ended::Signal(signal))) => std::process::exit(128 + signal),
            _ => {}
        }
    }
}
