//! Records as others read them: JSON with stable names, text that is safe to show, a session in detail, two
//! sessions compared.
//!
//! Pure: entries come in, text goes out. It opens no file, knows no SQLite and no terminal.
//!
//! **Read first:** [`json`], the public form of a record.
#![forbid(unsafe_code)]

pub mod compare;
pub mod detail;
pub mod json;
pub mod shown;

pub use compare::{Comparison, Difference};
pub use detail::Detail;
pub use json::{Entry, record};
pub use shown::{resource_text, shown};
