//! The gateway as a program.
//!
//! ```text
//! cargo run --release --example gateway
//! cargo run --release --example gateway -- --config kancy.toml
//! ```

#[macro_use]
mod forward;

mod accept;
mod ahead;
mod args;
mod deadline;
mod demo;
mod greeting;
mod linger;
mod refusal;
mod server;
mod stores;
mod timer;
mod workers;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kancy::client::TokioHost;
use kancy::config::OnDisconnect;
use kancy::{Clock, Closing, Config, Drain, SystemClock};
use tokio::net::TcpListener;

use args::{Args, Command};
use server::Signals;
use workers::{OwnClient, Workers};

/// A gateway is all short-lived pieces; this one is quicker at them than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the last writes may take.
const FLUSH: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(why) => return refuse(&format!("no runtime: {why}")),
    };
    let code = runtime.block_on(start());
    // As on the threads that serve: a name that is being looked up is not waited for.
    runtime.shutdown_timeout(workers::LOOKUPS);
    code
}

async fn start() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Command::Serve(args)) => args,
        Ok(Command::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(why) => return refuse(&why),
    };
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse(&why),
    }
}

/// One clear line, and the exit status that says it was the caller's to mend.
fn refuse(why: &str) -> ExitCode {
    eprintln!("gateway: {why}");
    ExitCode::from(2)
}

async fn run(args: Args) -> Result<(), String> {
    let env = |name: &str| std::env::var(name).ok();
    let config = match &args.config {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Config::parse(&text, env).map_err(|e| format!("{}: {e}", path.display()))?
        }
        None => Config::from_env(env).map_err(|e| e.to_string())?,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stores = stores::open(&config, &clock).await?;
    let demo_key = match args.config {
        Some(_) => None,
        None => Some(demo::key(&*stores.key_admin, clock.now()).await?),
    };

    let closing = Closing::default();
    let assembled = config.gateway(stores.clone(), OwnClient, TokioHost, clock).await;
    let (builder, jobs, webhooks) = assembled.map_err(|e| e.to_string())?;
    tokio::spawn(jobs.drive());
    tokio::spawn(webhooks.drive());
    let mut builder = builder.closing(closing.clone());
    if config.gateway.on_disconnect == OnDisconnect::Drain {
        builder = builder.drain(drain(config.gateway.drain));
    }
    let gateway = builder.build();

    let listener = TcpListener::bind(&args.listen).await.map_err(|e| format!("{}: {e}", args.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let signals = Signals::new().map_err(|e| e.to_string())?;
    let workers = Workers::start().map_err(|e| format!("no thread to serve on: {e}"))?;
    println!("listening on http://{address}");
    if let Some(key) = demo_key {
        demo::welcome(address, &key);
    }
    server::serve(listener, gateway, workers, signals, closing, config.gateway.shutdown_grace).await;
    // A database that is gone must not keep the process.
    let _ = tokio::time::timeout(FLUSH, stores.flush()).await;
    Ok(())
}

fn drain(at_most: Duration) -> Drain {
    Drain::new(move |rest| {
        tokio::spawn(async move {
            // What was seen until then is booked.
            let _ = tokio::time::timeout(at_most, rest).await;
        });
    })
}
