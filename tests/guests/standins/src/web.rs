//! Servers of files: `test-webserver`, nginx and httpd.

use std::fs;
use std::io::Result;
use std::path::{Component, Path, PathBuf};

use axum::body::Body;
use axum::response::Response;

use crate::serve::{Asked, http, text};

/// Serves the files of a folder on a port; of a folder its `index.html`, else its names.
pub async fn files(root: &'static str, port: u16) -> Result<()> {
    http(port, move |asked| async move { answer(root, &asked) }).await
}

/// Puts a front page into a folder that has none, and serves the folder on port 80.
pub async fn site(root: &'static str, page: &str) -> Result<()> {
    fs::create_dir_all(root)?;
    let index = Path::new(root).join("index.html");
    if !index.exists() {
        fs::write(index, page)?;
    }
    files(root, 80).await
}

/// Serves a folder with a `data.json` that names a picture.
pub async fn picture(root: &'static str, name: &str) -> Result<()> {
    fs::create_dir_all(root)?;
    let data = crate::json::object([("image", crate::json::string(name))]);
    fs::write(Path::new(root).join("data.json"), data)?;
    files(root, 80).await
}

fn answer(root: &str, asked: &Asked) -> Response {
    println!("{} - \"{} {}\"", asked.peer.ip(), asked.parts.method, asked.path());
    let path = inside(root, &crate::query::decoded(asked.path()));
    let index = path.join("index.html");
    let path = if index.is_file() { index } else { path };
    if path.is_dir() {
        return listing(&path);
    }
    match fs::read(&path) {
        Ok(content) => {
            let builder = Response::builder().header("content-type", kind(&path));
            builder.body(Body::from(content)).unwrap_or_default()
        }
        Err(_) => text(404, "404 page not found\n"),
    }
}

/// The path below the root, whatever `..` says.
fn inside(root: &str, path: &str) -> PathBuf {
    let parts = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    Path::new(root).join(parts.collect::<PathBuf>())
}

fn listing(path: &Path) -> Response {
    let names = fs::read_dir(path).into_iter().flatten().flatten();
    let line = |name: String| format!("<a href=\"{name}\">{name}</a>\n");
    let lines: String =
        names.map(|entry| line(entry.file_name().to_string_lossy().into_owned())).collect();
    let builder = Response::builder().header("content-type", "text/html; charset=utf-8");
    builder.body(Body::from(format!("<pre>\n{lines}</pre>\n"))).unwrap_or_default()
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}
