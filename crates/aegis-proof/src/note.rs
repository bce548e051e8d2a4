//! Signed notes: text with signature lines, as `c2sp.org/signed-note` has them, with Ed25519 (type 1).
//!
//! ```text
//! the text, one or more lines
//!
//! — name base64(key id, 4 bytes || signature, 64 bytes)
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// The largest note, in bytes. The text of a checkpoint and sixteen signatures take less.
pub const NOTE_MAX: usize = 4_096;

/// The most signatures of a note: what every verifier has to take.
const SIGNATURES_MAX: usize = 16;

/// How a signature line begins.
const DASH: &str = "\u{2014} ";

/// The type of signature: Ed25519.
const ED25519: u8 = 1;

/// An Ed25519 public key (RFC 8032, section 5.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Makes a key of its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the standard base64 form.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(STANDARD.decode(text).ok()?.try_into().ok()?))
    }

    /// Returns the standard base64 form.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    fn has_signed(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        // Bytes that are no point of the curve verify nothing.
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(text, &Signature::from_bytes(signature)).is_ok())
    }

    /// Returns the id of this key under a name.
    fn id(&self, name: &str) -> [u8; 4] {
        let mut hasher = Sha256::new();
        hasher.update(name);
        hasher.update([b'\n', ED25519]);
        hasher.update(self.0);
        let digest: [u8; 32] = hasher.finalize().into();
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    /// Returns this key as a line that a verifier is given: name, key id and key (Go's `sumdb/note`).
    #[must_use]
    pub fn verifier_line(&self, name: &str) -> String {
        let id = self.id(name).map(|byte| format!("{byte:02x}")).concat();
        let mut typed = vec![ED25519];
        typed.extend_from_slice(&self.0);
        format!("{name}+{id}+{}", STANDARD.encode(typed))
    }

    /// Reads a line of [`PublicKey::verifier_line`]; returns the name and the key.
    #[must_use]
    pub fn from_verifier_line(line: &str) -> Option<(&str, Self)> {
        let mut parts = line.splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = STANDARD.decode(key).ok()?;
        let (ED25519, key) = bytes.split_first().map(|(first, rest)| (*first, rest))? else { return None };
        let key = Self(key.try_into().ok()?);
        let fits = is_name(name) && key.verifier_line(name) == line && id.len() == 8;
        fits.then_some((name, key))
    }
}

/// An Ed25519 private key. It is overwritten in memory when it is dropped.
pub struct SecretKey(SigningKey);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey of {:?}", self.public())
    }
}

impl SecretKey {
    /// Makes a key of its seed, the private key of RFC 8032.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Returns the signature line of this key, by this name, over a text.
    fn line(&self, name: &str, text: &str) -> String {
        let mut bytes = self.public().id(name).to_vec();
        bytes.extend_from_slice(&self.0.sign(text.as_bytes()).to_bytes());
        format!("{DASH}{name} {}\n", STANDARD.encode(bytes))
    }
}

/// Signs a text by these keys under these names. The text ends with a line feed.
#[must_use]
pub fn sign(text: &str, signers: &[(&str, &SecretKey)]) -> String {
    let lines: String = signers.iter().map(|(name, key)| key.line(name, text)).collect();
    format!("{text}\n{lines}")
}

/// Says whether a key may have this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

/// A note that was read; nothing is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    /// The text, with the line feed at its end.
    pub text: &'a str,
    signatures: Vec<(&'a str, [u8; 4], [u8; 64])>,
}

impl<'a> Note<'a> {
    /// Reads a note; `None` where the bytes are not of that form. Signatures of other types are left out.
    #[must_use]
    pub fn parse(note: &'a str) -> Option<Self> {
        let plain = note.chars().all(|c| c == '\n' || c >= ' ');
        if note.len() > NOTE_MAX || !plain || !note.ends_with('\n') {
            return None;
        }
        // The last empty line divides.
        let at = note.rfind("\n\n")?;
        let (text, rest) = (note.get(..=at)?, note.get(at + 2..)?);
        let mut signatures = Vec::new();
        let mut count = 0;
        for line in rest.lines() {
            count += 1;
            let (name, value) = line.strip_prefix(DASH)?.split_once(' ')?;
            let bytes = STANDARD.decode(value).ok()?;
            if !is_name(name) || bytes.len() < 5 || count > SIGNATURES_MAX {
                return None;
            }
            if let Some((id, signature)) = bytes.split_first_chunk::<4>()
                && let Ok(signature) = <[u8; 64]>::try_from(signature)
            {
                signatures.push((name, *id, signature));
            }
        }
        (count > 0 && !text.is_empty()).then_some(Self { text, signatures })
    }

