//! The command line.

use std::path::PathBuf;

use kancy::{MintedKey, Name};

const HELP: &str = "\
The kancy gateway: one OpenAI-compatible API and one key for the models of many vendors.

  gateway [--config FILE] [--listen ADDR]
  gateway --mint-key ENVIRONMENT

  --config FILE           a TOML file; without one, demo models and whatever credentials the environment holds
  --listen ADDR           where to listen, 127.0.0.1:8080 unless given; port 0 takes any
  --mint-key ENVIRONMENT  prints a new key and its id, for [[keys]] of a file
  --help                  this";

/// Where to listen, and by which file.
pub struct Args {
    pub config: Option<PathBuf>,
    pub listen: String,
}

pub enum Command {
    Serve(Args),
    Print(String),
}

impl Args {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Command, String> {
        let mut args = Self { config: None, listen: "127.0.0.1:8080".to_owned() };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value; --help tells more"));
            match word.as_str() {
                "--config" => args.config = Some(value()?.into()),
                "--listen" => args.listen = value()?,
                "--mint-key" => return mint(&value()?).map(Command::Print),
                "--help" | "-h" => return Ok(Command::Print(HELP.to_owned())),
                other => return Err(format!("{other:?} is no option; --help lists them")),
            }
        }
        Ok(Command::Serve(args))
    }
}

fn mint(environment: &str) -> Result<String, String> {
    let minted = MintedKey::new(Some(&Name::new(environment)?));
    Ok(format!("key: {}\nid: {}", minted.text.expose(), minted.id))
}
