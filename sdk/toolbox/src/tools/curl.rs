//! `curl`, over plain HTTP.

use std::fs::File;
use std::time::Duration;

use super::args::Args;
use super::net::{Asked, ask, connect, url};
use crate::io::Sink;
use crate::proc::{Done, Failure, Proc};

/// Redirections that are followed.
const REDIRECTS_MAX: usize = 50;

const LONG: [(&str, char); 22] = [
    ("connect-timeout", 'C'),
    ("data", 'd'),
    ("data-raw", 'd'),
    ("fail", 'f'),
    ("globoff", 'g'),
    ("head", 'I'),
    ("header", 'H'),
    ("include", 'i'),
    ("insecure", 'k'),
    ("interface", 'B'),
    ("ipv4", '4'),
    ("ipv6", '6'),
    ("location", 'L'),
    ("max-time", 'm'),
    ("no-progress-meter", 's'),
    ("output", 'o'),
    ("request", 'X'),
    ("show-error", 'S'),
    ("silent", 's'),
    ("user-agent", 'A'),
    ("verbose", 'v'),
    ("write-out", 'w'),
];

pub(super) async fn curl(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "C:d:fgIH:ikB:46Lm:o:X:SsA:vw:q", &LONG)?;
    let place = args.rest.first().ok_or_else(|| Failure::Say(2, "no URL specified!".to_owned()))?;
    let done = fetch(p, &args, place.clone()).await;
    let quiet = args.has('s') && !args.has('S');
    match done {
        Err(Failure::Say(code, _)) if quiet => Ok(code),
        Err(Failure::Say(code, message)) => Err(Failure::Say(code, format!("({code}) {message}"))),
        other => other,
    }
}

async fn fetch(p: &Proc, args: &Args, mut place: String) -> Done {
    let bodies: Vec<&str> = args.values('d').collect();
    let body = (!bodies.is_empty()).then(|| bodies.join("&"));
    let default = if args.has('I') {
        "HEAD"
    } else if body.is_some() {
        "POST"
    } else {
        "GET"
    };
    let method = args.value('X').unwrap_or(default);
    let mut headers: Vec<String> = args.values('H').map(str::to_owned).collect();
    headers.push("Accept: */*".to_owned());
    for _ in 0..REDIRECTS_MAX {
        let target = url(&place).map_err(|message| Failure::Say(1, message))?;
        let stream = connect(&target.host, target.port, patience(args)).map_err(|message| {
            let code = if message.starts_with("bad address") { 6 } else { 7 };
            Failure::Say(code, message)
        })?;
        let agent = args.value('A').unwrap_or("curl");
        let asked = Asked { method, agent, headers: &headers, body: body.as_deref() };
        let mut answer = ask(stream, &target, &asked).map_err(|failure| match failure {
            Failure::Say(_, message) => Failure::Say(52, message),
            Failure::BrokenPipe => Failure::BrokenPipe,
        })?;
        if let (true, 300..400, Some(next)) =
            (args.has('L'), answer.code, answer.header("location"))
        {
            place = match next.starts_with('/') {
                true => format!("http://{}:{}{next}", target.host, target.port),
                false => next.to_owned(),
            };
            continue;
        }
        if args.has('f') && answer.code >= 400 {
            let message = format!("The requested URL returned error: {}", answer.code);
            return Err(Failure::Say(22, message));
        }
        let sink = match args.value('o') {
            Some("-") | None => p.stdout.clone(),
            Some("/dev/null") => Sink::nothing(),
            Some(file) => Sink::file(File::create(p.path(file))?),
        };
        if args.has('i') || args.has('I') {
            sink.write(format!("{}\r\n\r\n", answer.head.join("\r\n")).as_bytes()).await?;
        }
        if method != "HEAD" {
            answer.copy(&sink).await?;
        }
        p.print(&written(args.value('w').unwrap_or_default(), answer.code)).await?;
        return Ok(0);
    }
    Err(Failure::Say(47, "Maximum redirects followed".to_owned()))
}

/// The time for all, else the time to connect.
fn patience(args: &Args) -> Option<Duration> {
    let seconds = args.value('m').or(args.value('C'))?;
    seconds.parse().ok().map(Duration::from_secs_f64)
}

/// The text of `-w`: variables and escapes.
fn written(format: &str, code: u16) -> String {
    let text = format.replace("%{http_code}", &format!("{code:03}"));
    text.replace("%{response_code}", &format!("{code:03}"))
        .replace("\\n", "\n")
        .replace("\\t", "\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_at_the_end() {
        assert_eq!(written("%{http_code}\\n", 204), "204\n");
        assert_eq!(written("", 200), "");
    }
}
