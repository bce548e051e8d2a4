//! Operations that start programs and end processes.

use std::ffi::CString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use aegis_harness::truth::Action::{FileDelete, FileRead, FileWrite, ProcessSpawn};
use aegis_harness::truth::Status;
use rustix::fs::{AtFlags, Mode, OFlags, open, openat, unlinkat};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, getpid, kill_process};

use crate::log::status_of;
use crate::raw;
use crate::worker::{OPEN_TO_ALL, PLAIN, PRIVATE, Spot, Worker};

/// What a forked child that did all it should ends with.
const WELL: i32 = 11;

/// Returns the command that executes `program`.
fn command(program: impl AsRef<Path>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a program to be observed, no part of Aegis")]
    Command::new(program.as_ref())
}

/// Notes that `child` was started from the file `exe`.
fn started(w: &mut Worker, via: &str, exe: &Path, child: io::Result<Child>) -> io::Result<Child> {
    match child {
        Ok(child) => {
            w.log.act_of(child.id(), via, ProcessSpawn, exe, true);
            Ok(child)
        }
        failed => w.log.note(via, ProcessSpawn, exe, failed),
    }
}

/// Waits for the end of `child` and notes it.
fn ended(w: &mut Worker, via: &str, exe: &Path, mut child: Child) -> io::Result<Option<Status>> {
    let status = status_of(child.wait()?);
    w.log.ended(child.id(), via, exe, status);
    Ok(status)
}

/// Executes a script of `/bin/sh`, which reads it, and which does something itself.
pub(crate) fn execute_script(w: &mut Worker) -> io::Result<()> {
    let (script, dir) = (w.spot("a"), w.make_directory("d")?);
    let (text, file, expected) = match w.dice.below(4) {
        0 => ("exit 3", None, Status::Code(3)),
        1 => (": >\"$1/by script\"", Some("by script"), Status::Code(0)),
        2 => ("cd \"$1\" && : >relative && exit 7", Some("relative"), Status::Code(7)),
        _ => ("kill -TERM $$", None, Status::Signal(15)),
    };
    w.make_with(&script, format!("#!/bin/sh\n{text}\n").as_bytes(), OPEN_TO_ALL)?;
    let child = command(&script.path).arg(&dir.path).spawn();
    let child = started(w, "execute a script", &script.path, child)?;
    let pid = child.id();
    let ran = ended(w, "script", &script.path, child)? == Some(expected);
    w.log.act_of(pid, "shell reads its script", FileRead, &script.path, ran);
    if let Some(file) = file {
        w.log.act_of(pid, "redirection in a script", FileWrite, &dir.path.join(file), ran);
    }
    Ok(())
}

/// Gives the worker's program another name.
fn link_program(w: &mut Worker, tag: &str) -> io::Result<Spot> {
    let spot = w.spot(tag);
    w.log.note("link", FileWrite, &spot.path, raw::link(&w.program, &spot.path))?;
    Ok(spot)
}

/// Executes a binary, by several ways to name it.
pub(crate) fn execute_binary(w: &mut Worker) -> io::Result<()> {
    let program = link_program(w, "a")?;
    let child = match w.dice.below(4) {
        0 => command(&program.path).spawn(),
        1 => w.inside(|| command(Path::new(".").join(&program.name)).spawn()),
        2 => command(w.dir.join("..").join(&w.dir_name).join(&program.name)).spawn(),
        _ => {
            let link = w.spot("link");
            let linked = std::os::unix::fs::symlink(&program.name, &link.path);
            w.log.note("symlink", FileWrite, &link.path, linked)?;
            command(&link.path).spawn()
        }
    };
    let child = started(w, "execute a binary", &program.path, child)?;
    ended(w, "binary", &program.path, child).map(drop)
}

/// Executes what a descriptor is open on, and a name below one.
pub(crate) fn execute_descriptor(w: &mut Worker) -> io::Result<()> {
    if w.dice.one_in(2) {
        execute_open_script(w)?;
    } else {
        execute_open_file(w)?;
    }
    execute_below_descriptor(w)
}

fn execute_open_file(w: &mut Worker) -> io::Result<()> {
    let program = link_program(w, "a")?;
    let file = if w.dice.one_in(2) {
        open(&program.path, OFlags::PATH | PRIVATE, Mode::empty())?
    } else {
        w.open("read of a program", &program.path, &program.path, OFlags::RDONLY)?
    };
    let child = if w.dice.one_in(2) {
        let name = raw::c_string(&program.name)?;
        raw::fork(move || raw::exec_at(&file, c"", &name))
    } else {
        command(format!("/proc/self/fd/{}", file.as_raw_fd())).spawn()
    };
    let child = started(w, "execute a descriptor", &program.path, child)?;
    ended(w, "executed descriptor", &program.path, child).map(drop)
}

fn execute_below_descriptor(w: &mut Worker) -> io::Result<()> {
    let program = link_program(w, "b")?;
    let (at, name) = (w.at.try_clone()?, raw::c_string(&program.name)?);
    let child = raw::fork(move || raw::exec_at(&at, &name, &name));
    let child = started(w, "execveat", &program.path, child)?;
    ended(w, "execveat", &program.path, child).map(drop)
}

