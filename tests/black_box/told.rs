//! What the tool tells of a step that goes differently: its number, its input, what was recorded and what is made
//! now, with status 1.

use std::path::Path;

use oicq::black_box::{FOLDER, Recording};
use oicq::engine::{Input, Settings};
use oicq::wire::RequestType;
use serde_json::Value;

use super::chance::Chance;
use super::live::tool;
use super::recorded::{Form, record};
use super::rewrite::{Owned, rewrite, step_of};

fn replayed(folder: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    tool("replay", folder, &[&["--black-box"], options].concat())
}

/// A run in which messages are sent.
fn recorded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &mut Chance::new(11), &Settings::default(), Form::WHOLE, &[400]);
    let (status, out, errors) = replayed(folder.path(), &[]);
    assert_eq!((status, &*errors), (Some(0), ""), "{out}");
    folder
}

/// The index of the output of a message that was sent, and its step.
fn output_of_message(all: &[Owned]) -> usize {
    let is_message = |entry: &Owned| match entry {
        Owned::Input(held) => matches!(
            held.get(),
            Input::Packet { frame, .. } if frame.header.packet_type == RequestType::Send as u8
        ),
        _ => false,
    };
    let pairs = all.windows(2);
    let found = pairs.into_iter().position(|pair| {
        is_message(&pair[0]) && matches!(pair[1], Owned::Output(output) if output.packets > 0)
    });
    found.expect("a message leads to something") + 1
}

#[test]
fn another_output_is_told_with_its_step_its_input_and_its_packets() {
    let folder = recorded();
    let recording = Recording::open(&folder.path().join(FOLDER)).unwrap();
    let file = &recording.files()[0];
    let (mut step, mut checksum) = (0, 0);
    rewrite(file, |all| {
        let index = output_of_message(all);
        step = step_of(file, all, index);
        let Owned::Output(output) = &mut all[index] else { panic!("it is an output") };
        output.checksum ^= 1;
        checksum = output.checksum;
    });
    let (status, out, errors) = replayed(folder.path(), &[]);
    assert_eq!(status, Some(1));
    assert!(errors.contains(&format!("step {step} goes differently")), "{errors}");
    assert!(out.starts_with(&format!("different at step {step} (20")), "{out}");
    let words = ["something else is sent", "input     → send", "now       1 packet", "  ← "];
    assert!(words.iter().all(|words| out.contains(words)), "{out}");
    assert!(out.contains(&format!("checksum {checksum:08x}\n")), "{out}");
    assert!(out.contains(&format!("checksum {:08x}\n", checksum ^ 1)), "{out}");

    let (status, out, _) = replayed(folder.path(), &["--format", "json"]);
    assert_eq!(status, Some(1));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["result"], "different");
    let difference = &told["difference"];
    assert_eq!((&difference["step"], &difference["of"]), (&step.into(), &"output".into()));
    assert_eq!(difference["recorded"][0]["checksum"], format!("{checksum:08x}"));
    assert_eq!(difference["now"][0]["checksum"], format!("{:08x}", checksum ^ 1));
    assert_eq!(difference["input"]["packet"]["name"], "send");
    assert_eq!(difference["actual"].as_array().unwrap().last().unwrap()["what"], "sent");

    // Before that step there is no difference.
    let before = (step - 1).to_string();
    let (status, out, errors) = replayed(folder.path(), &["--until", &before]);
    assert_eq!(status, Some(0), "{errors}");
    assert!(out.starts_with(&format!("identical, {before} steps: 1 (")), "{out}");
}

#[test]
fn another_event_is_told_with_the_one_that_the_log_has() {
    let folder = recorded();
    let planted = tempfile::tempdir().unwrap();
    let seq = super::planted::with_another_message(folder.path(), planted.path());
    let (status, out, errors) = replayed(planted.path(), &[]);
    assert_eq!(status, Some(1), "{out}{errors}");
    assert!(out.contains(&format!(": event {seq} is another one\n")), "{out}");
    let log = out.lines().find(|line| line.starts_with("  log ")).unwrap();
    let now = out.lines().find(|line| line.starts_with("  now ")).unwrap();
    let event = format!(" event {seq}, message-sent: ");
    assert!(log.contains(&event) && now.contains(&event), "{out}");
    assert!(log.contains("\"planted\"") && !now.contains("\"planted\""), "{out}");
    let (_, out, _) = replayed(planted.path(), &["--format", "json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["difference"]["recorded"]["text"], "planted");
    assert_eq!(told["difference"]["recorded"]["kind"], "message-sent");
    assert_eq!(told["difference"]["now"]["seq"], seq.0);
}
