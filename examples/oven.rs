//! A bot that asks a slow and flaky service, with a real client: how hot is the oven?
//!
//! The client is made in each worker and keeps its connections there. A failure is tried again;
//! whoever asked is told once if all attempts fail. Started by a test; to try it:
//! `OVEN=http://127.0.0.1:9000/degrees cargo run --example oven -- run`.

use std::process::ExitCode;
use std::time::Duration;

use turnkey::{App, Error, Result, Turn};

/// What every turn of a worker is lent.
struct Oven {
    client: reqwest::Client,
    address: String,
}

impl Oven {
    /// Its error ends the start, with these words.
    fn new() -> Result<Self> {
        let address = std::env::var("OVEN").map_err(|_| Error::msg("OVEN is not set"))?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20));
        let client = client.build()?;
        Ok(Oven { client, address })
    }

    async fn degrees(&self) -> reqwest::Result<u32> {
        let answer = self.client.get(&self.address).send().await?;
        answer.error_for_status()?.json().await
    }
}

async fn handle(turn: &mut Turn<()>, oven: &Oven) -> Result<()> {
    match oven.degrees().await {
        Ok(degrees) => turn.reply(format!("The oven has {degrees} degrees.")),
        Err(error) => return Err(Error::from(error).retry_in(Duration::from_millis(100))),
    }
    Ok(())
}

async fn sorry(turn: &mut Turn<()>, _why: &str) -> Result<()> {
    turn.reply("The oven does not answer.");
    Ok(())
}

fn main() -> ExitCode {
    App::try_with(Oven::new, handle).given_up(sorry).run()
}
