//! One question, one answer. Pure but for the upstream it may ask.

use std::net::Ipv4Addr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::Upstream;
use crate::names::NameTable;

/// How long a client may remember a pod's name. Containers come and go within a job.
const TTL: u32 = 5;
/// What we take in one datagram, and tell clients that we take.
const MAX_PAYLOAD: u16 = 1232;

/// How an answer travels: a datagram has a size limit and says so when it is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The bytes of the answer, or nothing when the bytes are no query worth one.
pub(super) async fn answer(
    request: &[u8],
    transport: Transport,
    names: &NameTable,
    upstream: &Upstream,
) -> Option<Vec<u8>> {
    let query = match Message::from_vec(request) {
        Ok(query) if query.metadata.message_type == MessageType::Query => query,
        Ok(_) => return None,
        Err(_) => {
            let id = u16::from_be_bytes(request.first_chunk::<2>().copied()?);
            return Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)
                .to_vec()
                .ok();
        }
    };
    let limit = usize::from(query.max_payload().min(MAX_PAYLOAD));
    let response = respond(query, names, upstream).await;
    let bytes = response.to_vec().ok()?;
    if transport == Transport::Udp && bytes.len() > limit {
        return response.truncate().to_vec().ok();
    }
    Some(bytes)
}

async fn respond(query: Message, names: &NameTable, upstream: &Upstream) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_PAYLOAD);
        response.set_edns(edns);
    }
    let code = match query.queries.as_slice() {
        _ if query.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
        [question] if question.query_class() == DNSClass::IN => {
            match resolve(question, names, upstream).await {
                Answer::Local(records) => {
                    response.metadata.authoritative = true;
                    response.add_answers(records);
                    ResponseCode::NoError
                }
                Answer::Forwarded(records) => {
                    response.add_answers(records);
                    ResponseCode::NoError
                }
                Answer::Failed(code) => code,
            }
        }
        [_] => ResponseCode::Refused,
        _ => ResponseCode::FormErr,
    };
    response.metadata.response_code = code;
    response
}

/// What is known about a question.
pub(super) enum Answer {
    /// The pod answers for it, perhaps with nothing.
    Local(Vec<Record>),
    /// The host's resolvers answered.
    Forwarded(Vec<Record>),
    /// Nobody has an answer.
    Failed(ResponseCode),
}

async fn resolve(question: &Query, names: &NameTable, upstream: &Upstream) -> Answer {
    let name = question.name();
    match question.query_type() {
        RecordType::AAAA => return Answer::Local(Vec::new()),
        // A question for everything at once is an amplifier and nothing else today (RFC 8482).
        RecordType::ANY | RecordType::AXFR | RecordType::IXFR => return Answer::Failed(ResponseCode::NotImp),
        RecordType::PTR => {
            if let Some(host) = reverse(name).and_then(|address| names.name_of(address))
                && let Ok(host) = Name::from_ascii(format!("{host}."))
            {
                return Answer::Local(vec![Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(host)))]);
            }
        }
        _ => {}
    }
    let text = name.to_ascii().to_ascii_lowercase();
    let local = if text == "localhost." || text.ends_with(".localhost.") {
        Some(Ipv4Addr::LOCALHOST)
    } else {
        names.address(&text)
    };
    match local {
        Some(address) if question.query_type() == RecordType::A => {
            Answer::Local(vec![Record::from_rdata(name.clone(), TTL, RData::A(A(address)))])
        }
        Some(_) => Answer::Local(Vec::new()),
        None => upstream.ask(question).await,
    }
}

/// The address in `4.3.2.1.in-addr.arpa`.
fn reverse(name: &Name) -> Option<Ipv4Addr> {
    let text = name.to_ascii().to_ascii_lowercase();
    let address: Ipv4Addr = text.strip_suffix(".in-addr.arpa.")?.parse().ok()?;
    let [a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(d, c, b, a))
}

#[cfg(test)]
mod tests;
