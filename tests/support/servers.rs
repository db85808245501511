//! Throw-away servers for the tests of stores: started on free ports, stopped and wiped when dropped.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server's process and its folder.
pub struct Server {
    child: Child,
    dir: PathBuf,
    pub url: String,
}

impl Server {
    /// What it has written to its log so far.
    #[allow(dead_code, reason = "for some tests alone")]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT: PostgreSQL closes its sessions and takes its children with it.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Why there is no server. In continuous integration there must be one.
fn missing(what: &str) -> Option<Server> {
    assert!(std::env::var_os("CI").is_none(), "{what} is not installed: run .ci/servers");
    eprintln!("{what} is not installed: this test is skipped");
    None
}

/// Ports that no outgoing connection is given; others for each server of each process.
fn ports() -> impl Iterator<Item = u16> {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() % 100_000 * 7_919 + STARTED.fetch_add(1, Ordering::Relaxed) * 10;
    (first..first + 10).map(|port| 20_000 + (port % 12_000) as u16)
}

fn fresh_dir(name: &str) -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("kancy-{name}-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The server that `launch` starts on a port. One whose port was taken ends at once, and another is started.
fn started(dir: PathBuf, launch: impl Fn(u16) -> (Command, String)) -> Server {
    for port in ports().filter(|port| !listens(*port)) {
        let (mut command, url) = launch(port);
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if listens(port) {
                return Server { child, dir, url };
            }
            assert!(Instant::now() < end, "nothing listens on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("no server came up: {}", fs::read_to_string(dir.join("log")).unwrap_or_default());
}

fn found(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A Redis server with nothing in it.
#[allow(dead_code, reason = "each test file uses its own server")]
pub fn redis() -> Option<Server> {
    let Some(program) = found("redis-server") else { return missing("redis-server") };
    let dir = fresh_dir("redis");
    let launch = |port: u16| {
        let mut command = Command::new(&program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(&dir).stdout(Stdio::null());
        (command, format!("redis://127.0.0.1:{port}"))
    };
    Some(started(dir.clone(), launch))
}

/// A PostgreSQL server with the empty database `postgres`.
#[allow(dead_code, reason = "each test file uses its own server")]
pub fn postgres() -> Option<Server> {
    let Some(bin) = postgres_bin() else { return missing("PostgreSQL") };
    let dir = fresh_dir("postgres");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    if is_root {
        assert!(Command::new("chown").arg("postgres").arg(&dir).status().unwrap().success());
    }
    let data = dir.join("data");
    let run = |program: &str| {
        // PostgreSQL refuses to run as root.
        let mut command = Command::new(if is_root { Path::new("setpriv") } else { Path::new("env") });
        if is_root {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
        }
        command.arg(bin.join(program)).current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let made = run("initdb").args(["--username=kancy", "--auth=trust", "--no-sync", "-D"]).arg(&data).status().unwrap();
    assert!(made.success(), "initdb failed");
    let launch = |port: u16| {
        let mut command = run("postgres");
        command.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-k"]);
        command.arg(&dir).arg("-D").arg(&data).stderr(fs::File::create(dir.join("log")).unwrap());
        (command, format!("postgres://kancy@127.0.0.1:{port}/postgres?sslmode=disable"))
    };
    Some(started(dir.clone(), launch))
}

fn postgres_bin() -> Option<PathBuf> {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().or_else(|| found("initdb").and_then(|path| path.parent().map(Path::to_path_buf)))
}
