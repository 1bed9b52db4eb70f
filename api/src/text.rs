//! Go's ways of writing values, which Kubernetes' messages and tables use.

use std::fmt::Write as _;

/// Quotes a string as Go's `%q` does: printable characters stay, others are escaped.
/// *Source:* Go `strconv.Quote`.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_escaped(&mut quoted, c);
    }
    quoted.push('"');
    quoted
}

fn push_escaped(out: &mut String, c: char) {
    let written = match c {
        '"' => out.write_str("\\\""),
        '\\' => out.write_str("\\\\"),
        '\u{7}' => out.write_str("\\a"),
        '\u{8}' => out.write_str("\\b"),
        '\u{c}' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\u{b}' => out.write_str("\\v"),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(out, "\\x{:02x}", c as u32),
        c if c.is_control() || (c.is_whitespace() && c != ' ') => {
            write!(out, "\\u{:04x}", c as u32)
        }
        c => out.write_char(c),
    };
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

/// Writes seconds of age as kubectl's tables do: `5s`, `3m20s`, `4h`, `2d3h`, `400d`, `3y20d`.
///
/// Negative ages print as `0s`, or `<invalid>` when more than two seconds in the future.
/// *Source:* `k8s.io/apimachinery/pkg/util/duration.HumanDuration`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        i64::MIN..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..=119 => format!("{seconds}s"),
        120..=599 => two_parts(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..=10_799 => format!("{}m", seconds / MINUTE),
        10_800..=28_799 => two_parts(seconds / HOUR, "h", seconds / MINUTE % 60, "m"),
        28_800..=172_799 => format!("{}h", seconds / HOUR),
        172_800..=691_199 => two_parts(seconds / DAY, "d", seconds / HOUR % 24, "h"),
        691_200..=63_071_999 => format!("{}d", seconds / DAY),
        63_072_000..=252_287_999 => two_parts(seconds / YEAR, "y", seconds / DAY % 365, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two_parts(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go() {
        assert_eq!(go_quote("a\"b\\\n\u{1}é"), r#""a\"b\\\n\x01é""#);
    }

    #[test]
    fn ages_as_kubectl() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_920, "3h2m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_072_000 + 86_400 * 3, "2y3d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
