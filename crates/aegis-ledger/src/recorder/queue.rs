//! Events between who observes and the thread that writes, in memory.

use std::ops::Range;

use aegis_types::Outcome;

use crate::spool::Kind;
use crate::store::Class;

/// What the writer has to know of an event beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    pub(super) kind: Kind,
    pub(super) n: u64,
    /// Nanoseconds since 1970.
    pub(super) at: i64,
    pub(super) class: Class,
}

/// An event on its way from the observer to the writer, its bytes in the arena that goes with it.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) about: About,
    /// How it ended, where that came to be known behind it.
    pub(super) outcome: Option<Outcome>,
    /// The segment of the spool that it stands in.
    pub(super) segment: u64,
    pub(super) bytes: Range<usize>,
}

/// Events in the memory of the session process, which nobody else can write to. The spool holds the same for
/// the case that this process dies.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) events: Vec<Queued>,
    pub(super) arena: Vec<u8>,
}

impl Queue {
    /// Adds events behind these, and leaves nothing there.
    pub(super) fn take_from(&mut self, other: &mut Queue) {
        if self.events.is_empty() {
            self.arena.clear();
            std::mem::swap(self, other);
            return;
        }
        let offset = self.arena.len();
        self.arena.append(&mut other.arena);
        self.events.extend(other.events.drain(..).map(|mut event| {
            event.bytes = event.bytes.start + offset..event.bytes.end + offset;
            event
        }));
    }

    /// Takes the first events away.
    pub(super) fn drop_first(&mut self, count: usize) {
        self.events.drain(..count);
        let gone = self.events.first().map_or(self.arena.len(), |event| event.bytes.start);
        self.arena.drain(..gone);
        for event in &mut self.events {
            event.bytes = event.bytes.start - gone..event.bytes.end - gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_the_bytes_of_what_stays() {
        let queued = |n: u64, bytes| Queued {
            about: About { kind: Kind::Event, n, at: 0, class: Class { kind: 0, action: None } },
            outcome: None,
            segment: 1,
            bytes,
        };
        let mut queue = Queue { events: vec![queued(1, 0..3), queued(2, 3..5)], arena: b"aaabb".to_vec() };
        queue.take_from(&mut Queue { events: vec![queued(3, 0..2)], arena: b"cc".to_vec() });
        queue.drop_first(1);
        let texts: Vec<&[u8]> = queue.events.iter().map(|event| &queue.arena[event.bytes.clone()]).collect();
        assert_eq!(texts, [b"bb", b"cc"]);
        queue.drop_first(2);
        assert!(queue.arena.is_empty());
    }
}
