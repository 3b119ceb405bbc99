//! Answers that are given before the body was read, 60 times for each client, size of body and kind of connection.

use std::process::ExitCode;

use e2e::early::{CLIENTS, Early, Stand, WRONG_KEY, answers};

const SIZES: [usize; 4] = [60_000, 1_200_000, 5_000_000, 30_000_000];
/// Requests of each cell.
const TIMES: usize = 60;

/// Prints, for each client and size, how often the status was seen.
pub(crate) fn run() -> ExitCode {
    let mut wrong = Vec::new();
    for is_tls in [false, true] {
        let stand = Stand::start(is_tls);
        println!(
            "{} connections; of {TIMES} requests, bodies of {SIZES:?} bytes",
            if is_tls { "TLS" } else { "plain" }
        );
        for client in CLIENTS {
            let mut cells = Vec::new();
            for size in SIZES {
                let asked: Vec<Early> = answers(client, size).into_iter().cycle().take(TIMES - 1).collect();
                // A few at a time: some clients hold all bodies of a run in memory.
                let mut missed: Vec<String> =
                    asked.chunks(6).flat_map(|some| stand.ask(client, some, size)).collect();
                stand.use_up_the_free_attempts();
                missed.extend(stand.ask(client, &[WRONG_KEY], size));
                cells.push(TIMES - missed.len());
                wrong.extend(missed);
            }
            println!("  {client:<16} {cells:?}");
        }
    }
    wrong.iter().for_each(|missed| println!("{missed}"));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