fn execute_open_script(w: &mut Worker) -> io::Result<()> {
    let script = w.spot("a");
    w.make_with(&script, b"#!/bin/sh\nexit 5\n", OPEN_TO_ALL)?;
    let file = w.open("read of a program", &script.path, &script.path, OFlags::RDONLY)?;
    let child = raw::fork(move || {
        fcntl_setfd(&file, FdFlags::empty())?; // the shell opens it again by number
        raw::exec_at(&file, c"", c"script")
    });
    let child = started(w, "execute a script's descriptor", &script.path, child)?;
    let pid = child.id();
    let ran = ended(w, "script", &script.path, child)? == Some(Status::Code(5));
    w.log.act_of(pid, "shell reads its script", FileRead, &script.path, ran);
    Ok(())
}

/// Has a child that executes nothing do some work.
pub(crate) fn fork_and_work(w: &mut Worker) -> io::Result<()> {
    let (made, fresh) = (w.make("a")?, w.spot("b"));
    let (at, path) = (w.at.try_clone()?, raw::c_string(&made.path)?);
    let name: CString = raw::c_string(&fresh.name)?;
    let work = move || {
        let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | PRIVATE;
        open(path.as_c_str(), OFlags::WRONLY | OFlags::APPEND | PRIVATE, Mode::empty())?;
        openat(&at, name.as_c_str(), create, PLAIN)?;
        unlinkat(&at, name.as_c_str(), AtFlags::empty())
    };
    let child = raw::fork(move || raw::exit_now(if work().is_ok() { WELL } else { 1 }))?;
    let (pid, exe) = (child.id(), w.exe.clone());
    let well = ended(w, "forked", &exe, child)? == Some(Status::Code(WELL));
    w.log.act_of(pid, "append in a forked child", FileWrite, &made.path, well);
    w.log.act_of(pid, "create in a forked child", FileWrite, &fresh.path, well);
    w.log.act_of(pid, "unlink in a forked child", FileDelete, &fresh.path, well);
    Ok(())
}

/// Returns a way to end, as the hidden subcommands take it.
fn some_end(w: &mut Worker) -> (String, Status) {
    match w.dice.below(4) {
        0 => ("signal:9".to_owned(), Status::Signal(9)),
        1 => ("signal:15".to_owned(), Status::Signal(15)),
        _ => {
            let code = w.dice.below(256);
            (format!("code:{code}"), Status::Code(code as i32))
        }
    }
}

/// Has a child end with a code or by a signal of its own.
pub(crate) fn end_in_many_ways(w: &mut Worker) -> io::Result<()> {
    let (exe, (how, expected)) = (w.exe.clone(), some_end(w));
    let child = command(&exe).args([crate::END, &how]).spawn();
    let child = started(w, "execute this program", &exe, child)?;
    let status = ended(w, "end by code or signal", &exe, child)?;
    if status == Some(expected) { Ok(()) } else { Err(io::Error::other("another end than asked for")) }
}

/// Has a child start a grandchild and end first; the grandchild ends when this process lets it.
pub(crate) fn leave_orphan(w: &mut Worker) -> io::Result<()> {
    let (exe, (how, expected)) = (w.exe.clone(), some_end(w));
    let mut foster = command(&exe);
    foster.args([crate::FOSTER, &how]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = started(w, "execute this program", &exe, foster.spawn())?;
    let (Some(hold), Some(told)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let mut told = BufReader::new(told);
    let mut line = String::new();
    told.read_line(&mut line)?;
    let orphan: u32 = line.trim().parse().map_err(io::Error::other)?;
    w.log.act_of(orphan, "execute this program", ProcessSpawn, &exe, true);
    ended(w, "end of an orphan's parent", &exe, child)?;
    drop(hold);
    told.read_to_end(&mut Vec::new())?; // ends when the orphan does
    w.log.ended(orphan, "end of an orphan", &exe, Some(expected));
    Ok(())
}

/// The subcommand that ends as it is told: `code:N` or `signal:N`.
pub(crate) fn end(how: &str) -> io::Result<ExitCode> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "no way to end");
    let (way, number) = how.split_once(':').ok_or_else(wrong)?;
    if way == "signal" {
        let signal = number.parse().ok().and_then(Signal::from_named_raw).ok_or_else(wrong)?;
        kill_process(getpid(), signal)?;
    }
    number.parse::<u8>().map(ExitCode::from).map_err(|_| wrong())
}

/// The subcommand that starts an orphan, says its process id and ends.
pub(crate) fn foster(how: &str) -> io::Result<()> {
    let exe: PathBuf = std::env::current_exe()?;
    let child = command(exe).args([crate::ORPHAN, how]).spawn()?;
    writeln!(io::stdout(), "{}", child.id())
}

/// The subcommand of an orphan: waits until its input ends, then ends as it is told.
pub(crate) fn orphan(how: &str) -> io::Result<ExitCode> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    end(how)
}
