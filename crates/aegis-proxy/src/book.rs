//! Which names stood for which address in a session.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most addresses that are remembered; beyond, the oldest are forgotten.
const ADDRESSES_MAX: usize = 65_536;

/// The most names that are remembered of one address; beyond, the oldest are forgotten.
const NAMES_MAX: usize = 64;

/// The names of a session's addresses.
#[derive(Debug, Default)]
pub struct Book {
    /// What the machine's own file of hosts says; never forgotten.
    hosts: HashMap<IpAddr, Vec<Arc<str>>>,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    names: HashMap<IpAddr, Vec<Arc<str>>>,
    /// The addresses, the oldest first.
    order: VecDeque<IpAddr>,
}

impl Book {
    /// Begins with what a file of hosts says (`hosts(5)`): an address and its names in each line.
    #[must_use]
    pub fn with_hosts(text: &str) -> Self {
        let mut hosts: HashMap<IpAddr, Vec<Arc<str>>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            let known = hosts.entry(address.to_canonical()).or_default();
            known.extend(words.filter_map(canonical));
        }
        Self { hosts, learned: Mutex::default() }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // Nothing is half-done where it could panic.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that a name stood for an address. Where that is not of the public internet, it does not get the name: a
    /// name does not open what only its own address may (a name whose owner lets it stand for a host of this network, say).
    pub fn learn(&self, name: &str, address: IpAddr) {
        let address = address.to_canonical();
        let Some(name) = canonical(name) else { return };
        let mut learned = self.learned();
        let Learned { names, order } = &mut *learned;
        let known = names.entry(address).or_insert_with(|| {
            order.push_back(address);
            Vec::new()
        });
        if is_public(address) {
            known.retain(|other| *other != name);
            if known.len() >= NAMES_MAX {
                known.remove(0);
            }
            known.push(name);
        }
        while order.len() > ADDRESSES_MAX {
            if let Some(oldest) = order.pop_front() {
                names.remove(&oldest);
            }
        }
    }

    /// Says whether any name that was asked for stood for an address, also where it did not get the name.
    #[must_use]
    pub fn was_told(&self, address: IpAddr) -> bool {
        self.learned().names.contains_key(&address.to_canonical())
    }

    /// Returns the names of an address, the one that was learned last first.
    #[must_use]
    pub fn names(&self, address: IpAddr) -> Vec<Arc<str>> {
        let address = address.to_canonical();
        let mut found: Vec<Arc<str>> =
            self.learned().names.get(&address).into_iter().flatten().rev().cloned().collect();
        found.extend(self.hosts.get(&address).into_iter().flatten().cloned());
        found
    }
}

/// Returns a name as policies have it: in small letters, with no dot at its end; nothing for what is none.
#[must_use]
pub fn canonical(name: &str) -> Option<Arc<str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    // As it would be told apart from an address, a port or a pattern.
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.parse::<IpAddr>().is_err();
    is_name.then(|| name.to_ascii_lowercase().into())
}

/// Says whether an address is of the public internet (the registries of special-purpose addresses, RFC 6890).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a == 10
        || a == 127
        // Shared by providers (RFC 6598).
        || (a == 100 && (64..128).contains(&b))
        // Link-local: clouds answer there with credentials.
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 192 && b == 168)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        // Multicast, reserved, broadcast.
        || a >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is given out.
    if !(0x2000..0x4000).contains(&a) {
        // The well-known prefix for IPv4 behind it (RFC 6052).
        let embedded = address.octets();
        let [.., w, x, y, z] = embedded;
        let is_nat64 = a == 0x64 && b == 0xff9b && embedded.get(4..12).is_some_and(|rest| rest == [0; 8]);
        return is_nat64 && is_public_v4(Ipv4Addr::new(w, x, y, z));
    }
    // Protocol assignments, documentation, 6to4 (which leads to any IPv4 address).
    !((a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_kept_the_last_first() {
        let book = Book::with_hosts(
            "127.0.0.1 localhost Local. # me\n::1 localhost\nnot a line\n10.0.0.7\tdb.corp\n",
        );
        assert_eq!(book.names(address("127.0.0.1")), ["localhost".into(), "local".into()]);
        assert_eq!(book.names(address("10.0.0.7")), ["db.corp".into()]);
        book.learn("A.example.", address("8.8.8.8"));
        book.learn("b.example", address("::ffff:8.8.8.8"));
        book.learn("a.example", address("8.8.8.8"));
        assert_eq!(book.names(address("8.8.8.8")), ["a.example".into(), "b.example".into()]);
        for bad in ["", ".", "a b", "8.8.4.4", "a:1", "*.x", &"a".repeat(254)] {
            book.learn(bad, address("8.8.4.4"));
        }
        assert!(book.names(address("8.8.4.4")).is_empty() && !book.was_told(address("8.8.4.4")));
    }

    #[test]
    fn a_name_does_not_open_what_is_not_public() {
        for no in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "3fff::1",
            "64:ff9b:1::8.8.8.8",
        ] {
            assert!(!is_public(address(no)), "{no}");
            let book = Book::default();
            book.learn("evil.example", address(no));
            assert!(book.names(address(no)).is_empty(), "{no}");
            assert!(book.was_told(address(no)) && !book.was_told(address("9.9.9.9")), "{no}");
        }
        for yes in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(address(yes)), "{yes}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten_at_the_bounds() {
        let book = Book::default();
        let number = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0800_0000 + n));
        let count = u32::try_from(ADDRESSES_MAX).unwrap();
        for n in 0..=count {
            book.learn("a.example", number(n));
        }
        assert!(book.names(number(0)).is_empty());
        assert_eq!(book.names(number(1)).len(), 1);
        for n in 0..=NAMES_MAX {
            book.learn(&format!("n{n}.example"), number(1));
        }
        let names = book.names(number(1));
        assert_eq!(names.len(), NAMES_MAX);
        assert_eq!(*names[0], format!("n{NAMES_MAX}.example"));
    }
}
