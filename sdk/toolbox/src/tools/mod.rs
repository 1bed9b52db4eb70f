//! The tools, by name.

mod args;
mod awk;
mod base64;
mod curl;
mod date;
mod dd;
mod diff;
mod dig;
mod du;
mod expr;
mod files;
mod find;
mod grep;
mod hexdump;
mod look;
mod net;
mod print;
mod regex;
mod sed;
mod sha256sum;
mod system;
mod tar;
mod test;
mod text;
mod tr;
mod trees;
mod xargs;

use crate::proc::{CODE_BROKEN_PIPE, Done, Failure, Proc};

/// The names of all tools.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    include_str!("../../tools.txt").split_whitespace()
}

/// The last part of a path: what a tool is called by.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

/// Runs the tool of this name to its end; `None` when there is none.
pub(crate) async fn run(name: &str, p: &mut Proc) -> Option<i32> {
    let done = Box::pin(dispatch(name, p)).await?;
    Some(match done {
        Ok(code) => code,
        Err(Failure::BrokenPipe) => CODE_BROKEN_PIPE,
        Err(Failure::Say(code, message)) => {
            p.complain(&format!("{name}: {message}")).await;
            code
        }
    })
}

async fn dispatch(name: &str, p: &mut Proc) -> Option<Done> {
    Some(match name {
        "[" | "[[" | "test" => test::test(p).await,
        "awk" => awk::awk(p).await,
        "base64" => base64::base64(p).await,
        "basename" => print::basename(p).await,
        "cat" => text::cat(p).await,
        "chmod" => files::chmod(p).await,
        "cp" => trees::cp(p).await,
        "curl" => curl::curl(p).await,
        "cut" => text::cut(p).await,
        "date" => date::date(p).await,
        "dd" => dd::dd(p).await,
        "diff" => diff::diff(p).await,
        "dig" => dig::dig(p).await,
        "dirname" => print::dirname(p).await,
        "du" => du::du(p).await,
        "echo" => print::echo(p).await,
        "env" => system::env(p).await,
        "expr" => expr::expr(p).await,
        "false" => Ok(1),
        "find" => find::find(p).await,
        "getent" => net::getent(p).await,
        "grep" | "egrep" | "fgrep" => grep::grep(p).await,
        "head" => text::head(p).await,
        "hexdump" => hexdump::hexdump(p).await,
        "hostname" => system::hostname(p).await,
        "id" => system::id(p).await,
        "ln" => files::ln(p).await,
        "ls" => look::ls(p).await,
        "mkdir" => files::mkdir(p).await,
        "mktemp" => files::mktemp(p).await,
        "mv" => trees::mv(p).await,
        "nc" => net::nc(p).await,
        "nslookup" => net::nslookup(p).await,
        "printenv" => system::printenv(p).await,
        "printf" => print::printf_tool(p).await,
        "pwd" => print::pwd(p).await,
        "readlink" => look::readlink(p).await,
        "realpath" => look::realpath(p).await,
        "rm" => trees::rm(p).await,
        "rmdir" => files::rmdir(p).await,
        "sed" => sed::sed(p).await,
        "seq" => print::seq(p).await,
        "sh" => Ok(crate::shell::main(p.clone()).await),
        "sha256sum" => sha256sum::sha256sum(p).await,
        "sleep" => system::sleep(p).await,
        "sort" => text::sort(p).await,
        "stat" => look::stat(p).await,
        "tail" => text::tail(p).await,
        "tar" => tar::tar(p).await,
        "tee" => text::tee(p).await,
        "timeout" => system::timeout(p).await,
        "touch" => files::touch(p).await,
        "tr" => tr::tr(p).await,
        "true" => Ok(0),
        "uname" => system::uname(p).await,
        "uniq" => text::uniq(p).await,
        "wc" => text::wc(p).await,
        "wget" => net::wget(p).await,
        "which" => system::which(p).await,
        "whoami" => system::whoami(p).await,
        "xargs" => xargs::xargs(p).await,
        "yes" => print::yes(p).await,
        _ => return None,
    })
}
