//! httpd: serves the files of `/usr/local/apache2/htdocs` on port 80, at first a page that says hello.
use std::process::ExitCode;

fn main() -> ExitCode {
    standins::run(standins::web::site(
        "/usr/local/apache2/htdocs",
        "<html><head><title>It works!</title></head><body><h1>It works!</h1></body></html>\n",
    ))
}
