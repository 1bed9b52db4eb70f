//! Runs each argument as one command over the sockets and files of WASI 0.3 and prints what came of
//! it. Two of them joined by ` & ` run at the same time.
mod files;
mod network;

use wasip3::{cli, wit_stream};

struct Probe;

impl wasip3::exports::cli::run::Guest for Probe {
    async fn run() -> Result<(), ()> {
        for argument in cli::environment::get_arguments().into_iter().skip(1) {
            let said = match argument.split_once(" & ") {
                Some((one, two)) => {
                    let (one, two) = futures::join!(run(one), run(two));
                    format!("{one}, {two}")
                }
                None => run(&argument).await,
            };
            say(&format!("{argument} => {said}\n")).await;
        }
        Ok(())
    }
}

async fn run(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    match *words {
        ["exit", code] => {
            cli::exit::exit_with_code(code.parse().unwrap_or(0));
            unreachable!("it has ended")
        }
        ["fail"] => panic!("trapped as asked"),
        ["spin"] => loop {
            std::hint::black_box(());
        },
        ["env", name] => {
            let all = cli::environment::get_environment();
            all.into_iter().find(|(key, _)| key == name).map_or_else(String::new, |(_, value)| value)
        }
        ["stdin"] => {
            let (data, _ending) = cli::stdin::read_via_stream();
            String::from_utf8_lossy(&data.collect().await).into_owned()
        }
        ["file", ref words @ ..] => {
            files::run(words).await.unwrap_or_else(|code| format!("{code:?}"))
        }
        ref words => network::run(words).await.unwrap_or_else(|code| format!("{code:?}")),
    }
}

/// Writes to stdout as 0.3 does: through a stream.
async fn say(text: &str) {
    let (mut out, data) = wit_stream::new();
    let ending = cli::stdout::write_via_stream(data);
    out.write_all(text.as_bytes().to_vec()).await;
    drop(out);
    ending.await.expect("stdout takes it");
}

wasip3::cli::command::export!(Probe);
