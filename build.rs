//! Puts the functions that the gateway runs all the time side by side in its program: see `examples/gateway/order`.
//! No part of the published crate.

use std::path::Path;
use std::{env, fs, io};

const ORDER: &str = "examples/gateway/order";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={ORDER}");
    let (Ok(order), true) = (fs::read_to_string(ORDER), is_understood()) else { return Ok(()) };
    let script = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("order.ld");
    fs::write(&script, script_of(&order))?;
    println!("cargo::rustc-link-arg-examples=-T");
    println!("cargo::rustc-link-arg-examples={}", script.display());
    Ok(())
}

/// Only a release build for Linux is worth it, and only the linkers that come with Rust and with GNU are known to follow.
fn is_understood() -> bool {
    let is = |name, value: &str| env::var(name).is_ok_and(|found| found == value);
    is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && env::var_os("RUSTC_LINKER").is_none()
        && !env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.split('\x1f').any(is_for_the_linker))
}

fn is_for_the_linker(flag: &str) -> bool {
    flag.trim_start_matches("-C").trim_start().starts_with("link")
}

/// A section of its own for them, added to the linker's own script.
fn script_of(order: &str) -> String {
    let names = order.lines().filter(|line| !line.starts_with('#'));
    let sections: String = names
        .map(|name| {
            let any_hash = if name.ends_with("17h") { "*" } else { "" };
            let sections =
                [".text.", ".text.startup.", ".text.unlikely."].map(|kind| format!("{kind}{name}{any_hash}"));
            format!("    *({})\n", sections.join(" "))
        })
        .collect();
    format!("SECTIONS {{\n  .text.order : {{\n{sections}  }}\n}} INSERT BEFORE .text;\n")
}
