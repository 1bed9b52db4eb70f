//! Runs each argument as one attack on its host and prints what came of it.
mod calls;
mod files;
mod net;

use std::hint::black_box;
use std::io::Write;

fn main() {
    for attack in std::env::args().skip(1) {
        let words: Vec<&str> = attack.split_whitespace().collect();
        let said = run(&words).unwrap_or_else(|error| format!("{:?}", error.kind()));
        println!("{attack} => {said}");
    }
}

fn run(words: &[&str]) -> std::io::Result<String> {
    match words {
        ["spin"] => spin(),
        ["recurse"] => Ok(recurse(black_box(1)).to_string()),
        ["eat"] => eat(),
        ["grow"] => Ok(grow()),
        ["flood", mib] => flood(number(mib), b'\n'),
        ["line", mib] => flood(number(mib), b'x'),
        ["random", bytes] => Ok(calls::random(number(bytes) as u64)),
        ["sleep", nanos] => Ok(calls::sleep(nanos.parse().unwrap_or(u64::MAX))),
        ["poll", times] => Ok(calls::poll(number(times))),
        ["pollables"] => calls::pollables(),
        ["fields", bytes] => Ok(calls::fields(number(bytes))),
        ["zeroes"] => Ok(calls::zeroes()),
        ["unasked", bytes] => Ok(calls::unasked(number(bytes))),
        ["files", rest @ ..] => files::run(rest),
        ["net", rest @ ..] => net::run(rest),
        _ => Ok("no such attack".to_owned()),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

#[allow(unconditional_recursion, reason = "the stack is meant to end")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + frame[7]) + frame[3]
}

/// Takes memory until the allocator gives up.
fn eat() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Takes memory until it is refused, and takes that well.
fn grow() -> String {
    while core::arch::wasm32::memory_grow::<0>(16) != usize::MAX {}
    "refused".to_owned()
}

fn flood(mib: usize, last: u8) -> std::io::Result<String> {
    let mut piece = [b'x'; 1024];
    piece[1023] = last;
    let mut out = std::io::stdout().lock();
    for _ in 0..mib << 10 {
        out.write_all(&piece)?;
    }
    out.write_all(b"\n")?;
    Ok("written".to_owned())
}
