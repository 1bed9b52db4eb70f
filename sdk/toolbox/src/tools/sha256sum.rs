//! `sha256sum`: digests of files, and with `-c` whether they still are those.

use sha2::{Digest as _, Sha256};

use super::args::Args;
use super::text::each_input;
use crate::io::Source;
use crate::proc::{Done, Proc};

pub(super) async fn sha256sum(p: &mut Proc) -> Done {
    let long = [("check", 'c'), ("binary", 'b'), ("text", 't'), ("status", 's'), ("quiet", 'q')];
    let args = Args::read(&p.args[1..], "cbtsqw", &long)?;
    let mut code = 0;
    for (name, source) in each_input(p, &args.rest, &mut code).await {
        if args.has('c') {
            code = code.max(check(p, &args, &source).await?);
        } else {
            let digest = digest(&source).await?;
            p.print(&format!("{digest}  {name}\n")).await?;
        }
    }
    Ok(code)
}

async fn digest(source: &Source) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    loop {
        let bytes = source.some().await?;
        if bytes.is_empty() {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&bytes);
    }
}

/// Compares what a list says with what is there.
async fn check(p: &Proc, args: &Args, list: &Source) -> Done {
    let mut code = 0;
    while let Some(line) = list.text_line().await? {
        let Some((wanted, name)) = line.split_once(' ').filter(|(digest, _)| digest.len() == 64)
        else {
            return Err(format!("no digest and name: '{line}'").into());
        };
        let name = name.trim_start_matches([' ', '*']);
        let found = match p.open(name) {
            Ok(source) => Some(digest(&source).await?),
            Err(why) => {
                p.complain(&format!("sha256sum: {why}")).await;
                None
            }
        };
        let is_same = found.is_some_and(|found| found.eq_ignore_ascii_case(wanted));
        let word = if is_same { "OK" } else { "FAILED" };
        if !args.has('s') && !(is_same && args.has('q')) {
            p.print(&format!("{name}: {word}\n")).await?;
        }
        code = code.max(i32::from(!is_same));
    }
    Ok(code)
}
