//! One try: the call, whether it reached the forbidden side, and WORK as it was before.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aegis_harness::race::{ESCAPED, Kind, NAMES, SECRET, Target};
use rustix::fs::{AtFlags, Stat, fgetxattr, fstat, statat, unlinkat};
use rustix::io::{Errno, pread, pwrite};
use rustix::process::{getegid, geteuid};

use crate::Plan;
use crate::raw::{self, Place};
use crate::scene::{Scene, make_harmless};

/// The extended attribute that is set.
const ATTRIBUTE: &CStr = c"user.flip";

/// A try of a race.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    plan: &'a Plan,
    scene: &'a Scene,
    turn: usize,
    name: String,
}

impl<'a> Attempt<'a> {
    /// Prepares a try.
    pub(crate) fn new(plan: &'a Plan, scene: &'a Scene, turn: usize) -> Self {
        Self { plan, scene, turn, name: plan.target.name(turn) }
    }

    /// Makes the call, and returns whether it reached the forbidden side.
    ///
    /// What is seen here doesn't depend on paths that flip: a call that succeeded and left WORK's side as it
    /// was has changed the other one.
    pub(crate) fn run(&self) -> io::Result<bool> {
        let place = self.scene.place(&self.name);
        match self.plan.target {
            Target::OpenRead => {
                let file = raw::open(place, libc::O_RDONLY)?;
                let mut start = [0; SECRET.len()];
                Ok(pread(file, &mut start, 0).is_ok() && start == SECRET)
            }
            Target::OpenWrite => {
                let file = raw::open(place, libc::O_WRONLY)?;
                pwrite(&file, b"flip", 64).ok();
                Ok(!self.is_own(&file))
            }
            Target::OpenTruncate => {
                let file = raw::open(place, libc::O_WRONLY | libc::O_TRUNC)?;
                Ok(!self.is_own(&file))
            }
            Target::OpenCreate if self.plan.kind == Kind::Symlink => {
                let file = raw::open(place, libc::O_WRONLY | libc::O_CREAT)?;
                Ok(!self.is_own(&file))
            }
            Target::Unlink | Target::Rename => self.consume(place),
            Target::Link => self.link(place),
            Target::OpenCreate | Target::RenameTo | Target::LinkTo | Target::Symlink | Target::Mkdir => {
                self.create(place)
            }
            Target::Exec => {
                let code = raw::execute(place)?.exit_status();
                Ok(code == Some(i32::from(ESCAPED)))
            }
            _ => self.change(place),
        }
    }

    /// Takes the name away; WORK's side gets it back.
    fn consume(&self, place: Place<'_>) -> io::Result<bool> {
        let Scene { base, out, .. } = self.scene;
        let result = if self.plan.target == Target::Unlink {
            raw::unlink(place)
        } else {
            raw::rename(place, out.as_fd(), &self.c_name()?)
        };
        let escaped = result.is_ok() && self.is_in(base) == Some(true);
        if self.plan.target == Target::Rename {
            self.remove_from(out);
        }
        if self.is_in(base) == Some(false) {
            make_harmless(base, &self.name).ok();
        }
        result.map(|()| escaped)
    }

    /// Gives a file a second name, which is taken away again.
    fn link(&self, place: Place<'_>) -> io::Result<bool> {
        let out = &self.scene.out;
        let flags = if self.plan.kind == Kind::Symlink { libc::AT_SYMLINK_FOLLOW } else { 0 };
        let result = raw::link(place, out.as_fd(), &self.c_name()?, flags);
        let linked = statat(out, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let own = self.own().and_then(|file| Ok(fstat(file)?));
        self.remove_from(out);
        let same = matches!((&linked, &own), (Ok(linked), Ok(own)) if is_same(linked, own));
        result.map(|()| !same)
    }

    /// Makes a name, which is taken away again from WORK's side.
    fn create(&self, place: Place<'_>) -> io::Result<bool> {
        let Scene { base, out, .. } = self.scene;
        let result = match self.plan.target {
            Target::RenameTo => raw::rename_to(out.as_fd(), &self.c_name()?, place),
            Target::LinkTo => raw::link_to(out.as_fd(), &self.c_name()?, place),
            Target::Symlink => raw::symlink(c"nowhere", place),
            Target::Mkdir => raw::mkdir(place),
            _ => raw::open(place, libc::O_WRONLY | libc::O_CREAT).map(drop),
        };
        let escaped = result.is_ok() && self.is_in(base) == Some(false);
        self.remove_from(base);
        if self.plan.target == Target::RenameTo && self.is_in(out) == Some(false) {
            make_harmless(out, &self.name).ok();
        }
        result.map(|()| escaped)
    }

    /// Changes something of a file, to what WORK's file has not been before.
    fn change(&self, place: Place<'_>) -> io::Result<bool> {
        let number = u32::try_from(self.turn).map_err(io::Error::other)?;
        let own = self.own()?;
        match self.plan.target {
            Target::Chmod => {
                let mode = 0o600 | (number & 0o77);
                raw::chmod(place, mode)?;
                Ok(fstat(own)?.st_mode & 0o777 != mode)
            }
            Target::Chown => {
                raw::chown(place, geteuid().as_raw(), getegid().as_raw())?;
                Ok(false) // Nothing shows it.
            }
            Target::Truncate => {
                let length = i64::from(number & 0xfff);
                raw::truncate(place.text, length)?;
                Ok(fstat(own)?.st_size != length)
            }
            Target::Utimes => {
                let second = i64::from(number) + 1_000_000;
                raw::utimes(place, second)?;
                Ok(fstat(own)?.st_mtime != second)
            }
            _ => {
                let (value, mut found) = (number.to_le_bytes(), [0; 4]);
                raw::setxattr(place.text, ATTRIBUTE, &value)?;
                Ok(fgetxattr(own, ATTRIBUTE, &mut found).is_err() || found != value)
            }
        }
    }

    /// WORK's file of this turn.
    fn own(&self) -> io::Result<&OwnedFd> {
        self.scene.files.get(self.turn % NAMES).ok_or_else(|| io::Error::other("WORK has no such file"))
    }

    fn is_own(&self, file: &OwnedFd) -> bool {
        let own = self.own().and_then(|own| Ok(fstat(own)?));
        matches!((fstat(file), own), (Ok(file), Ok(own)) if is_same(&file, &own))
    }

    /// Says whether a directory has the name of this turn, where that can be told.
    fn is_in(&self, folder: &OwnedFd) -> Option<bool> {
        match statat(folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Some(true),
            Err(Errno::NOENT) => Some(false),
            Err(_) => None,
        }
    }

    fn remove_from(&self, folder: &OwnedFd) {
        let is_directory = self.plan.target == Target::Mkdir;
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(folder, &self.name, flags).ok();
    }

    fn c_name(&self) -> io::Result<CString> {
        Ok(CString::new(self.name.as_str())?)
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}
