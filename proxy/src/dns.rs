//! DNS for clients that know of no proxy: every name that may be reached leads
//! to 127.0.0.1, where the proxy is. Nothing is looked up.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

use crate::accept::PAUSE;
use crate::gate::Gate;

/// Where TLS and HTTP are served for such clients.
const PORTS: [u16; 2] = [443, 80];

/// How long an answer may be kept: it never changes.
const TTL: u32 = 300;

/// The longest question.
const MAX: usize = 4096;

/// Answers for as long as the runtime is there.
pub(crate) async fn run(socket: UdpSocket, gate: Arc<Gate>) {
    let mut bytes = [0; MAX];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut bytes).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let question = bytes.get(..count).unwrap_or_default();
        if let Some(answer) = answer(question, |name| gate.knows(name, &PORTS)) {
            // One that is lost is asked for again.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The answer to a question; `None` to anything else.
fn answer(question: &[u8], knows: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let asked = Message::from_vec(question).ok()?;
    let [query] = asked.queries.as_slice() else { return None };
    if asked.metadata.message_type != MessageType::Query || asked.metadata.op_code != OpCode::Query
    {
        return None;
    }
    let mut answer = Message::response(asked.metadata.id, OpCode::Query);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let name = query.name().to_ascii().to_ascii_lowercase();
    if !knows(name.strip_suffix('.').unwrap_or(&name)) {
        answer.metadata.response_code = ResponseCode::NXDomain;
    } else if query.query_type() == RecordType::A {
        let here = RData::A(Ipv4Addr::LOCALHOST.into());
        answer.add_answer(Record::from_rdata(query.name().clone(), TTL, here));
    }
    answer.to_vec().ok()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::rr::Name;

    use super::*;

    /// The code of an answer, and its addresses.
    fn asked(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        let answer = answer(&message.to_vec().expect("bytes"), |name| name == "a.test");
        let answer = Message::from_vec(&answer.expect("an answer")).expect("a message");
        assert_eq!(answer.metadata.id, message.metadata.id);
        let addresses = answer.answers.iter().map(|record| record.data.to_string());
        (answer.metadata.response_code, addresses.collect())
    }

    #[test]
    fn names_that_may_be_reached_lead_here_and_others_nowhere() {
        let here = vec!["127.0.0.1".to_owned()];
        assert_eq!(asked("A.test.", RecordType::A), (ResponseCode::NoError, here));
        for kind in [RecordType::AAAA, RecordType::TXT, RecordType::HTTPS] {
            assert_eq!(asked("a.test.", kind), (ResponseCode::NoError, Vec::new()));
        }
        assert_eq!(asked("b.test.", RecordType::A), (ResponseCode::NXDomain, Vec::new()));
        assert_eq!(asked("secret.a.test.", RecordType::TXT).0, ResponseCode::NXDomain);
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let none = |bytes: &[u8]| answer(bytes, |_| true).is_none();
        assert!(none(b"") && none(b"x") && none(&[0; 12]));
        let response = Message::response(1, OpCode::Query);
        assert!(none(&response.to_vec().expect("bytes")));
    }
}
