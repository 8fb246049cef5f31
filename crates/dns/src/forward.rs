//! Asking others.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::directory::Upstream;
use crate::server::Namespaces;

/// How long one server may think.
const PATIENCE: Duration = Duration::from_secs(2);
const PORT: u16 = 53;
/// Response codes with which the next server is asked: failure, refused.
const TRY_ANOTHER: [u8; 2] = [2, 5];

/// Asks the servers in turn; `None` when nobody answers. The calling thread must be one of its own: it changes its
/// network namespace.
pub(crate) fn ask(
    packet: &[u8],
    servers: &[Upstream],
    namespaces: &Namespaces,
    datagram: bool,
) -> Option<Vec<u8>> {
    let question = question(packet)?;
    let mut unwilling = None;
    for server in servers {
        let namespace = match server.from_host {
            true => &namespaces.host,
            false => &namespaces.container,
        };
        let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
        if entered.is_err() {
            continue;
        }
        let answer = match datagram {
            true => over_udp(packet, question, server.address),
            false => over_tcp(packet, question, server.address),
        };
        match answer {
            Ok(answer) if TRY_ANOTHER.contains(&(answer[3] & 0xf)) => unwilling = Some(answer),
            Ok(answer) => return Some(answer),
            Err(_) => {}
        }
    }
    unwilling
}

fn over_udp(packet: &[u8], question: &[u8], server: IpAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port and a number of our own for every question: strangers cannot guess both.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((server, PORT))?;
    let (asked, id) = renumbered(packet);
    socket.send(&asked)?;
    let until = Instant::now() + PATIENCE;
    let mut buffer = vec![0; 65535];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        if answers(&buffer[..length], id, question) {
            return Ok(numbered(buffer[..length].to_vec(), packet));
        }
    }
}

fn over_tcp(packet: &[u8], question: &[u8], server: IpAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(server, PORT), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (asked, id) = renumbered(packet);
    write_framed(&mut stream, &asked)?;
    let answer = read_framed(&mut stream)?;
    match answers(&answer, id, question) {
        true => Ok(numbered(answer, packet)),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A message over TCP: its length in two bytes, then itself.
pub(crate) fn read_framed(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

pub(crate) fn write_framed(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    stream.write_all(&frame)
}

fn renumbered(packet: &[u8]) -> (Vec<u8>, [u8; 2]) {
    let id: [u8; 2] = rand::random();
    let mut asked = packet.to_vec();
    asked[..2].copy_from_slice(&id);
    (asked, id)
}

/// An answer under the number of the original question.
fn numbered(mut answer: Vec<u8>, packet: &[u8]) -> Vec<u8> {
    answer[..2].copy_from_slice(&packet[..2]);
    answer
}

/// Whether a packet answers this question.
fn answers(packet: &[u8], id: [u8; 2], question: &[u8]) -> bool {
    let end = 12 + question.len();
    packet.len() >= end
        && packet[..2] == id
        && packet[2] & 0x80 != 0
        && packet[12..end].eq_ignore_ascii_case(question)
}

/// The bytes of the only question: labels, type and class. Questions are never compressed.
fn question(packet: &[u8]) -> Option<&[u8]> {
    let mut end = 12;
    loop {
        match usize::from(*packet.get(end)?) {
            0 => break,
            length @ 1..=63 => end += 1 + length,
            _ => return None,
        }
    }
    packet.get(12..end + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let mut packet = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(b"\x02db\x04shop\x00\x00\x01\x00\x01");
        packet.extend(b"what follows");
        let asked = question(&packet).expect("a question");
        assert_eq!(asked, b"\x02db\x04shop\x00\x00\x01\x00\x01");
        let mut answer = packet.clone();
        answer[2] |= 0x80;
        assert!(answers(&answer, [7, 7], asked));
        assert!(!answers(&answer, [7, 8], asked), "another number");
        assert!(!answers(&packet, [7, 7], asked), "a question");
        assert!(!answers(&answer[..20], [7, 7], asked), "cut off");
        answer[13] = b'x';
        assert!(!answers(&answer, [7, 7], asked), "another name");
        for torn in [&packet[..12], &packet[..15], &packet[..23], &[0xc0; 40][..]] {
            assert!(question(torn).is_none());
        }
    }
}
