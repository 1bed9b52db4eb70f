//! `dig`: asks a name server over the network, and prints what it says.
//!
//! *Source:* RFC 1035 §4 for the messages; the output is laid out as other tools of this name do.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, SystemTime};

use crate::proc::{Done, Proc};

/// How often a question is sent by datagram.
const TRIES: usize = 3;
/// Looks for an answer per try, and the pause between them: WASI 0.2 has no timeout for sockets.
const LOOKS: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);
/// Jumps within one name: a message that jumps in a circle is refused.
const JUMPS_MAX: usize = 32;

const TYPES: [(&str, u16); 9] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
];

#[derive(Default)]
struct Options {
    server: Option<String>,
    name: Option<String>,
    kind: Option<u16>,
    short: bool,
    tcp: bool,
    search: bool,
    /// Leave out all but the answers.
    answers_only: bool,
}

pub(super) async fn dig(p: &mut Proc) -> Done {
    let options = read(&p.args[1..])?;
    let conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let words = |key: &str| -> Vec<String> {
        let lines = conf.lines().filter_map(|line| line.strip_prefix(key));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    let server = options.server.clone().or_else(|| words("nameserver ").into_iter().next());
    let server = server.ok_or("no name server is known: name one as @SERVER")?;
    let server: IpAddr = match server.parse() {
        Ok(ip) => ip,
        Err(_) => {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(server.as_str(), 53));
            let first = found.ok().and_then(|mut all| all.next());
            first.ok_or(format!("couldn't get address for '{server}'"))?.ip()
        }
    };
    let name = options.name.clone().unwrap_or_else(|| ".".to_owned());
    let mut names = vec![name.trim_end_matches('.').to_owned()];
    if options.search && !name.ends_with('.') {
        names.splice(0..0, words("search ").iter().map(|domain| format!("{name}.{domain}")));
    }
    let kind = options.kind.unwrap_or(1);
    let mut said = None;
    for name in names {
        let question = question(&name, kind)?;
        let bytes = ask((server, 53).into(), &question, options.tcp)?;
        let answer = parse(&bytes).ok_or("the answer cannot be understood")?;
        let done = answer.code == 0 && !answer.sections[0].is_empty();
        said = Some(answer);
        if done {
            break;
        }
    }
    let said = said.ok_or("nothing was asked")?;
    p.print(&said.text(&options, server)).await?;
    Ok(0)
}

fn read(words: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let upper = word.to_ascii_uppercase();
        let kind = TYPES.iter().find(|(name, _)| *name == upper);
        match word.as_str() {
            "+short" => options.short = true,
            "+tcp" | "+vc" => options.tcp = true,
            "+search" => options.search = true,
            "+answer" | "+noall" => options.answers_only = true,
            "-x" => {
                let ip =
                    words.next().and_then(|ip| ip.parse().ok()).ok_or("-x wants an address")?;
                options.name = Some(reversed(ip));
                options.kind = Some(12);
            }
            "-t" => {
                let wanted = words.next().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
                let kind = TYPES.iter().find(|(name, _)| *name == wanted);
                options.kind = Some(kind.ok_or(format!("-t: '{wanted}' is no type known here"))?.1);
            }
            word if word.starts_with('+') => {}
            word if word.starts_with('@') => options.server = Some(word[1..].to_owned()),
            "IN" | "in" if options.name.is_some() => {}
            word => match kind {
                Some((_, kind)) if options.name.is_some() => options.kind = Some(*kind),
                _ => options.name = Some(word.to_owned()),
            },
        }
    }
    Ok(options)
}

fn reversed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let digits = format!("{:032x}", ip.to_bits());
            let nibbles: String = digits.chars().rev().map(|digit| format!("{digit}.")).collect();
            format!("{nibbles}ip6.arpa")
        }
    }
}

fn question(name: &str, kind: u16) -> Result<Vec<u8>, String> {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
    let id = (nanos ^ (nanos >> 16)) as u16;
    let mut bytes = [id.to_be_bytes(), [1, 0], [0, 1], [0; 2], [0; 2], [0; 2]].concat();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let length = u8::try_from(label.len()).ok().filter(|length| *length < 64);
        bytes.push(length.ok_or(format!("'{name}' is not a legal name"))?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    Ok(bytes)
}

fn ask(server: SocketAddr, question: &[u8], tcp: bool) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{server}: {}", crate::proc::reason(&error));
    if tcp {
        return by_stream(server, question).map_err(failed);
    }
    match by_datagram(server, question).map_err(failed)? {
        // Cut off: the whole of it comes by a stream.
        Some(answer) if answer.get(2).is_some_and(|flags| flags & 2 != 0) => {
            by_stream(server, question).map_err(failed)
        }
        Some(answer) => Ok(answer),
        None => Err("connection timed out; no servers could be reached".to_owned()),
    }
}

