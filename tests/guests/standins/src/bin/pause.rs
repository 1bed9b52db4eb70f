//! pause: runs until it is stopped.
fn main() {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3_600));
    }
}
