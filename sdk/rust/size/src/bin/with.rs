//! The same guest, with all that the SDK has.
use coracle_sdk::{blob, config, kv, lifecycle::StopNotice, log::Log};

const LOG: Log = Log::of("shop");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("hello");
    std::fs::write("/tmp/name", b"world")?;
    println!("{:?}", std::fs::read_to_string("/tmp/name")?);
    let notice = StopNotice::subscribe();
    let count = kv::open("visits")?.increment("home", 1)?;
    LOG.info(format_args!("visit {count} of {:?}", config::get("title")?));
    blob::open("photos")?.write("cat.jpg", b"...")?;
    let mut mounted = config::Config::read("/etc/app")?;
    println!("changed: {}", mounted.reread()?);
    notice.wait();
    coracle_sdk::exit(0);
}
