//! Servers on this machine's loopback, and a DNS server that says what the
//! test wants. Nothing here sends a packet off the machine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// The head of an answer.
pub fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// A server that answers each connection with a word and what it was sent.
pub fn server(address: &str, word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("bound");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut stream = stream;
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let sent = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    let answer = format!("{word}:{sent}");
                    let answer = match sent.starts_with("GET ") {
                        true => format!(
                            "HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nContent-Length: {}\r\n\r\n{answer}",
                            answer.len()
                        ),
                        false => answer,
                    };
                    if stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Sends a word and reads the answer.
pub fn said(stream: &mut TcpStream, word: &str) -> String {
    stream.write_all(word.as_bytes()).expect("written");
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).expect("an answer");
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// A DNS server.
pub struct Dns {
    /// Where it answers.
    pub address: SocketAddr,
    /// The names that were asked for, with how often.
    pub asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Dns {
    /// It answers what `answers` says to a name, of the how manyth question
    /// about it.
    pub fn new(answers: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let address = socket.local_addr().expect("bound");
        let asked: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counts = Arc::clone(&asked);
        thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((count, from)) = socket.recv_from(&mut bytes) {
                let query = &bytes[..count];
                let (name, end) = name_of(query);
                let is_a = query[end..end + 2] == [0, 1];
                let addresses = match is_a {
                    true => {
                        let mut counts = counts.lock().expect("not poisoned");
                        let count = counts.entry(name.clone()).or_default();
                        *count += 1;
                        answers(&name, *count)
                    }
                    false => Vec::new(),
                };
                let _ = socket.send_to(&answer(query, end, &addresses), from);
            }
        });
        Self { address, asked }
    }

    /// How often a name was asked for.
    ///
    /// # Panics
    ///
    /// If the server has panicked.
    pub fn count(&self, name: &str) -> usize {
        self.asked.lock().expect("not poisoned").get(name).copied().unwrap_or(0)
    }
}

/// The name of a question, and where its type begins.
fn name_of(query: &[u8]) -> (String, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        let label = &query[at + 1..at + 1 + length];
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += 1 + length;
    }
    (labels.join("."), at + 1)
}

/// An answer that may be kept for no time at all.
fn answer(query: &[u8], end: usize, addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut answer = query[..2].to_vec();
    // A response, recursion available; no error.
    answer.extend([0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    answer.extend(&query[12..end + 4]);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
