//! Does what its arguments say, so that one program shows every way in which a container can end.
//!
//! Built for WASI 0.2 and, as a core module, for preview 1.
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["return"] => {}
        ["fail"] => return Err("failed as asked".to_owned()),
        ["exit", code] => exit(number(code) as i32),
        ["panic"] => panic!("panicked as asked"),
        ["recurse"] => exit(recurse(black_box(1)) as i32),
        ["spin"] => spin(),
        ["sleep", ms] => std::thread::sleep(Duration::from_millis(number(ms))),
        ["allocate", mib] => allocate(number(mib) as usize),
        ["print", rest @ ..] => println!("{}", rest.join(" ")),
        ["complain", rest @ ..] => eprintln!("{}", rest.join(" ")),
        ["flood", lines] => flood(number(lines)),
        ["partial"] => {
            print!("no end of line");
            let _ = std::io::stdout().flush();
        }
        ["environment"] => {
            println!("args {:?}", std::env::args().collect::<Vec<_>>());
            println!("env {:?}", std::env::vars().collect::<Vec<_>>());
        }
        ["work", ms] => work(Duration::from_millis(number(ms))),
        ["turns", count] => turns(number(count)),
        ["cat"] => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
            print!("{text}");
        }
        ["listen", port] => listen(port)?,
        other => return Err(format!("unknown behaviour {other:?}")),
    }
    Ok(())
}

/// Ends with a code, which each WASI has its own way to do.
fn exit(code: i32) -> ! {
    #[cfg(target_env = "p2")]
    coracle_sdk::exit(code as u8);
    #[cfg(not(target_env = "p2"))]
    std::process::exit(code);
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| exit(2))
}

#[allow(unconditional_recursion, reason = "the stack is meant to end")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + frame[7]) + frame[3]
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Computes for so many turns and says how many microseconds that took.
fn turns(count: u64) {
    let start = Instant::now();
    let mut value = black_box(count);
    for turn in 0..count {
        value = value.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ turn;
    }
    black_box(value);
    println!("{}", start.elapsed().as_micros());
}

/// Holds memory piece by piece, all of it written to.
fn allocate(mib: usize) {
    let mut held = Vec::new();
    for _ in 0..mib {
        held.push(vec![1_u8; 1 << 20]);
    }
    println!("holding {} MiB", held.len());
}

fn flood(lines: u64) {
    for line in 0..lines {
        println!("line {line}");
    }
}

/// Computes for a time, and says how far it came.
fn work(time: Duration) {
    let start = Instant::now();
    let mut turns = 0_u64;
    while start.elapsed() < time {
        turns = black_box(turns.wrapping_add(1));
    }
    println!("{turns} turns");
}

/// Answers every connection with one line, after it has read one.
fn listen(port: &str) -> Result<(), String> {
    let listener = std::net::TcpListener::bind(format!("0.0.0.0:{port}"));
    let listener = listener.map_err(|error| error.to_string())?;
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = stream.map_err(|error| error.to_string())?;
        let mut byte = [0];
        while matches!(stream.read(&mut byte), Ok(1)) {
            if byte[0] == b'\n' {
                let _ = stream.write_all(b"answer\n");
            }
        }
    }
    Ok(())
}
