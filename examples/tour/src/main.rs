//! `make tour`: what ayni can do so far, against a mock server on loopback and the `scripted` backend, with the sample models of
//! the package, and with two real models where `make models` has put them. No network, no keys.
#![allow(clippy::print_stdout, reason = "a program that shows things")]

mod analysis;
mod chat;
mod drawings;
mod embed;
mod failures;
mod images;
mod local_chat;
mod market;
mod models;
mod search;
mod show;

use ayni::policy::Metrics;

#[tokio::main]
async fn main() -> ayni::Result<()> {
    show::title(
        "ayni",
        "local and hosted models behind one typed interface — this tour stays on this machine",
    );
    chat::ask_and_stream().await?;
    chat::fall_back().await?;
    chat::modes().await?;
    local_chat::triage().await?;
    embed::any_number().await?;
    embed::a_space_wakes_up().await?;
    search::search().await?;
    drawings::find().await?;
    images::draw_here().await?;
    images::generate_and_refine().await?;
    failures::statuses_that_lie().await?;
    market::market().await?;
    analysis::with_proof().await?;
    show::section("What was counted", "Prometheus text, ready for /metrics");
    for line in
        Metrics::global().prometheus_text().lines().filter(|line| line.starts_with("ayni_requests_total"))
    {
        show::line(line);
    }
    Ok(())
}
