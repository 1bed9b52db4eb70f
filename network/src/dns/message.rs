//! DNS messages: questions read, answers put together. Pure.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as WireRecord, RecordType};

use super::zone::{Data, Found, Kind, Record};
use crate::names::CLUSTER_DOMAIN;

/// How long guests may keep what the zone says, in seconds. *Source:* CoreDNS's default.
const TTL_SECONDS: u32 = 5;
/// Bytes of a datagram unless the asker takes more. *Source:* RFC 1035 §4.2.1.
const DATAGRAM_BYTES: u16 = 512;
/// Bytes of a datagram at most, whatever the asker takes.
const DATAGRAM_BYTES_MAX: u16 = 4096;
/// What we say that we take. *Source:* DNS Flag Day 2020.
const PAYLOAD_BYTES: u16 = 1232;

/// The types of records that the zone has.
const KINDS: [(RecordType, Kind); 6] = [
    (RecordType::A, Kind::A),
    (RecordType::AAAA, Kind::Aaaa),
    (RecordType::CNAME, Kind::Cname),
    (RecordType::SRV, Kind::Srv),
    (RecordType::PTR, Kind::Ptr),
    (RecordType::TXT, Kind::Txt),
];

/// A question that can be answered.
pub(crate) struct Asked {
    /// The message that it came in.
    pub(crate) message: Message,
    /// The question itself.
    pub(crate) query: Query,
    /// What it asks for, as the zone has it.
    pub(crate) kind: Kind,
    /// Bytes that the answer may have in a datagram.
    pub(crate) datagram_bytes: usize,
}

/// What came in.
pub(crate) enum Read {
    /// A question.
    Asked(Box<Asked>),
    /// Something else that deserves this answer.
    Refused(Vec<u8>),
    /// Nothing that is to be answered.
    Nothing,
}

/// Reads a message off the wire.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let Ok(message) = Message::from_vec(bytes) else { return Read::Nothing };
    if message.metadata.message_type != MessageType::Query {
        return Read::Nothing;
    }
    let refuse = |code| {
        let answer = respond(&message, code);
        answer.to_vec().map_or(Read::Nothing, Read::Refused)
    };
    if message.metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    let [query] = message.queries.as_slice() else { return refuse(ResponseCode::FormErr) };
    if !matches!(query.query_class(), DNSClass::IN) {
        return refuse(ResponseCode::Refused);
    }
    let of_zone = KINDS.iter().find(|(wire, _)| *wire == query.query_type());
    let kind = of_zone.map_or(Kind::Other, |(_, kind)| *kind);
    let takes = message.edns.as_ref().map_or(DATAGRAM_BYTES, Edns::max_payload);
    let datagram_bytes = takes.clamp(DATAGRAM_BYTES, DATAGRAM_BYTES_MAX).into();
    let query = query.clone();
    Read::Asked(Box::new(Asked { message, query, kind, datagram_bytes }))
}

/// An answer without records.
pub(crate) fn respond(asked: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    answer.queries.clone_from(&asked.queries);
    if asked.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD_BYTES);
        answer.set_edns(edns);
    }
    answer
}

/// The zone's answer; `None` for a name outside.
pub(crate) fn of_zone(asked: &Asked, found: &Found) -> Option<Message> {
    let code = match found {
        Found::Records { .. } | Found::NoData => ResponseCode::NoError,
        Found::NoName => ResponseCode::NXDomain,
        Found::Outside => return None,
    };
    let mut answer = respond(&asked.message, code);
    answer.metadata.authoritative = true;
    match found {
        Found::Records { answers, extra, .. } => {
            answer.answers = answers.iter().filter_map(wire).collect();
            answer.additionals = extra.iter().filter_map(wire).collect();
        }
        Found::NoData | Found::NoName | Found::Outside => answer.authorities.extend(authority()),
    }
    Some(answer)
}

/// Puts what upstream said into an answer, its records older by `age`.
pub(crate) fn of_upstream(asked: &Asked, said: &Message, age: Duration) -> Message {
    let mut answer = respond(&asked.message, said.metadata.response_code);
    let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    let older = |records: &[WireRecord]| -> Vec<WireRecord> {
        let older = |record: &WireRecord| {
            let mut record = record.clone();
            record.ttl = record.ttl.saturating_sub(age);
            record
        };
        records.iter().map(older).collect()
    };
    answer.answers = older(&said.answers);
    answer.authorities = older(&said.authorities);
    answer.additionals = older(&said.additionals);
    answer
}

/// The bytes of an answer, at most `bytes_max`; one that is larger is cut off and says so.
pub(crate) fn encode(answer: &Message, bytes_max: usize) -> Option<Vec<u8>> {
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= bytes_max {
        return Some(bytes);
    }
    answer.truncate().to_vec().ok()
}

/// A question of our own.
pub(crate) fn question(id: u16, name: Name, record_type: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD_BYTES);
    message.set_edns(edns);
    message
}

/// Whether a message answers a question of ours.
pub(crate) fn answers(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries.first().map(same) == question.queries.first().map(same)
}

fn same(query: &Query) -> (Name, RecordType) {
    (query.name().to_lowercase(), query.query_type())
}

/// The addresses in an answer.
pub(crate) fn addresses(answer: &Message) -> Vec<IpAddr> {
    let ip = |record: &WireRecord| {
        if let RData::A(A(ip)) = &record.data {
            return Some(IpAddr::V4(*ip));
        }
        let RData::AAAA(AAAA(ip)) = &record.data else { return None };
        Some(IpAddr::V6(*ip))
    };
    answer.answers.iter().filter_map(ip).collect()
}

/// A name as the wire has it.
pub(crate) fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_str_relaxed(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn wire(record: &Record) -> Option<WireRecord> {
    let data = match &record.data {
        Data::Address(IpAddr::V4(ip)) => RData::A(A(*ip)),
        Data::Address(IpAddr::V6(ip)) => RData::AAAA(AAAA(*ip)),
        Data::Alias(target) => RData::CNAME(CNAME(name(target)?)),
        Data::Port { weight, port, target } => {
            RData::SRV(SRV::new(0, *weight, *port, name(target)?))
        }
        Data::Name(target) => RData::PTR(PTR(name(target)?)),
        Data::Text(text) => RData::TXT(TXT::new(vec![text.clone()])),
    };
    Some(WireRecord::from_rdata(name(&record.name)?, TTL_SECONDS, data))
}

/// Who answers for the zone, and how long it may be kept that something is not there.
fn authority() -> Option<WireRecord> {
    let zone = name(CLUSTER_DOMAIN)?;
    let (server, person) =
        (format!("ns.dns.{CLUSTER_DOMAIN}"), format!("hostmaster.{CLUSTER_DOMAIN}"));
    // The times between servers of a zone mean nothing here: there is no transfer.
    let (refresh, retry, expire) = (7200, 1800, 86400);
    let soa = SOA::new(name(&server)?, name(&person)?, 1, refresh, retry, expire, TTL_SECONDS);
    Some(WireRecord::from_rdata(zone, TTL_SECONDS, RData::SOA(soa)))
}
