//! Messages of the DNS (RFC 1035), as far as a resolver that hands them on has to understand them.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder};
use domain::rdata::{A, Aaaa};

/// The longest message (RFC 1035, section 4.2.2).
pub(crate) const MESSAGE_MAX: usize = 65_535;

/// How large an answer may be that comes in one datagram where the query says so (RFC 9715).
const PAYLOAD: u16 = 1_232;

/// How large it may be in any case (RFC 1035, section 4.2.1).
const PLAIN: u16 = 512;

/// A query that can be handed on.
#[derive(Debug)]
pub(crate) struct Query {
    /// The name, in small letters, with no dot at its end.
    pub(crate) name: String,
    /// What is sent on: made anew, so that nothing goes out but the question.
    pub(crate) bytes: Vec<u8>,
    /// How large an answer the caller takes in one datagram.
    pub(crate) room: usize,
    /// The caller's number of it.
    id: u16,
}

/// Why a query is not handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not exist, as far as the caller may know.
    NoSuchName,
    /// It can't be read.
    Malformed,
    /// It asks for what is not done.
    NotDone,
    /// Nobody could be asked.
    Failed,
}

impl Query {
    /// Reads a query; nothing where it is none at all and gets no answer.
    pub(crate) fn read(bytes: &[u8], id: u16) -> Option<Result<Self, Refusal>> {
        let message = Message::from_octets(bytes).ok()?;
        let header = message.header();
        if header.qr() {
            return None;
        }
        if header.opcode() != Opcode::QUERY {
            return Some(Err(Refusal::NotDone));
        }
        let Ok(question) = message.sole_question() else { return Some(Err(Refusal::Malformed)) };
        if question.qclass() != Class::IN || matches!(question.qtype(), Rtype::AXFR | Rtype::IXFR) {
            return Some(Err(Refusal::NotDone));
        }
        let mut builder = MessageBuilder::new_vec();
        let new = builder.header_mut();
        new.set_id(id);
        new.set_rd(header.rd());
        new.set_ad(header.ad());
        new.set_cd(header.cd());
        let mut builder = builder.question();
        let pushed = builder.push((question.qname(), question.qtype()));
        let mut builder = builder.additional();
        let extended = message.opt();
        let room = extended.as_ref().map_or(PLAIN, |asked| asked.udp_payload_size().max(PLAIN));
        let added = match extended {
            Some(asked) => builder.opt(|opt| {
                opt.set_udp_payload_size(PAYLOAD);
                opt.set_dnssec_ok(asked.dnssec_ok());
                Ok(())
            }),
            None => Ok(()),
        };
        if pushed.is_err() || added.is_err() {
            return Some(Err(Refusal::Malformed));
        }
        let mut name = question.qname().to_string();
        name.make_ascii_lowercase();
        Some(Ok(Self { name, bytes: builder.finish(), room: room.into(), id: header.id() }))
    }

    /// Says whether a message answers what was sent on.
    pub(crate) fn is_answered_by(&self, bytes: &[u8]) -> bool {
        match (Message::from_octets(bytes), Message::from_octets(&self.bytes[..])) {
            (Ok(answer), Ok(query)) => answer.is_answer(&query),
            _ => false,
        }
    }

    /// Makes an answer the caller's own.
    pub(crate) fn hand_back(&self, mut answer: Vec<u8>) -> Vec<u8> {
        if let Some(id) = answer.get_mut(..2) {
            id.copy_from_slice(&self.id.to_be_bytes());
        }
        answer
    }
}

/// Answers a query with an error; nothing where it can't be read as far as its number.
pub(crate) fn refuse(query: &[u8], why: Refusal) -> Option<Vec<u8>> {
    let message = Message::from_octets(query).ok()?;
    let code = match why {
        Refusal::NoSuchName => Rcode::NXDOMAIN,
        Refusal::Malformed => Rcode::FORMERR,
        Refusal::NotDone => Rcode::NOTIMP,
        Refusal::Failed => Rcode::SERVFAIL,
    };
    let mut answer = MessageBuilder::new_vec().start_error(&message, code);
    answer.header_mut().set_ra(true);
    Some(answer.finish())
}

/// Says whether an answer was too long for its datagram.
pub(crate) fn is_cut(answer: &[u8]) -> bool {
    Message::from_octets(answer).is_ok_and(|message| message.header().tc())
}

