//! Holds the libraries to what is said of them: each has a licence that `deny.toml` names, and those that are chosen
//! stand in the README with their reason.
//!
//! It needs no network: it looks at the libraries that the tests themselves were built from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The licences in the list of `deny.toml`.
fn allowed() -> Vec<String> {
    let text = read("deny.toml");
    let (_, list) = text.split_once("\nallow = [").unwrap();
    let (list, _) = list.split_once("\n]").unwrap();
    let quoted = list.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next());
    quoted.map(str::to_owned).collect()
}

/// Whether an expression of licences can be kept with these alone: `OR` (or `/`) is a choice, `AND` is none.
fn is_kept(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let (kept, rest) = any(&words, allowed);
    assert!(rest.is_empty(), "{expression}: {rest:?} is left");
    kept
}

fn any<'a, 'w>(words: &'a [&'w str], allowed: &[String]) -> (bool, &'a [&'w str]) {
    let (mut kept, mut rest) = all(words, allowed);
    while let Some((&"OR", behind)) = rest.split_first() {
        let (other, left) = all(behind, allowed);
        (kept, rest) = (kept | other, left);
    }
    (kept, rest)
}

fn all<'a, 'w>(words: &'a [&'w str], allowed: &[String]) -> (bool, &'a [&'w str]) {
    let (mut kept, mut rest) = one(words, allowed);
    while let Some((&"AND", behind)) = rest.split_first() {
        let (other, left) = one(behind, allowed);
        (kept, rest) = (kept & other, left);
    }
    (kept, rest)
}

fn one<'a, 'w>(words: &'a [&'w str], allowed: &[String]) -> (bool, &'a [&'w str]) {
    match words {
        ["(", inside @ ..] => {
            let (kept, rest) = any(inside, allowed);
            (kept, rest.strip_prefix(&[")"]).unwrap())
        }
        // An exception is another licence.
        [_, "WITH", _, rest @ ..] => (false, rest),
        [name, rest @ ..] => (allowed.iter().any(|allowed| allowed == name), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT", "Zlib"].map(str::to_owned);
    let is_kept = |expression| is_kept(expression, &allowed);
    assert!(is_kept("MIT") && is_kept("GPL-3.0 OR MIT") && is_kept("GPL-3.0/MIT"));
    assert!(is_kept("(GPL-3.0 OR MIT) AND Zlib") && is_kept("MIT AND Zlib OR GPL-3.0"));
    assert!(!is_kept("GPL-3.0") && !is_kept("MIT AND GPL-3.0"));
    assert!(!is_kept("(GPL-3.0 OR MIT) AND GPL-3.0") && !is_kept("MIT WITH an-exception"));
    assert!(is_kept("MIT WITH an-exception OR MIT"));
}

#[test]
fn each_library_has_a_licence_that_may_be() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (packages, allowed) = (metadata["packages"].as_array().unwrap(), allowed());
    assert!(packages.len() > 50 && allowed.len() > 2);
    for package in packages {
        let name = &package["name"];
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} has none"));
        assert!(is_kept(licence, &allowed), "{name}: {licence} is not among {allowed:?}");
    }
}

#[test]
fn each_library_that_is_chosen_has_its_reason_in_the_readme() {
    let readme = read("README.md");
    let (_, reasons) = readme.split_once("The libraries, each with its reason.").unwrap();
    let mut chosen = 0;
    for manifest in ["Cargo.toml", "tools/Cargo.toml"] {
        let text = read(manifest);
        let tables = text.split("\n[").filter(|table| {
            table.starts_with("dependencies]") || table.starts_with("dev-dependencies]")
        });
        let lines = tables.flat_map(|table| table.lines().skip(1));
        for line in lines.filter(|line| !line.starts_with('#')) {
            let Some((name, _)) = line.split_once([' ', '.', '=']) else { continue };
            chosen += 1;
            let is_own = name == "oicq";
            assert!(is_own || reasons.contains(&format!("`{name}`")), "{manifest}: {name}");
        }
    }
    assert!(chosen > 20, "{chosen} were found");
}
