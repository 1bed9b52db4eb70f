//! `base64`: bytes as text, and back with `-d`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::args::Args;
use super::text::each_input;
use crate::proc::{Done, Proc};

/// Characters of a line when `-w` does not say. *Source:* GNU coreutils.
const LINE_CHARS: i64 = 76;

pub(super) async fn base64(p: &mut Proc) -> Done {
    let long = [("decode", 'd'), ("wrap", 'w'), ("ignore-garbage", 'i')];
    let args = Args::read(&p.args[1..], "dDiw:", &long)?;
    let width = args.number('w')?.unwrap_or(LINE_CHARS);
    let mut code = 0;
    let mut bytes = Vec::new();
    for (_, source) in each_input(p, &args.rest, &mut code).await {
        bytes.extend(source.all().await?);
    }
    if args.has('d') || args.has('D') {
        let decoded = decoded(&bytes, args.has('i'))?;
        p.stdout.write(&decoded).await?;
    } else {
        p.print(&wrapped(&BASE64_STANDARD.encode(&bytes), usize::try_from(width).unwrap_or(0)))
            .await?;
    }
    Ok(code)
}

/// Lines of `width` characters; one without an end for 0.
fn wrapped(text: &str, width: usize) -> String {
    if width == 0 {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + text.len() / width + 1);
    for line in text.as_bytes().chunks(width) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out
}

fn decoded(text: &[u8], ignores_garbage: bool) -> Result<Vec<u8>, String> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let is_kept =
        |byte: &u8| if ignores_garbage { is_digit(byte) } else { !byte.is_ascii_whitespace() };
    let digits: Vec<u8> = text.iter().copied().filter(is_kept).collect();
    BASE64_STANDARD.decode(digits).map_err(|_| "invalid input".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_wide_as_asked() {
        assert_eq!(wrapped("abcdef", 4), "abcd\nef\n");
        assert_eq!(wrapped("abcdef", 0), "abcdef");
        assert_eq!(wrapped("", 4), "");
    }

    #[test]
    fn what_is_no_digit_is_refused_or_left_out() {
        assert_eq!(decoded(b"aHVu\ndGVyMg==\n", false).as_deref(), Ok(&b"hunter2"[..]));
        assert!(decoded(b"aHVu!dGVyMg==", false).is_err());
        assert_eq!(decoded(b"aHVu!dGVyMg==", true).as_deref(), Ok(&b"hunter2"[..]));
    }
}