/// Makes an answer fit a datagram with this much room: what it answers with stays as far as it fits, and where not all
/// does the answer says so (RFC 2181, section 9).
pub(crate) fn cut(mut answer: Vec<u8>, room: usize) -> Vec<u8> {
    if answer.len() <= room {
        return answer;
    }
    let (end, kept, all) = fitting(&answer, room).unwrap_or((HEAD, 0, false));
    let questions = if end == HEAD { [0, 0] } else { [0, 1] };
    answer.truncate(end);
    // What stands behind the answers is of use only to who has all of it. Names refer to what is before them.
    let counts = [questions, kept.to_be_bytes(), [0, 0], [0, 0]].concat();
    for (at, byte) in answer.iter_mut().skip(4).zip(counts) {
        *at = byte;
    }
    if !all && let Some(flags) = answer.get_mut(2) {
        *flags |= CUT;
    }
    answer
}

/// Says where the last record of the answer ends that fits, how many fit, and whether these are all of them.
fn fitting(answer: &[u8], room: usize) -> Option<(usize, u16, bool)> {
    let message = Message::from_octets(answer).ok()?;
    message.sole_question().ok()?;
    let mut section = message.answer().ok()?;
    let (mut end, mut kept) = (section.pos(), 0);
    if end > room {
        return None;
    }
    while let Some(record) = section.next() {
        record.ok()?;
        if section.pos() > room {
            return Some((end, kept, false));
        }
        (end, kept) = (section.pos(), kept + 1);
    }
    Some((end, kept, true))
}

/// How long the head of a message is, and the bit in its third byte that says that there is more (RFC 1035, section
/// 4.1.1).
const HEAD: usize = 12;
const CUT: u8 = 2;

/// Returns the addresses that an answer gives.
pub(crate) fn addresses(answer: &[u8]) -> Vec<IpAddr> {
    let Ok(message) = Message::from_octets(answer) else { return Vec::new() };
    let Ok(section) = message.answer() else { return Vec::new() };
    let mut found = Vec::new();
    for record in section.limit_to_in::<A>().flatten() {
        found.push(IpAddr::V4(record.data().addr()));
    }
    for record in section.limit_to_in::<Aaaa>().flatten() {
        found.push(IpAddr::V6(record.data().addr()));
    }
    found
}

#[cfg(test)]
mod tests {
    use domain::base::message_builder::OptBuilder;
    use domain::base::{Name, StaticCompressor, Ttl};
    use proptest::prelude::*;

    use super::*;

    fn query(name: &str, kind: Rtype) -> Vec<u8> {
        asking(name, kind, None)
    }

