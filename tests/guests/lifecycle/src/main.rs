//! Waits for the stop notice, says how much time is left, and ends with code 3; with the argument
//! `ignore` it goes on instead.
use coracle_sdk::lifecycle::{StopNotice, remaining};

fn main() {
    let notice = StopNotice::subscribe();
    println!("waiting, raised {}", notice.is_raised());
    notice.wait();
    let left = remaining().map(|left| left.as_secs());
    println!("raised {}, within the grace {}", notice.is_raised(), left.is_some());
    if std::env::args().nth(1).as_deref() == Some("ignore") {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    }
    coracle_sdk::exit(3);
}
