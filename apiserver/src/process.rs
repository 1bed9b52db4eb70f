//! What the server's own process uses, for its metrics page: read from `/proc/self` when the page is asked for.
//!
//! *Source:* proc(5); the names of Prometheus' client libraries.

use std::fmt::Write as _;

/// Clock ticks in a second, as the kernel tells them to user space. *Source:* `USER_HZ` of Linux, 100 everywhere.
const TICKS_PER_SECOND: f64 = 100.0;

/// The line that ends a page in the OpenMetrics format.
const END: &str = "# EOF\n";

/// Adds the process's metrics to a page; none where there is no `/proc`.
pub(crate) fn write(page: &mut String) {
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    add(page, &read("stat"), &read("status"), open);
}

/// Adds the metrics that the texts of `stat` and `status` tell.
fn add(page: &mut String, stat: &str, status: &str, open: usize) {
    let (Some(seconds), Some(resident)) = (cpu_seconds(stat), kib(status, "VmRSS:")) else {
        return;
    };
    let has_end = page.ends_with(END);
    if has_end {
        page.truncate(page.len() - END.len());
    }
    // Writing into a string cannot fail.
    let _infallible = write!(
        page,
        "# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total {seconds}\n\
         # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n\
         # TYPE process_open_fds gauge\nprocess_open_fds {open}\n",
        resident * 1024,
    );
    if has_end {
        page.push_str(END);
    }
}

/// User and system time of `/proc/self/stat`. The program's name in it may have spaces and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after) = stat.rsplit_once(')')?;
    // The fields `utime` and `stime` are the 14th and 15th, and the state after the name is the third.
    let ticks = |at: usize| after.split_whitespace().nth(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// A line of `/proc/self/status` in KiB.
fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_process_tells_of_itself_before_the_end() {
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 1 2 3";
        let mut page = "x 1\n# EOF\n".to_owned();
        add(&mut page, stat, "Name:\tcoracle\nVmRSS:\t  2048 kB\n", 7);
        expect![[r#"
            x 1
            # TYPE process_cpu_seconds counter
            process_cpu_seconds_total 2
            # TYPE process_resident_memory_bytes gauge
            process_resident_memory_bytes 2097152
            # TYPE process_open_fds gauge
            process_open_fds 7
            # EOF
        "#]]
        .assert_eq(&page);
        let mut page = "# EOF\n".to_owned();
        add(&mut page, "", "", 0);
        assert_eq!(page, "# EOF\n");
    }
}
