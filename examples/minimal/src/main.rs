//! Asks a hosted model one question: `GROQ_API_KEY=… cargo run -p ayni-minimal -- "What is ayni?"`
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use ayni::backends::openai::OpenAiConfig;
use ayni::{ChatConfig, Context, Result, Setup};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let question = std::env::args().nth(1).unwrap_or_else(|| "What is ayni?".to_owned());
    let groq = OpenAiConfig::vendor("groq", "llama-3.3-70b-versatile");
    let chat = ayni::open_chat(Setup::<ChatConfig>::new(groq))?;
    println!("{}", chat.ask(&Context::new(), question).await?);
    Ok(())
}
