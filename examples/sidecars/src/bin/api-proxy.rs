//! Passes requests to `localhost:8001` on to the API server, with the pod's own token: what
//! `kubectl proxy` is in a side-car.

use sidecars::api::{self, Chunks};
use sidecars::local::{self, Answer, Request};
use sidecars::variable;

/// Headers that are about one connection, or that are the proxy's own affair.
const OWN: [&str; 9] = [
    "authorization", "connection", "content-length", "expect", "host", "keep-alive", "te", "transfer-encoding",
    "upgrade",
];

#[wstd::main]
async fn main() -> std::io::Result<()> {
    let port = variable("LISTEN_PORT", "8001");
    println!("the API is at http://localhost:{port}");
    local::serve(port.parse().map_err(std::io::Error::other)?, pass).await
}

async fn pass(request: Request, mut answer: Answer) -> std::io::Result<()> {
    if request.header("upgrade").is_some() {
        return answer.whole(501, "text/plain", "exec, attach and port-forward are not passed on\n").await;
    }
    let keep = |headers: Vec<(String, String)>| -> Vec<(String, String)> {
        headers.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str())).collect()
    };
    let sent = api::send(&request.method, &request.target, &keep(request.headers), request.body).await;
    let got = match sent {
        Ok(got) => got,
        Err(why) => return answer.whole(502, "text/plain", &format!("{why}\n")).await,
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = got.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    answer.head(got.status().as_u16(), &keep(headers.collect())).await?;
    // As it comes: a watch has no end.
    let mut chunks = Chunks::of(got.into_body());
    while let Some(bytes) = chunks.next().await.map_err(std::io::Error::other)? {
        answer.write(&bytes).await?;
    }
    Ok(())
}
