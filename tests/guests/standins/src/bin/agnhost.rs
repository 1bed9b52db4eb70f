//! agnhost: the subcommands that the suite uses.
use std::process::ExitCode;

use standins::flags::Flags;
use standins::{
    guestbook, health, issuer, logs, metrics, mounttest, netexec, nettest, run, small, web, webhook,
};

/// Flags that take no value.
const SWITCHES: [&str; 5] = ["http", "tcp", "udp", "json-response", "close"];

fn main() -> ExitCode {
    let mut all: Vec<String> = std::env::args().collect();
    // An image that is one component has no entry point, and is called by its container's name.
    if let Some(name) = all.first_mut().filter(|name| !name.starts_with('/')) {
        *name = "/agnhost".to_owned();
    }
    // The original's image has this file, and cases take it away to see what happens.
    if !std::path::Path::new("/localhost.crt").exists() {
        // A root that is read-only has it not.
        let _ = std::fs::write("/localhost.crt", include_str!("../localhost.crt"));
    }
    let args = all.get(2..).unwrap_or_default();
    let flags = Flags::read(args, &SWITCHES);
    match all.get(1).map_or("pause", String::as_str) {
        "pause" => small::pause(),
        "mounttest" => mounttest::run(&flags),
        "netexec" => run(netexec::run(flags)),
        "liveness" => run(netexec::liveness()),
        "serve-hostname" => run(small::serve_hostname(flags)),
        "test-webserver" => run(web::files("/", flags.number("port", 80) as u16)),
        "porter" => run(small::porter(flags)),
        "guestbook" => run(guestbook::run(flags)),
        "grpc-health-checking" => run(health::run(flags)),
        "nettest" => run(nettest::run(flags)),
        "metrics-adapter" => run(metrics::run(flags)),
        "webhook" => run(webhook::run(flags)),
        "crd-conversion-webhook" => run(webhook::convert(flags)),
        "connect" => run(small::connect(args)),
        "test-service-account-issuer-discovery" => run(issuer::run(flags)),
        "entrypoint-tester" => {
            println!("[{}]", all.join(" "));
            ExitCode::SUCCESS
        }
        "logs-generator" => generate(&flags),
        "dns-suffix" => run(async { small::resolver("search") }),
        "dns-server-list" => run(async { small::resolver("nameserver") }),
        "etc-hosts" => {
            println!("{}", std::fs::read_to_string("/etc/hosts").unwrap_or_default());
            ExitCode::SUCCESS
        }
        "--version" => {
            println!("agnhost version 2.59");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("error: this stand-in has no subcommand {other:?}");
            ExitCode::FAILURE
        }
    }
}

fn generate(flags: &Flags) -> ExitCode {
    let lines = u64::try_from(flags.number("log-lines-total", flags.number("t", 0))).unwrap_or(0);
    let over = flags.text("run-duration").or(flags.text("d")).and_then(logs::duration);
    match over {
        Some(over) if lines > 0 => {
            logs::generate(lines, over);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("error: --log-lines-total and --run-duration must be more than nothing");
            ExitCode::FAILURE
        }
    }
}
