//! Cedar policies: what an agent may do, decided; and what of it a kernel can be told beforehand.
#![forbid(unsafe_code)]

pub mod network;

pub use network::AllowedHost;
