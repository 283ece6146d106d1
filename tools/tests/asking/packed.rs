//! A packed file in the place of a folder: the tools call it by its name, repair it like a folder, and leave nothing
//! behind of what they have unpacked, whatever ends them.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};
use tempfile::TempDir;

use super::{LAST, answers, damaged, golden, succeeds};

const BOX: &str = "black-box/00000000000000000001.box";

/// A folder with `case` in it: that log, packed, and a recording that is none.
fn packed(log: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("case");
    let encoder = GzEncoder::new(fs::File::create(&case).unwrap(), Compression::fast());
    let mut builder = Builder::new(encoder);
    for name in fs::read_dir(log).unwrap().map(|entry| entry.unwrap().file_name()) {
        if Path::new(&name).extension().is_some_and(|end| end == "log") {
            builder.append_path_with_name(log.join(&name), &name).unwrap();
        }
    }
    let mut header = Header::new_gnu();
    header.set_size(3);
    builder.append_data(&mut header, BOX, &b"box"[..]).unwrap();
    builder.into_inner().unwrap().finish().unwrap();
    (folder, case)
}

/// A call that unpacks into `temporary`.
fn call_in(temporary: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
    command.args(arguments).env("TMPDIR", temporary).stdin(Stdio::null()).output().unwrap()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn messages_name_the_file_and_not_where_it_was_unpacked() {
    let damaged = damaged();
    let ((_folder, case), (_other, hurt)) = (packed(&golden()), packed(damaged.path()));
    let (case, hurt) = (case.to_str().unwrap(), hurt.to_str().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["why", case, "message", "999"][..], format!("{case}: there is no sequence number 999")),
        (&["diff", case, "1", "999"], format!("{case}: there is no sequence number 999")),
        (&["diff", case, "1", "2", "--user", "7"], format!("{case}: there is no user 7")),
        (&["bisect", case, "--", "true"], format!("{case}: true succeeds at the end")),
        (&["replay", "--black-box", case], format!("{case}/{BOX}: its header is not whole")),
        (&["replay", hurt], format!("run: oicq-tools verify {hurt}")),
        (&["verify", hurt], format!("run: oicq-tools repair {hurt} OUT")),
    ] {
        let Output { status, stdout, stderr } = call_in(temporary.path(), arguments);
        let said_all = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert_eq!(status.code(), Some(1), "{said_all}");
        assert!(said_all.contains(&said), "{said} is not in {said_all}");
        assert!(!said_all.contains(temporary.path().to_str().unwrap()), "{said_all}");
        assert!(is_empty(temporary.path()), "{arguments:?} leaves something behind");
    }
}

#[test]
fn what_can_be_saved_of_a_packed_log_is_what_can_be_saved_of_its_folder() {
    for log in [None, Some(damaged())] {
        let log = log.as_ref().map_or_else(golden, |log| log.path().to_owned());
        let (folder, case) = packed(&log);
        let (of_file, of_folder) = (folder.path().join("1"), folder.path().join("2"));
        succeeds(&["repair", case.to_str().unwrap(), of_file.to_str().unwrap()]);
        succeeds(&["repair", log.to_str().unwrap(), of_folder.to_str().unwrap()]);
        let state = |of: &Path| answers(of, &["replay", "$LOG", "--state", "--format", "json"]);
        assert_eq!(state(&of_file), state(&of_folder));
        let digest = answers(&of_file, &["replay", "$LOG", "--digest"]);
        assert_eq!(digest, answers(&of_folder, &["replay", "$LOG", "--digest"]));
        assert!(digest.contains(&format!(" seq {LAST}")), "{digest}");
    }
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let (_folder, case) = packed(&golden());
    let case = case.to_str().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let signals = [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)];
    for (_, number) in signals {
        // What this program has a handler for is ignored by none that it starts, whoever has started it.
        let as_ever = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(number, as_ever).unwrap();
    }
    for (name, number) in signals {
        // The command is run while the file is unpacked, and what it was started by is what reads it.
        let kill = format!(
            "exec >/dev/null 2>&1; ls $TMPDIR | grep -q oicq-tools- || exit 200; kill -{name} $PPID; \
             while kill -0 $PPID; do sleep 0.02; done"
        );
        let ended = call_in(temporary.path(), &["bisect", case, "--", "sh", "-c", &kill]);
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.signal(), Some(number), "{name}: {errors}");
        assert!(is_empty(temporary.path()), "{name} leaves something behind");
    }
}

#[test]
fn a_signal_that_whoever_has_started_it_ignores_ends_nothing() {
    let (_folder, case) = packed(&golden());
    let (program, case) = (env!("CARGO_BIN_EXE_oicq-tools"), case.to_str().unwrap());
    let bisect =
        "trap '' HUP; exec \"$0\" bisect \"$1\" -- sh -c 'kill -HUP $PPID; ! grep -q 10005'";
    let mut command = Command::new("sh");
    let output = command.args(["-c", bisect, program, case]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
