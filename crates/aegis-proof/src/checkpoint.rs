//! Checkpoints: what the tree was, signed (`c2sp.org/tlog-checkpoint`), and the name of the ledger that they are of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::note::{Note, PublicKey, SecretKey, sign};
use crate::record::Hash;

/// A ledger's name, which binds its identity key and the key of its first epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

/// How an origin begins.
const PREFIX: &str = "aegis/";

/// How many digits follow.
const DIGITS: usize = 32;

impl Origin {
    /// Returns the name of the ledger that begins with these keys.
    #[must_use]
    pub fn of(identity: &PublicKey, first_epoch: &PublicKey) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"aegis origin v1\n");
        hasher.update(identity.as_bytes());
        hasher.update(first_epoch.as_bytes());
        let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{PREFIX}{}", digest.get(..DIGITS).unwrap_or_default()))
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let plain = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (digits.len() == DIGITS && plain).then(|| Self(text.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digits alone.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or(&self.0)
    }

    /// Returns the name of the epoch keys.
    #[must_use]
    pub fn epoch_name(&self) -> String {
        format!("{}/epoch", self.0)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept elsewhere to hold a ledger to: its name and its identity key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRoot {
    /// The ledger.
    pub origin: Origin,
    /// The identity key.
    pub identity: PublicKey,
}

impl TrustRoot {
    /// Reads the line that [`TrustRoot`] is printed as.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, identity) = PublicKey::from_verifier_line(line)?;
        Some(Self { origin: Origin::parse(name)?, identity })
    }
}

impl std::fmt::Display for TrustRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.identity.verifier_line(self.origin.as_str()))
    }
}

/// What a tree was: the three lines of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ledger.
    pub origin: Origin,
    /// How many records it covers.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Returns the text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, root_to_base64(&self.root))
    }

    /// Signs it by the identity key and the key of the epoch.
    #[must_use]
    pub fn sign(&self, identity: &SecretKey, epoch: &SecretKey) -> String {
        let epoch_name = self.origin.epoch_name();
        sign(&self.text(), &[(self.origin.as_str(), identity), (&epoch_name, epoch)])
    }

    /// Reads the text of a note; `None` where it is no checkpoint of three lines, or not written as [`Self::text`]
    /// does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let origin = Origin::parse(lines.next()?)?;
        let size = lines.next()?.parse().ok()?;
        let root = root_from_base64(lines.next()?)?;
        let checkpoint = Self { origin, size, root };
        (checkpoint.text() == text).then_some(checkpoint)
    }

    /// Reads a note that a holder of this identity key has signed.
    #[must_use]
    pub fn verified(note: &str, identity: &PublicKey) -> Option<Self> {
        let note = Note::parse(note)?;
        let checkpoint = Self::parse(note.text)?;
        note.is_signed_by(checkpoint.origin.as_str(), identity).then_some(checkpoint)
    }
}

/// Returns the standard base64 form of a hash, as checkpoints and proofs have it.
#[must_use]
pub fn root_to_base64(hash: &Hash) -> String {
    STANDARD.encode(hash.as_bytes())
}

/// Reads the standard base64 form of a hash.
#[must_use]
pub fn root_from_base64(text: &str) -> Option<Hash> {
    Some(Hash::from_bytes(STANDARD.decode(text).ok()?.try_into().ok()?))
}

/// Takes notes that stand one behind the other apart, as an anchor's file has them. Lines between them that belong to
/// none make notes that can't be read.
#[must_use]
pub fn split_notes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = String::new();
    let mut signed = false;
    for line in text.lines() {
        let is_signature = line.starts_with("\u{2014} ");
        if signed && !is_signature {
            notes.push(std::mem::take(&mut note));
            signed = false;
        }
        // Empty lines before a note are between two.
        if note.is_empty() && line.is_empty() {
            continue;
        }
        signed |= is_signature;
        note.push_str(line);
        note.push('\n');
    }
    if !note.is_empty() {
        notes.push(note);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::leaf;

    fn keys() -> (SecretKey, SecretKey) {
        (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]))
    }

    fn checkpoint() -> Checkpoint {
        let (identity, epoch) = keys();
        Checkpoint { origin: Origin::of(&identity.public(), &epoch.public()), size: 12, root: leaf(b"x") }
    }

    #[test]
    fn a_checkpoint_reads_back_and_is_verified() {
        let (identity, epoch) = keys();
        let note = checkpoint().sign(&identity, &epoch);
        assert_eq!(Checkpoint::verified(&note, &identity.public()), Some(checkpoint()));
        assert_eq!(Checkpoint::verified(&note, &epoch.public()), None);
        let signed = Note::parse(&note).unwrap();
        assert!(signed.is_signed_by(&checkpoint().origin.epoch_name(), &epoch.public()));
    }

    #[test]
    fn only_the_one_way_to_write_it_is_read() {
        let good = checkpoint().text();
        assert!(Checkpoint::parse(&good).is_some());
        for bad in [
            good.replace("\n12\n", "\n012\n"),
            good.replace("\n12\n", "\n+12\n"),
            good.replace("aegis/", "other/"),
            good.replace('=', ""),
            format!("{good}extension\n"),
            good.trim_end().to_owned(),
            String::new(),
        ] {
            assert!(Checkpoint::parse(&bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_trust_root_reads_back() {
        let root = TrustRoot { origin: checkpoint().origin, identity: keys().0.public() };
        assert_eq!(TrustRoot::parse(&root.to_string()), Some(root.clone()));
        assert!(TrustRoot::parse(&root.to_string().replace("aegis/", "eagis/")).is_none());
    }

    #[test]
    fn notes_are_taken_apart() {
        let (identity, epoch) = keys();
        let note = checkpoint().sign(&identity, &epoch);
        assert_eq!(split_notes(&format!("{note}{note}")), [note.as_str(), note.as_str()]);
        assert_eq!(split_notes(&format!("\n{note}\n\n{note}\n")), [note.as_str(), note.as_str()]);
        assert_eq!(split_notes(&format!("{note}rest")), [note.as_str(), "rest\n"]);
        assert!(split_notes("").is_empty());
    }
}
