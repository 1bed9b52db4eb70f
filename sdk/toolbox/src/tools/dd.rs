//! `dd`: copies blocks.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use crate::io::{Sink, Source};
use crate::proc::{Done, Proc, reason};

/// Most bytes of a block: it is held in memory.
const BLOCK_BYTES_MAX: u64 = 64 << 20;

/// What the operands say.
#[derive(Debug, PartialEq, Eq)]
struct Copy {
    from: Option<String>,
    to: Option<String>,
    block_bytes: u64,
    count: Option<u64>,
    skip: u64,
    seek: u64,
    truncates: bool,
    is_quiet: bool,
}

impl Copy {
    fn read(operands: &[String]) -> Result<Self, String> {
        let mut copy = Self {
            from: None,
            to: None,
            block_bytes: 512,
            count: None,
            skip: 0,
            seek: 0,
            truncates: true,
            is_quiet: false,
        };
        for operand in operands {
            let (name, value) = operand
                .split_once('=')
                .ok_or_else(|| format!("unrecognized operand '{operand}'"))?;
            match name {
                "if" => copy.from = Some(value.to_owned()),
                "of" => copy.to = Some(value.to_owned()),
                "bs" | "ibs" | "obs" => copy.block_bytes = number(value)?,
                "count" => copy.count = Some(number(value)?),
                "skip" | "iseek" => copy.skip = number(value)?,
                "seek" | "oseek" => copy.seek = number(value)?,
                "conv" => copy.truncates &= !value.split(',').any(|word| word == "notrunc"),
                "status" => copy.is_quiet = value == "none",
                "iflag" | "oflag" => {}
                _ => return Err(format!("unrecognized operand '{operand}'")),
            }
        }
        if !(1..=BLOCK_BYTES_MAX).contains(&copy.block_bytes) {
            return Err(format!("bs must be from 1 to {BLOCK_BYTES_MAX}"));
        }
        Ok(copy)
    }
}

/// Reads a number with its unit: `4k`, `1M`, `2kB`.
fn number(text: &str) -> Result<u64, String> {
    let bad = || format!("invalid number '{text}'");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "c" => 1,
        "w" => 2,
        "b" => 512,
        "kB" => 1000,
        "k" | "K" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "m" | "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "g" | "G" | "GiB" => 1 << 30,
        _ => return Err(bad()),
    };
    text[..digits].parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(bad)
}

pub(super) async fn dd(p: &mut Proc) -> Done {
    let copy = Copy::read(&p.args[1..])?;
    let source = match &copy.from {
        Some(name) => p.open(name)?,
        None => p.stdin.clone(),
    };
    let sink = sink(p, &copy)?;
    let block = usize::try_from(copy.block_bytes).map_err(|_| "bs is too large")?;
    for _ in 0..copy.skip {
        if source.exactly(block).await?.is_empty() {
            break;
        }
    }
    let copied = blocks(&source, &sink, block, copy.count).await?;
    if !copy.is_quiet {
        let Copied { whole, part, bytes } = copied;
        p.complain(&format!(
            "{whole}+{part} records in\n{whole}+{part} records out\n{bytes} bytes copied"
        ))
        .await;
    }
    Ok(0)
}

struct Copied {
    whole: u64,
    part: u64,
    bytes: u64,
}

async fn blocks(
    source: &Source,
    sink: &Sink,
    block: usize,
    count: Option<u64>,
) -> std::io::Result<Copied> {
    let mut copied = Copied { whole: 0, part: 0, bytes: 0 };
    while count.is_none_or(|count| copied.whole + copied.part < count) {
        crate::interrupt::check().await;
        let bytes = source.exactly(block).await?;
        if bytes.is_empty() {
            break;
        }
        sink.write(&bytes).await?;
        copied.bytes += bytes.len() as u64;
        if bytes.len() == block { copied.whole += 1 } else { copied.part += 1 }
    }
    Ok(copied)
}

fn sink(p: &Proc, copy: &Copy) -> Result<Sink, String> {
    let Some(name) = &copy.to else { return Ok(p.stdout.clone()) };
    if name == "/dev/null" {
        return Ok(Sink::nothing());
    }
    let said = |error: std::io::Error| format!("can't open '{name}': {}", reason(&error));
    let start = copy.seek.saturating_mul(copy.block_bytes);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(p.path(name))
        .map_err(said)?;
    if copy.truncates {
        file.set_len(start).map_err(said)?;
    }
    file.seek(SeekFrom::Start(start)).map_err(said)?;
    Ok(Sink::file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands() {
        let read = |text: &str| {
            Copy::read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let copy =
            read("if=/dev/zero of=x bs=1M count=2 seek=3 conv=notrunc,sync status=none").unwrap();
        assert_eq!((copy.block_bytes, copy.count, copy.seek), (1 << 20, Some(2), 3));
        assert!(!copy.truncates && copy.is_quiet);
        for bad in ["bs=0", "bs=1x", "bs=99999G", "of", "what=1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
