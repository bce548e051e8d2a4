//! The chain: each record names the hash of the one before, and each producer counts.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::canonical::is_canonical;
use crate::fault::{Fault, FaultKind};
use crate::record::{Hash, Place, RecordError, is_gap, leaf, parse};

/// Checks records one after the other; memory grows with the number of producers only.
#[derive(Debug, Clone)]
pub struct Chain {
    next: u64,
    prev: Hash,
    /// Where each producer stands, by session and name.
    counters: HashMap<(String, String), u64>,
    /// The producer of the last record, whose counter stands here and not there: records come in runs.
    current: Option<((String, String), u64)>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { next: 1, prev: Hash::ZERO, counters: HashMap::new(), current: None }
    }
}

impl Chain {
    /// Takes the next record, which is stored under the number `seq`, and returns what it says of its place.
    ///
    /// # Errors
    /// The first fault; the chain is then of no further use.
    pub fn push<'r>(&mut self, seq: u64, record: &'r [u8]) -> Result<Place<'r>, Fault> {
        self.push_with::<IgnoredAny>(seq, record).map(|(place, _)| place)
    }

    /// As [`Chain::push`], and reads the event on the way.
    ///
    /// # Errors
    /// As [`Chain::push`]; an event that is not of the type `E` makes the record none.
    pub fn push_with<'r, E: Deserialize<'r>>(
        &mut self,
        seq: u64,
        record: &'r [u8],
    ) -> Result<(Place<'r>, E), Fault> {
        let fault = |kind| Fault { seq, kind };
        if seq > self.next {
            return Err(Fault { seq: self.next, kind: FaultKind::Removed(seq - 1) });
        }
        let unreadable = |error: RecordError| fault(FaultKind::NotARecord(error.to_string()));
        if !is_canonical(record) {
            return Err(unreadable(RecordError::NotCanonical));
        }
        let parsed = parse::<E>(record).map_err(unreadable)?;
        let place = parsed.place().map_err(unreadable)?;
        if place.seq != seq || seq != self.next {
            return Err(fault(FaultKind::Reordered(place.seq)));
        }
        if place.prev != self.prev {
            return Err(fault(FaultKind::Altered));
        }
        self.count(&place, record).map_err(fault)?;
        self.next += 1;
        self.prev = leaf(record);
        Ok((place, parsed.event))
    }

    fn count(&mut self, place: &Place<'_>, record: &[u8]) -> Result<(), FaultKind> {
        let same =
            |(session, producer): &(String, String)| session == place.session && producer == place.producer;
        if !self.current.as_ref().is_some_and(|(key, _)| same(key)) {
            let key = (place.session.to_owned(), place.producer.to_owned());
            let counter = self.counters.get(&key).copied().unwrap_or(0);
            if let Some((key, counter)) = self.current.replace((key, counter)) {
                self.counters.insert(key, counter);
            }
        }
        let Some((_, counter)) = &mut self.current else { return Ok(()) };
        let due = *counter + 1;
        let told = place.lost > 0 && due.checked_add(place.lost) == Some(place.n) && is_gap(record);
        if !(place.lost == 0 && place.n == due || told) {
            let producer = format!("`{}` of session {}", place.producer, place.session);
            return Err(FaultKind::Lost { producer, due, came: place.n });
        }
        *counter = place.n;
        Ok(())
    }

    /// Returns the number of records taken and the hash of the last.
    #[must_use]
    pub fn head(&self) -> (u64, Hash) {
        (self.next - 1, self.prev)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Header, Producer, seal};
    use proptest::prelude::*;

    fn ledger(len: u64) -> Vec<Vec<u8>> {
        let mut prev = Hash::ZERO;
        (1..=len)
            .map(|seq| {
                let header = Header {
                    prev,
                    producer: Producer {
                        id: if seq % 3 == 0 { "b" } else { "a" }.into(),
                        lost: 0,
                        n: if seq % 3 == 0 { seq / 3 } else { seq - seq / 3 },
                    },
                    recovered: false,
                    seq,
                    session: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
                };
                let sealed = seal(&header, format!("{{\"n\":{seq}}}").as_bytes()).unwrap();
                prev = sealed.leaf;
                sealed.bytes
            })
            .collect()
    }

    fn check<'a>(records: impl IntoIterator<Item = (u64, &'a Vec<u8>)>) -> Result<(u64, Hash), Fault> {
        let mut chain = Chain::default();
        for (seq, record) in records {
            chain.push(seq, record)?;
        }
        Ok(chain.head())
    }

    #[test]
    fn damage_is_told_apart() {
        let good = ledger(9);
        let numbered = |records: &[Vec<u8>]| -> Result<(u64, Hash), Fault> { check((1..).zip(records)) };
        assert_eq!(numbered(&good).unwrap().0, 9);

        let mut altered = good.clone();
        altered[4] =
            String::from_utf8(altered[4].clone()).unwrap().replace("\"n\":5}", "\"n\":6}").into_bytes();
        assert_eq!(numbered(&altered), Err(Fault { seq: 6, kind: FaultKind::Altered }));

        let gone = (1..).zip(&good).filter(|(seq, _)| *seq != 4 && *seq != 5);
        assert_eq!(check(gone), Err(Fault { seq: 4, kind: FaultKind::Removed(5) }));

        let mut swapped = good.clone();
        swapped.swap(2, 3);
        assert_eq!(numbered(&swapped), Err(Fault { seq: 3, kind: FaultKind::Reordered(4) }));

        let mut torn = good.clone();
        torn[8].pop();
        assert!(matches!(numbered(&torn), Err(Fault { seq: 9, kind: FaultKind::NotARecord(_) })));
    }

    #[test]
    fn a_jump_of_a_producer_is_found_in_an_otherwise_valid_chain() {
        let mut chain = Chain::default();
        let header = |seq, n, lost, prev| Header {
            prev,
            producer: Producer { id: "a".into(), lost, n },
            recovered: false,
            seq,
            session: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        };
        let first = seal(&header(1, 1, 0, Hash::ZERO), b"{}").unwrap();
        chain.push(1, &first.bytes).unwrap();
        for lost in [0, 1] {
            let second = seal(&header(2, 3, lost, first.leaf), br#"{"what":{"action":{}}}"#).unwrap();
            assert!(matches!(chain.clone().push(2, &second.bytes).unwrap_err().kind, FaultKind::Lost { .. }));
        }
        let gap = seal(&header(2, 3, 1, first.leaf), br#"{"what":{"gap":{}}}"#).unwrap();
        chain.clone().push(2, &gap.bytes).unwrap();
        let second = seal(&header(2, 3, 0, first.leaf), b"{}").unwrap();
        let fault = chain.push(2, &second.bytes).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "entry 2: events 2 to 2 of `a` of session 01890a5d-ac96-774b-bcce-b302099a8057 are missing"
        );
    }

    proptest! {
        #[test]
        fn one_changed_bit_anywhere_but_at_the_end_is_found(at in 0usize..19, byte: usize, bit in 0u8..8) {
            let mut records = ledger(20);
            let index = byte % records[at].len();
            records[at][index] ^= 1 << bit;
            prop_assert!(check((1..).zip(&records)).is_err());
        }
    }
}
