//! The machine's own name servers (`resolv.conf(5)`).

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use aegis_sys::clock::monotonic_us;

use crate::message::{MESSAGE_MAX, Query, is_cut};

/// How long a server has for an answer; callers ask again after five seconds by themselves (`RES_TIMEOUT`).
const PATIENCE: Duration = Duration::from_secs(5);

/// The most servers that are asked (`MAXNS`).
const SERVERS_MAX: usize = 3;

/// The largest file that is read.
const FILE_MAX: u64 = 64 << 10;

/// The port of name servers.
const PORT: u16 = 53;

/// Who is asked about names that may be known.
#[derive(Debug)]
pub(crate) struct Upstream {
    file: PathBuf,
}

impl Upstream {
    /// Takes the servers that a file names; it is read anew for each query, since networks change.
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        servers(&read(&self.file))
    }

    /// Asks the servers, one after another: in a datagram, which every server hears, and by a stream where the answer does
    /// not fit one.
    ///
    /// # Errors
    /// None has answered.
    pub(crate) fn ask(&self, query: &Query) -> io::Result<Vec<u8>> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for server in self.servers() {
            let answer = by_datagram(server, query);
            match answer {
                Ok(answer) if is_cut(&answer) => match by_stream(server, query) {
                    Ok(whole) => return Ok(whole),
                    Err(error) => last = error,
                },
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns the file's text with another server in place of those in it: search lists and options stay.
    pub(crate) fn text_for(&self, server: IpAddr) -> String {
        with_server(&read(&self.file), server)
    }
}

fn with_server(text: &str, server: IpAddr) -> String {
    let mut new = format!("nameserver {server}\n");
    for line in text.lines() {
        let word = line.split_ascii_whitespace().next().unwrap_or_default();
        if matches!(word, "search" | "domain" | "options" | "sortlist") {
            new.push_str(line);
            new.push('\n');
        }
    }
    new
}

fn read(file: &std::path::Path) -> String {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    // Without it there is a server on this machine (resolv.conf(5)).
    drop(opened.and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes)));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    let mut found: Vec<SocketAddr> = lines.filter_map(server).take(SERVERS_MAX).collect();
    if found.is_empty() {
        found.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    found
}

/// Reads an address, with the number or the name of its zone where it has one.
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return Some((word.parse::<IpAddr>().ok()?, PORT).into());
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let index =
        || std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?.trim().parse().ok();
    let zone = zone.parse().ok().or_else(|| if zone.contains('/') { None } else { index() })?;
    Some(SocketAddrV6::new(address, PORT, 0, zone).into())
}

fn by_datagram(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of its own for each, chosen by the kernel: who does not see it can't answer (RFC 5452).
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&query.bytes)?;
    let begun = monotonic_us();
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let left = PATIENCE.saturating_sub(Duration::from_micros(monotonic_us().saturating_sub(begun)));
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        let answer = buffer.get(..length).unwrap_or_default();
        if query.is_answered_by(answer) {
            return Ok(answer.to_vec());
        }
    }
}

fn by_stream(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = u16::try_from(query.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), &query.bytes[..]].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    if query.is_answered_by(&answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_of_the_file() {
        let text = "# nameserver 9.9.9.9\nnameserver 127.0.0.53\nsearch a b\n nameserver fe80::1%3 x\nnameserver no\nnameserver ::1\nnameserver 1.1.1.1\n";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53:53", "[fe80::1%3]:53", "[::1]:53"]);
        assert_eq!(servers(""), [(Ipv4Addr::LOCALHOST, 53).into()]);
    }

    #[test]
    fn the_rest_of_the_file_stays() {
        let text = "nameserver 9.9.9.9\nsearch corp.example\n# none\noptions ndots:2\nsortlist 1.2.3.4\n";
        let expected = "nameserver 127.0.0.53\nsearch corp.example\noptions ndots:2\nsortlist 1.2.3.4\n";
        assert_eq!(with_server(text, Ipv4Addr::new(127, 0, 0, 53).into()), expected);
    }
}
