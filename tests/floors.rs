//! Holds the floors of DESIGN.md: imports run downward only, and a layer, a vendor or a store never imports its neighbour.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder's floor. Floors of the same number may import each other only where `NEIGHBOURS` says so.
fn floor(room: &str) -> u8 {
    match room {
        "base" => 1,
        "domain" | "wire" => 2,
        "http" | "store" | "provider" => 3,
        "auth" | "inspect" | "metering" | "quota" | "admin" | "webhook" | "client" => 4,
        "route" | "jobs" => 5,
        "gateway" => 6,
        "config" => 7,
        other => panic!("src/{other} has no floor: give it one here and in DESIGN.md"),
    }
}

/// On one floor: who may import whom.
const NEIGHBOURS: &[(&str, &str)] = &[("wire", "domain"), ("http", "wire"), ("provider", "http"), ("route", "jobs")];

/// Folders whose sub-folders are strangers to each other; all of them may run the contract suites.
const STRANGERS: &[&str] = &["provider", "store"];

/// Those among them that are there for all the others.
const SHARED: &[&str] = &["store/counter"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The paths after `use crate::` and `crate::`, outside of comments.
fn imports(text: &str) -> Vec<Vec<String>> {
    let code = text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    code.match_indices("crate::")
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        .map(|(at, _)| {
            let path: String =
                code[at + 7..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            path.split("::").map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn imports_run_downward_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "the scan found only {} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let rooms: Vec<_> = inside.iter().map(|p| p.to_str().unwrap().trim_end_matches(".rs")).collect();
        if rooms[0] == "lib" {
            continue;
        }
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            let (from, to) = (rooms[0], import[0].as_str());
            if to.is_empty() || !to.starts_with(char::is_lowercase) {
                continue;
            }
            let strangers = STRANGERS.contains(&from)
                && from == to
                && rooms.len() > 2
                && import.len() > 1
                && rooms[1] != import[1]
                && !SHARED.contains(&format!("{to}/{}", import[1]).as_str())
                && import[1] != "contract"
                && root.join(to).join(&import[1]).is_dir();
            let allowed =
                if from == to { !strangers } else { floor(to) < floor(from) || NEIGHBOURS.contains(&(from, to)) };
            if !allowed {
                wrong.push(format!("{} imports {}", inside.display(), import.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that run up or sideways:\n{}", wrong.join("\n"));
}