fn by_datagram(server: SocketAddr, question: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    let mut buffer = [0; 4096];
    for _ in 0..TRIES {
        socket.send_to(question, server)?;
        for _ in 0..LOOKS {
            match socket.recv_from(&mut buffer) {
                Ok((length, _)) if buffer[..length].starts_with(&question[..2]) => {
                    return Ok(Some(buffer[..length].to_vec()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

fn by_stream(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server)?;
    let length = (question.len() as u16).to_be_bytes();
    stream.write_all(&[&length[..], question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

struct Record {
    name: String,
    ttl: u32,
    kind: u16,
    data: String,
}

struct Answer {
    id: u16,
    flags: u16,
    code: u16,
    asked: String,
    /// Answers, authorities, additional records.
    sections: [Vec<Record>; 3],
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let flags = word(2)?;
    let mut at = 12;
    let mut asked = String::new();
    for _ in 0..word(4)? {
        let name = name(bytes, &mut at)?;
        asked = format!("{name}\tIN\t{}", type_name(word(at)?));
        at += 4;
    }
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    for (section, count) in sections.iter_mut().zip([word(6)?, word(8)?, word(10)?]) {
        for _ in 0..count {
            let name = name(bytes, &mut at)?;
            let kind = word(at)?;
            let ttl = u32::from_be_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?);
            let length = usize::from(word(at + 8)?);
            at += 10;
            let data = data(bytes, at, length, kind)?;
            at += length;
            // What describes the transport (OPT) is no record.
            if kind != 41 {
                section.push(Record { name, ttl, kind, data });
            }
        }
    }
    Some(Answer { id: word(0)?, flags, code: flags & 15, asked, sections })
}

fn name(bytes: &[u8], at: &mut usize) -> Option<String> {
    let mut text = String::new();
    let (mut here, mut jumps) = (*at, 0);
    loop {
        let length = usize::from(*bytes.get(here)?);
        match length {
            0 => {
                here += 1;
                break;
            }
            1..64 => {
                let label = bytes.get(here + 1..here + 1 + length)?;
                let _ = write!(text, "{}.", String::from_utf8_lossy(label));
                here += 1 + length;
            }
            _ => {
                if jumps == 0 {
                    *at = here + 2;
                }
                jumps += 1;
                if jumps > JUMPS_MAX {
                    return None;
                }
                here = (length & 0x3f) << 8 | usize::from(*bytes.get(here + 1)?);
            }
        }
    }
    if jumps == 0 {
        *at = here;
    }
    Some(if text.is_empty() { ".".to_owned() } else { text })
}

fn data(bytes: &[u8], at: usize, length: usize, kind: u16) -> Option<String> {
    let own = bytes.get(at..at + length)?;
    let word =
        |offset: usize| Some(u16::from_be_bytes(own.get(offset..offset + 2)?.try_into().ok()?));
    let name_at = |offset: usize| name(bytes, &mut (at + offset));
    Some(match kind {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(own).ok()?).to_string(),
        28 => Ipv6Addr::from(<[u8; 16]>::try_from(own).ok()?).to_string(),
        2 | 5 | 12 => name_at(0)?,
        15 => format!("{} {}", word(0)?, name_at(2)?),
        33 => format!("{} {} {} {}", word(0)?, word(2)?, word(4)?, name_at(6)?),
        6 => {
            let mut here = at;
            let (server, person) = (name(bytes, &mut here)?, name(bytes, &mut here)?);
            let numbers = bytes.get(here..here + 20)?.chunks(4);
            let numbers = numbers.filter_map(|n| Some(u32::from_be_bytes(n.try_into().ok()?)));
            let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
            format!("{server} {person} {}", numbers.join(" "))
        }
        16 => {
            let (mut texts, mut rest) = (Vec::new(), own);
            while let Some((length, more)) = rest.split_first() {
                let (text, after) = more.split_at_checked((*length).into())?;
                texts.push(format!("\"{}\"", String::from_utf8_lossy(text)));
                rest = after;
            }
            texts.join(" ")
        }
        _ => own.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn type_name(kind: u16) -> String {
    let known = TYPES.iter().find(|(_, number)| *number == kind);
    known.map_or_else(|| format!("TYPE{kind}"), |(name, _)| (*name).to_owned())
}

impl Answer {
    fn text(&self, options: &Options, server: IpAddr) -> String {
        let mut text = String::new();
        if options.short {
            for record in &self.sections[0] {
                let _ = writeln!(text, "{}", record.data);
            }
            return text;
        }
        let lines = |records: &[Record]| -> String {
            let line = |r: &Record| {
                format!("{}\t{}\tIN\t{}\t{}\n", r.name, r.ttl, type_name(r.kind), r.data)
            };
            records.iter().map(line).collect()
        };
        if options.answers_only {
            return lines(&self.sections[0]);
        }
        let status = match self.code {
            0 => "NOERROR".to_owned(),
            1 => "FORMERR".to_owned(),
            2 => "SERVFAIL".to_owned(),
            3 => "NXDOMAIN".to_owned(),
            4 => "NOTIMP".to_owned(),
            5 => "REFUSED".to_owned(),
            other => format!("RESERVED{other}"),
        };
        let flag = |bit: u16, name: &'static str| (self.flags & bit != 0).then_some(name);
        let flags = [
            flag(0x8000, "qr"),
            flag(0x0400, "aa"),
            flag(0x0200, "tc"),
            flag(0x0100, "rd"),
            flag(0x0080, "ra"),
        ];
        let flags: Vec<&str> = flags.into_iter().flatten().collect();
        let [answers, authorities, additional] = &self.sections;
        let _ = writeln!(
            text,
            ";; ->>HEADER<<- opcode: QUERY, status: {status}, id: {}\n;; flags: {}; QUERY: 1, \
             ANSWER: {}, AUTHORITY: {}, ADDITIONAL: {}\n\n;; QUESTION SECTION:\n;{}",
            self.id,
            flags.join(" "),
            answers.len(),
            authorities.len(),
            additional.len(),
            self.asked
        );
        for (title, records) in
            [("ANSWER", answers), ("AUTHORITY", authorities), ("ADDITIONAL", additional)]
        {
            if !records.is_empty() {
                let _ = write!(text, "\n;; {title} SECTION:\n{}", lines(records));
            }
        }
        let transport = if options.tcp { "TCP" } else { "UDP" };
        let _ = writeln!(text, "\n;; SERVER: {server}#53({server}) ({transport})");
        text
    }
}
