//! Asking others, one server after another, without ever waiting for one.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::answer;
use crate::directory::Upstream;
use crate::server::Namespaces;

/// How long one server may think.
const PATIENCE: Duration = Duration::from_secs(2);
const PORT: u16 = 53;
/// Response codes with which the next server is asked: failure, refused.
const TRY_ANOTHER: [u8; 2] = [2, 5];

/// A question that others are asked.
pub(crate) struct Inquiry {
    packet: Vec<u8>,
    /// Bytes of the question behind the header.
    question: usize,
    datagram: bool,
    /// Who has not been asked yet.
    servers: std::vec::IntoIter<Upstream>,
    /// The answer of somebody who would not tell.
    unwilling: Option<Vec<u8>>,
    id: [u8; 2],
    conversation: Option<Conversation>,
    pub(crate) deadline: Instant,
}

enum Conversation {
    Datagram(UdpSocket),
    Stream {
        socket: TcpStream,
        sending: Vec<u8>,
        received: Vec<u8>,
    },
}

impl Inquiry {
    /// Asks the first server. `None`: the question cannot be passed on.
    pub(crate) fn new(
        packet: &[u8],
        servers: Vec<Upstream>,
        datagram: bool,
        namespaces: &Namespaces,
    ) -> Option<Self> {
        let mut inquiry = Self {
            question: question(packet)?.len(),
            packet: packet.to_vec(),
            datagram,
            servers: servers.into_iter(),
            unwilling: None,
            id: [0; 2],
            conversation: None,
            deadline: Instant::now(),
        };
        inquiry.ask_next(namespaces);
        Some(inquiry)
    }

    /// What to wait for; nothing when it is over.
    pub(crate) fn watch(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self.conversation.as_ref()? {
            Conversation::Datagram(socket) => Some((socket.as_fd(), PollFlags::IN)),
            Conversation::Stream { socket, sending, .. } => {
                let events = match sending.is_empty() {
                    true => PollFlags::IN,
                    false => PollFlags::OUT,
                };
                Some((socket.as_fd(), events))
            }
        }
    }

    /// Goes on after `ready`, or when time has passed. The answer, when there is one: a failure when nobody gave any.
    pub(crate) fn advance(&mut self, ready: bool, namespaces: &Namespaces) -> Option<Vec<u8>> {
        if ready && self.conversation.is_some() {
            match self.hear() {
                Ok(Some(answer)) if TRY_ANOTHER.contains(&(answer[3] & 0xf)) => {
                    self.unwilling = Some(answer);
                    self.ask_next(namespaces);
                }
                Ok(Some(answer)) => return Some(answer),
                Ok(None) => {}
                Err(_) => self.ask_next(namespaces),
            }
        }
        if self.conversation.is_some() && Instant::now() >= self.deadline {
            self.ask_next(namespaces);
        }
        match self.conversation {
            Some(_) => None,
            None => self
                .unwilling
                .take()
                .or_else(|| answer::failure(&self.packet))
                .or_else(|| Some(Vec::new())),
        }
    }

    fn ask_next(&mut self, namespaces: &Namespaces) {
        self.conversation = None;
        for server in self.servers.by_ref() {
            // A number and a port of our own for every question: strangers cannot guess both.
            self.id = rand::random();
            let mut asked = self.packet.clone();
            asked[..2].copy_from_slice(&self.id);
            let datagram = self.datagram;
            let begun = namespaces.within(server.from_host, || match datagram {
                true => send_datagram(server.address, &asked),
                false => connect_stream(server.address, &asked),
            });
            if let Ok(conversation) = begun {
                self.conversation = Some(conversation);
                self.deadline = Instant::now() + PATIENCE;
                return;
            }
        }
    }

    /// The answer, if it is complete.
    fn hear(&mut self) -> io::Result<Option<Vec<u8>>> {
        let question = &self.packet[12..12 + self.question];
        let heard = match &mut self.conversation {
            None => return Ok(None),
            Some(Conversation::Datagram(socket)) => {
                let mut buffer = vec![0; 65535];
                let length = match socket.recv(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                    outcome => outcome?,
                };
                buffer.truncate(length);
                if !answers(&buffer, self.id, question) {
                    return Ok(None);
                }
                buffer
            }
            Some(Conversation::Stream {
                socket,
                sending,
                received,
            }) => {
                flush(socket, sending)?;
                if !sending.is_empty() {
                    return Ok(None);
                }
                let Some(message) = read_framed(socket, received)? else {
                    return Ok(None);
                };
                if !answers(&message, self.id, question) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                message
            }
        };
        let mut answer = heard;
        answer[..2].copy_from_slice(&self.packet[..2]);
        Ok(Some(answer))
    }
}

fn send_datagram(server: IpAddr, packet: &[u8]) -> io::Result<Conversation> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect((server, PORT))?;
    socket.send(packet)?;
    Ok(Conversation::Datagram(socket))
}

fn connect_stream(server: IpAddr, packet: &[u8]) -> io::Result<Conversation> {
    let family = match server {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddr::new(server, PORT)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Conversation::Stream {
        socket: socket.into(),
        sending: framed(packet),
        received: Vec::new(),
    })
}

/// A message over TCP: its length in two bytes, then itself.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&message[..usize::from(length)]);
    frame
}

/// Reads what there is of a message; `None`: there is more to come. The end of the stream is an error.
pub(crate) fn read_framed(stream: &mut impl Read, received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; 4096];
    loop {
        let wanted = match received.first_chunk::<2>() {
            None => 2,
            Some(length) => 2 + usize::from(u16::from_be_bytes(*length)),
        };
        if received.len() >= 2 && received.len() == wanted {
            return Ok(Some(received.drain(..).skip(2).collect()));
        }
        let room = (wanted - received.len()).min(buffer.len());
        match stream.read(&mut buffer[..room]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => received.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends as much as can be sent now.
pub(crate) fn flush(stream: &mut impl Write, sending: &mut Vec<u8>) -> io::Result<()> {
    while !sending.is_empty() {
        match stream.write(sending) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => drop(sending.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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

    #[test]
    fn frames_come_in_pieces() {
        let frame = framed(b"message");
        let mut received = Vec::new();
        let (first, rest) = frame.split_at(5);
        assert!(
            read_framed(&mut &first[..], &mut received).is_err(),
            "the stream ended"
        );
        assert_eq!(
            read_framed(&mut &rest[..], &mut received).expect("the rest"),
            Some(b"message".to_vec())
        );
        assert!(received.is_empty());
        let nothing = read_framed(&mut &framed(b"")[..], &mut received).expect("an empty one");
        assert_eq!(nothing, Some(Vec::new()));
    }
}
