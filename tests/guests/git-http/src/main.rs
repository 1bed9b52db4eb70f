//! A git server of which git has made the answers: `/srv/refs` is what `git upload-pack` advertises, and
//! `/srv/COMMIT` its answer to whoever wants that commit.

use wstd::http::{Body, Error, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(mut request: Request<Body>) -> Result<Response<Body>, Error> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    let file = if path.ends_with("/info/refs") && query == "service=git-upload-pack" {
        "refs".to_owned()
    } else if path.ends_with("/git-upload-pack") {
        let body = request.body_mut().contents().await?;
        let body = String::from_utf8_lossy(body).into_owned();
        // `0032want COMMIT …`
        let commit = body.get(9..49).unwrap_or_default().to_owned();
        let is_whole = body.get(4..9) == Some("want ") && body.ends_with("0009done\n");
        if is_whole && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) { commit } else { String::new() }
    } else {
        String::new()
    };
    match std::fs::read(format!("/srv/{file}")) {
        Ok(bytes) => Ok(Response::new(Body::from(bytes))),
        Err(_) => {
            let mut answer = Response::new(Body::from("no such thing\n"));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            Ok(answer)
        }
    }
}
