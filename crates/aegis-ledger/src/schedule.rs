//! When a session seals: what is urgent within a tenth of a second, the rest within ten, and silence every five minutes.

use crate::store::{Appended, Entry, KINDS, Sealing};

/// Seals of a session are so far apart at the least, and what is urgent is sealed within that, in microseconds.
const SEAL_URGENT_US: u64 = 100_000;

/// An urgent event waits so long for others, in microseconds.
const SEAL_GATHER_US: u64 = 80_000;

/// Any record is sealed after so long, in microseconds.
const SEAL_US: u64 = 10_000_000;

/// A session in which nothing was sealed for so long seals all the same, in microseconds.
const HEARTBEAT_US: u64 = 300_000_000;

/// Between the session's start and end, the register and the anchors are told so often at the most, in microseconds.
const TELL_US: u64 = 60_000_000;

/// What a writer knows of its seals; all times are of the monotonic clock in microseconds.
#[derive(Debug)]
pub(crate) struct Seals {
    /// The last seal, or the start.
    last_us: u64,
    /// The first record that is not sealed.
    open_since_us: Option<u64>,
    /// The first urgent one that is not sealed.
    urgent_since_us: Option<u64>,
    /// When the register and the anchors were told last.
    told_us: Option<u64>,
    /// What went wrong was said once.
    pub(crate) trouble_told: bool,
}

impl Seals {
    pub(crate) fn begin(now_us: u64) -> Self {
        Self {
            last_us: now_us,
            open_since_us: None,
            urgent_since_us: None,
            told_us: None,
            trouble_told: false,
        }
    }

    /// Returns when the next seal is due.
    pub(crate) fn due_us(&self) -> u64 {
        let urgent =
            self.urgent_since_us.map(|since| (since + SEAL_GATHER_US).max(self.last_us + SEAL_URGENT_US));
        let open = self.open_since_us.map(|since| since + SEAL_US);
        [urgent, open].into_iter().flatten().fold(self.last_us + HEARTBEAT_US, u64::min)
    }

    /// Says how a commit at this time seals.
    pub(crate) fn sealing(&self, now_us: u64, ends: bool) -> Sealing {
        if ends {
            return Sealing::Now { told: true };
        }
        if now_us < self.due_us() {
            return Sealing::WhenMany;
        }
        if self.open_since_us.is_none() {
            return Sealing::Heartbeat;
        }
        Sealing::Now { told: self.told_us.is_none_or(|told| now_us.saturating_sub(told) >= TELL_US) }
    }

    /// Takes note of a commit.
    pub(crate) fn committed(
        &mut self,
        appended: &Appended,
        batch: &[Entry<'_>],
        sealing: Sealing,
        now_us: u64,
    ) {
        if appended.sealed.is_some() {
            let told_us = (sealing != Sealing::Now { told: false }).then_some(now_us).or(self.told_us);
            *self = Self { told_us, trouble_told: self.trouble_told, ..Self::begin(now_us) };
        } else if !batch.is_empty() {
            self.open_since_us.get_or_insert(now_us);
            let urgent = |entry: &Entry<'_>| {
                let kind = KINDS.get(usize::from(entry.class.kind));
                matches!(kind, Some(&("gap" | "refusal" | "session_start" | "policy_set" | "policy_fault")))
            };
            if batch.iter().any(urgent) {
                self.urgent_since_us.get_or_insert(now_us);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use aegis_types::SessionId;

    use super::*;
    use crate::recorder::SESSION;
    use crate::store::Class;

    #[test]
    fn seals_come_when_they_are_due() {
        let kind = |name: &str| {
            let kind = KINDS.iter().position(|known| *known == name).unwrap();
            let (session, class) =
                (SessionId::NIL, Class { kind: u8::try_from(kind).unwrap(), action: None });
            Entry {
                session,
                producer: SESSION,
                n: None,
                recovered: false,
                bytes: Cow::Borrowed(b""),
                at: 0,
                class,
            }
        };
        let open = Appended { seq: 1, ..Appended::default() };
        let sealed = Appended { sealed: Some(2), ..open.clone() };
        let (now, told) = (Sealing::Now { told: true }, Sealing::Now { told: false });
        let mut seals = Seals::begin(1_000);
        assert_eq!((seals.due_us(), seals.sealing(2_000, false)), (1_000 + HEARTBEAT_US, Sealing::WhenMany));
        assert_eq!(seals.sealing(1_000 + HEARTBEAT_US, false), Sealing::Heartbeat);
        // What is not urgent waits, what is waits for less, and never longer than it may.
        seals.committed(&open, &[kind("action")], Sealing::WhenMany, 5_000);
        assert_eq!(seals.due_us(), 5_000 + SEAL_US);
        let urgent = 200_000;
        seals.committed(&open, &[kind("action"), kind("gap")], Sealing::WhenMany, urgent);
        assert_eq!(seals.due_us(), urgent + SEAL_GATHER_US);
        assert_eq!(seals.sealing(urgent + SEAL_GATHER_US - 1, false), Sealing::WhenMany);
        assert_eq!(seals.sealing(urgent + SEAL_GATHER_US, false), now);
        seals.committed(&sealed, &[], now, 300_000);
        assert_eq!(seals.due_us(), 300_000 + HEARTBEAT_US);
        // Ten a second at the most, and the register hears of one a minute.
        seals.committed(&open, &[kind("refusal")], Sealing::WhenMany, 300_001);
        assert_eq!(seals.due_us(), 300_000 + SEAL_URGENT_US);
        assert_eq!(seals.sealing(seals.due_us(), false), told);
        assert_eq!(seals.sealing(300_002, true), now, "an end is sealed at once");
        seals.committed(&sealed, &[], told, 400_000);
        seals.committed(&open, &[kind("session_start")], Sealing::WhenMany, 300_000 + TELL_US);
        assert_eq!(seals.sealing(seals.due_us(), false), now);
    }
}