    /// Says whether this key has signed under this name: at least once, and no signature with that name and key id
    /// is another's.
    #[must_use]
    pub fn is_signed_by(&self, name: &str, key: &PublicKey) -> bool {
        let id = key.id(name);
        let mut of_key = self.signatures.iter().filter(|(n, i, _)| *n == name && *i == id).peekable();
        of_key.peek().is_some()
            && of_key.all(|(_, _, signature)| key.has_signed(self.text.as_bytes(), signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of `c2sp.org/tlog-checkpoint`, whose key is not published there; and the one of Go's package
    /// `sumdb/note`, whose key is.
    const GO: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn the_published_note_verifies() {
        let (name, key) = PublicKey::from_verifier_line(GO_KEY).unwrap();
        assert!(Note::parse(GO).unwrap().is_signed_by(name, &key));
        assert_eq!(key.verifier_line(name), GO_KEY);
        let other = GO.replace("problem is", "problem was");
        assert!(!Note::parse(&other).unwrap().is_signed_by(name, &key));
        assert!(!Note::parse(GO).unwrap().is_signed_by("Peter", &key));
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn keys_and_signatures_are_those_of_the_rfc() {
        let hex = |text: &str| -> Vec<u8> {
            let digit = |b: &u8| u8::try_from(char::from(*b).to_digit(16).unwrap()).unwrap();
            text.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SecretKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(
            key.public().as_bytes().to_vec(),
            hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        );
        let signature: [u8; 64] = hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00").try_into().unwrap();
        assert!(key.public().has_signed(&[0x72], &signature));
        assert!(!key.public().has_signed(&[0x73], &signature));
        assert!(!PublicKey::from_bytes([0xff; 32]).has_signed(&[0x72], &signature));
    }

    #[test]
    fn what_is_signed_verifies_for_its_keys_and_names_only() {
        let (a, b) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let note = sign("text\n\nmore\n", &[("a", &a), ("a/b", &b)]);
        let read = Note::parse(&note).unwrap();
        assert_eq!(read.text, "text\n\nmore\n");
        assert!(read.is_signed_by("a", &a.public()) && read.is_signed_by("a/b", &b.public()));
        assert!(!read.is_signed_by("a", &b.public()) && !read.is_signed_by("a/b", &a.public()));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let a = SecretKey::from_seed(&[1; 32]);
        let good = sign("text\n", &[("a", &a)]);
        assert!(Note::parse(&good).is_some());
        let line = good.lines().last().unwrap();
        for bad in [
            "",
            "\n",
            "\n\n",
            "text\n",
            "text\n\n",
            good.trim_end(),
            &good.replace("\u{2014} ", "- "),
            &good.replace("text", "te\txt"),
            &good.replace(" a ", " a+b "),
            &format!("{good}\u{2014} b AAAA\n"),
            &format!("{good}{line}").replace("text", &"x".repeat(NOTE_MAX)),
            &format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX + 1)),
        ] {
            assert!(Note::parse(bad).is_none(), "{bad:?}");
        }
        assert!(Note::parse(&format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX))).is_some());
        for bad in [
            "",
            "a",
            "a+b",
            "a+00000000+",
            "a+00000000+AQ==",
            &GO_KEY.replace("c7", "c8"),
            &GO_KEY.replace("Peter", "P "),
        ] {
            assert!(PublicKey::from_verifier_line(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            drop(Note::parse(&text));
            let _ = PublicKey::from_verifier_line(&text);
        }

        #[test]
        fn a_changed_bit_is_found(at in any::<prop::sample::Index>(), bit in 0u8..7) {
            let key = SecretKey::from_seed(&[7; 32]);
            let note = sign("aegis/x\n12\nroot\n", &[("aegis/x", &key)]);
            let mut bytes = note.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(Note::parse(&text).is_none_or(|note| !note.is_signed_by("aegis/x", &key.public())));
            }
        }
    }
}
