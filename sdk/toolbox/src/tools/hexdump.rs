//! `hexdump -C`: bytes in hexadecimal and as text.

use super::args::Args;
use super::text::each_input;
use crate::proc::{Done, Failure, Proc};

/// Bytes of a line.
const LINE_BYTES: usize = 16;

pub(super) async fn hexdump(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "Cvn:s:", &[])?;
    if !args.has('C') {
        return Err(Failure::Say(1, "only the form of -C is supported".to_owned()));
    }
    let skip = args.number('s')?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let most = args.number('n')?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let mut code = 0;
    let mut bytes = Vec::new();
    for (_, source) in each_input(p, &args.rest, &mut code).await {
        bytes.extend(source.all().await?);
    }
    let bytes = bytes.get(skip..).unwrap_or_default();
    let bytes = &bytes[..bytes.len().min(most)];
    let mut last: Option<&[u8]> = None;
    let mut starred = false;
    for (index, line) in bytes.chunks(LINE_BYTES).enumerate() {
        let same = !args.has('v') && last == Some(line) && line.len() == LINE_BYTES;
        if !same {
            p.print(&shown(skip + index * LINE_BYTES, line)).await?;
        } else if !starred {
            p.print("*\n").await?;
        }
        starred = same;
        last = Some(line);
    }
    if !bytes.is_empty() {
        p.print(&format!("{:08x}\n", skip + bytes.len())).await?;
    }
    Ok(code)
}

fn shown(offset: usize, line: &[u8]) -> String {
    let mut hex = String::new();
    for index in 0..LINE_BYTES {
        let gap = if index % 8 == 0 { "  " } else { " " };
        match line.get(index) {
            Some(byte) => hex.push_str(&format!("{gap}{byte:02x}")),
            None => hex.push_str(&format!("{gap}  ")),
        }
    }
    let visible = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
    format!("{offset:08x}{hex}  |{}|\n", line.iter().map(visible).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_its_bytes_twice() {
        assert_eq!(
            shown(16, b"\xde\xca\xfe\xba\xd0\xfe\xff abc\n"),
            "00000010  de ca fe ba d0 fe ff 20  61 62 63 0a              |....... abc.|\n"
        );
    }
}