    /// A query that says how large an answer may be.
    fn asking(name: &str, kind: Rtype, room: Option<u16>) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(0x1234);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder.push((name.parse::<Name<Vec<u8>>>().unwrap(), kind)).unwrap();
        let mut builder = builder.additional();
        if let Some(room) = room {
            let size = |opt: &mut OptBuilder<'_, Vec<u8>>| {
                opt.set_udp_payload_size(room);
                Ok(())
            };
            builder.opt(size).unwrap();
        }
        builder.finish()
    }

    /// An answer with so many addresses, and as many records behind them.
    fn answer(addresses: u8) -> Vec<u8> {
        let asked = query("many.example", Rtype::A);
        let name: Name<Vec<u8>> = "many.example".parse().unwrap();
        let asked = Message::from_octets(&asked[..]).unwrap();
        let builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new())).unwrap();
        let mut builder = builder.start_answer(&asked, Rcode::NOERROR).unwrap();
        let record = |n| (&name, Ttl::from_secs(60), A::from_octets(192, 0, 2, n));
        (0..addresses).for_each(|n| builder.push(record(n)).unwrap());
        let mut builder = builder.additional();
        (0..addresses).for_each(|n| builder.push(record(n)).unwrap());
        builder.finish().into_target()
    }

    #[test]
    fn an_answer_is_cut_where_it_does_not_fit() {
        let room = |size| Query::read(&asking("a.example", Rtype::A, size), 1).unwrap().unwrap().room;
        assert_eq!([None, Some(0), Some(511), Some(4096)].map(room), [512, 512, 512, 4096]);
        // A head and a question of 30 bytes, and 16 for each record.
        assert_eq!(answer(3).len(), 30 + 6 * 16);
        for (addresses, room, kept) in
            [(3, 512, 3), (20, 512, 20), (40, 512, 30), (40, 511, 30), (40, 509, 29), (40, 30, 0)]
        {
            let whole = answer(addresses);
            let short = cut(whole.clone(), room);
            assert!(short.len() <= room);
            let all = self::addresses(&whole);
            assert_eq!(self::addresses(&short), all[..kept], "{addresses} {room}");
            assert_eq!(is_cut(&short), kept < usize::from(addresses), "{addresses} {room}");
            let asked = query("many.example", Rtype::A);
            let message = Message::from_octets(&short[..]).unwrap();
            assert!(message.is_answer(&Message::from_octets(&asked[..]).unwrap()));
        }
        assert_eq!(cut([answer(3), vec![0xff; 600]].concat(), 512).len(), 30 + 3 * 16);
        // Of what can't be read there is a head that says so.
        let head = cut(vec![0xff; 600], 512);
        assert_eq!((head.len(), is_cut(&head)), (12, true));
    }

    #[test]
    fn only_the_question_goes_out() {
        let mut with_more = MessageBuilder::new_vec();
        with_more.header_mut().set_id(0x1234);
        with_more.header_mut().set_rd(true);
        let mut with_more = with_more.question();
        with_more.push(("A.Example".parse::<Name<Vec<u8>>>().unwrap(), Rtype::A)).unwrap();
        let mut with_more = with_more.additional();
        let owner: Name<Vec<u8>> = "secret.example".parse().unwrap();
        with_more.push((owner, Ttl::from_secs(1), A::from_octets(1, 2, 3, 4))).unwrap();
        let with_more = with_more.finish();
        let asked = Query::read(&with_more, 7).unwrap().unwrap();
        assert_eq!(asked.name, "a.example");
        assert!(!asked.bytes.windows(6).any(|part| part == b"secret"));
        assert_eq!(asked.bytes.len(), query("a.example", Rtype::A).len());
        assert_eq!(asked.bytes[..2], [0, 7]);
    }

    #[test]
    fn refusals_are_answers_to_the_question() {
        let asked = query("a.example", Rtype::AAAA);
        let refused = refuse(&asked, Refusal::NoSuchName).unwrap();
        let message = Message::from_octets(&refused[..]).unwrap();
        assert!(message.is_answer(&Message::from_octets(&asked[..]).unwrap()));
        assert_eq!(message.header().rcode(), Rcode::NXDOMAIN);
        assert!(message.header().ra() && message.header().rd());
        assert!(!is_cut(&refused));
        let mut cut = refused;
        cut[2] |= 2;
        assert!(is_cut(&cut));
    }

    #[test]
    fn what_is_no_plain_query_is_refused() {
        let kind = |bytes: &[u8]| Query::read(bytes, 1).map(|read| read.map(|_| ()));
        let mut asked = query("a.example", Rtype::A);
        assert_eq!(kind(&asked), Some(Ok(())));
        asked[2] |= 0x80;
        assert_eq!(kind(&asked), None, "an answer");
        asked[2] = 0x28;
        assert_eq!(kind(&asked), Some(Err(Refusal::NotDone)), "an update");
        assert_eq!(kind(&query("a.example", Rtype::AXFR)), Some(Err(Refusal::NotDone)));
        let mut two = query("a.example", Rtype::A);
        two[5] = 2;
        assert_eq!(kind(&two), Some(Err(Refusal::Malformed)));
        assert_eq!(kind(&[0; 11]), None);
    }

    proptest! {
        #[test]
        fn nothing_breaks_on_any_bytes(bytes: Vec<u8>, flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
            let mut near = query("a.b.example", Rtype::A);
            for (at, byte) in flips {
                let length = near.len();
                near[at % length] = byte;
            }
            for bytes in [bytes, near] {
                if let Some(Ok(query)) = Query::read(&bytes, 9) {
                    let again = Query::read(&query.bytes, 9).unwrap().unwrap();
                    prop_assert_eq!(&again.bytes, &query.bytes, "what goes out stays as it is");
                    prop_assert_eq!(again.name, query.name);
                }
                drop((addresses(&bytes), refuse(&bytes, Refusal::Failed), is_cut(&bytes)));
                for room in 12..bytes.len() {
                    prop_assert!(cut(bytes.clone(), room).len() <= room);
                }
            }
        }
    }
}
