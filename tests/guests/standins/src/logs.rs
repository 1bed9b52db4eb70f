//! Log lines with a time, and times in the original's form.

use std::time::{SystemTime, UNIX_EPOCH};

/// Writes a line to standard error, the time before it.
pub fn log(line: &str) {
    eprintln!("{} {line}", now());
}

/// `2025/11/21 16:30:00`, UTC.
pub fn now() -> String {
    let (date, time) = date_and_time(seconds());
    format!("{:04}/{:02}/{:02} {time}", date.0, date.1, date.2)
}

/// Seconds since 1970.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Year, month and day, and the time of day as a text.
fn date_and_time(seconds: u64) -> ((u64, u64, u64), String) {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, so that leap days are the last of their years.
    let z = days + 719_468;
    let era = z / 146_097;
    let day = z % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let time = format!("{:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60);
    ((year + era * 400 + carry, month, date), time)
}

/// `logs-generator`: lines like those of an API server, one in each equal part of a time.
pub fn generate(total: u64, over: std::time::Duration) {
    let methods = ["GET", "POST", "PUT"];
    let namespaces = ["kube-system", "default", "ns"];
    let pause = over / u32::try_from(total.max(1)).unwrap_or(u32::MAX);
    for id in 0..total {
        let pick = id.wrapping_mul(2_654_435_761) >> 7;
        let (method, namespace) =
            (methods[pick as usize % 3], namespaces[(pick >> 3) as usize % 3]);
        let (date, time) = date_and_time(seconds());
        eprintln!(
            "I{:02}{:02} {time}.000000       1 logs_generator.go:76] {id} {method} \
             /api/v1/namespaces/{namespace}/pods/{:03x} {}",
            date.1,
            date.2,
            pick & 0xfff,
            200 + pick % 400
        );
        std::thread::sleep(pause);
    }
}

/// `10m30s`, `1s`, `500ms`.
pub fn duration(text: &str) -> Option<std::time::Duration> {
    let mut total = std::time::Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += std::time::Duration::from_secs_f64(number * unit);
        rest = &rest[end..];
    }
    Some(total)
}
