//! Holds the sources to their layout: which module may import which, that every file says what it owns,
//! how long files and lines may be, and that nothing is left over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the library may import from the others. `id`, `limits` and `codec` are the ground;
/// `wire`, `state` and `log` never know each other.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("limits", &[]),
    ("codec", &["id", "limits"]),
    ("wire", &["id", "limits", "codec"]),
    ("state", &["id", "limits", "codec"]),
    ("log", &["id", "limits", "codec"]),
    ("compaction", &["id", "state", "log"]),
    ("engine", &["id", "limits", "codec", "wire", "state"]),
    ("black_box", &["id", "limits", "codec", "wire", "state", "log", "engine"]),
    ("cli", &["id", "limits", "codec", "wire", "log", "engine", "black_box"]),
    ("net", &["id", "limits", "codec", "wire", "state", "log", "engine", "black_box", "cli"]),
];

const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["src", "tools", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().to_owned(), text)
    };
    files.into_iter().map(read).collect()
}

/// The library's module that a file belongs to.
fn module(path: &Path) -> Option<String> {
    let inner = path.strip_prefix("src").ok()?;
    let first = inner.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main"].contains(&module)).then(|| module.to_owned())
}

/// The modules that a text names behind `crate::`, be it alone or in braces.
fn imports(text: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    code.match_indices("crate::")
        .flat_map(|(at, found)| {
            let rest = &code[at + found.len()..];
            match rest.strip_prefix('{') {
                Some(list) => {
                    list.split('}').next().unwrap().split(',').map(|one| name(one.trim())).collect()
                }
                None => vec![name(rest)],
            }
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_run_in_the_directions_of_the_layout() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(module) = module(&path) else { continue };
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!(
                "{}: the module {module} has no place in the layout",
                path.display()
            ));
            continue;
        };
        for import in imports(&text) {
            let is_module = allowed.contains_key(import.as_str());
            if is_module && import != module && !may.contains(&import.as_str()) {
                wrong.push(format!("{}: {module} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_of_imports_sees_them() {
    let text =
        "use crate::wire::Kind;\nuse crate::{id, log};\n// crate::net\nlet x = crate::state::f();";
    assert_eq!(imports(text), ["wire", "id", "log", "state"]);
}

#[test]
fn every_file_says_what_it_owns_and_stays_readable() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let path = path.display();
        if !text.starts_with("//!") {
            wrong.push(format!("{path}: does not begin with what it owns"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{path}: {lines} lines, {FILE_LINES_MAX} are allowed"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX {
                wrong.push(format!("{path}:{}: longer than {LINE_CHARS_MAX}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_over() {
    let leftovers =
        ["TO", "FIX", "XX"].iter().zip(["DO", "ME", "X"]).map(|(a, b)| format!("{a}{b}"));
    let leftovers: Vec<_> =
        leftovers.chain(["dbg!(", "todo!(", "unimplemented!("].map(str::to_owned)).collect();
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("layout.rs")) {
        for (number, line) in text.lines().enumerate() {
            if leftovers.iter().any(|leftover| line.contains(leftover.as_str())) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_in_two_small_modules_alone() {
    let allows = |text: &str| text.contains(&format!("allow({}_code", "unsafe"));
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| allows(text) && !path.ends_with("layout.rs"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    // One maps files; the other registers sockets with the poller, asks the kernel about them, and gives memory back.
    assert_eq!(found, ["src/log/map.rs", "src/net/kernel.rs"]);
}

#[test]
fn clocks_and_chance_are_read_in_one_file_of_the_server() {
    let allows = |text: &str| text.contains("clippy::disallowed_methods");
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| path.starts_with("src") && allows(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_eq!(found, ["src/net/outside.rs"]);
}
