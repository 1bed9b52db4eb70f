//! nginx: serves the files of `/usr/share/nginx/html` on port 80, at first a page that says hello.
use std::process::ExitCode;

fn main() -> ExitCode {
    standins::run(standins::web::site(
        "/usr/share/nginx/html",
        "<html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body></html>\n",
    ))
}
