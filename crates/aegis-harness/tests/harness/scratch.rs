//! A place for the files of a test.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;

/// A directory that is gone when the test ends.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: impl AsRef<OsStr>) -> io::Result<Self> {
        let mut path =
            std::env::temp_dir().join(format!("aegis-harness-{}-", std::process::id())).into_os_string();
        path.push(name);
        fs::create_dir(&path)?;
        Ok(Self(path.into()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
