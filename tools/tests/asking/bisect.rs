//! `bisect`: few runs, exit statuses as they are with `git bisect run`, and a result that nothing else mixes with.

use std::fs;
use std::path::Path;

use super::{LAST, answers, call, compacted, copied, damaged, fails, golden, objects, written};

/// A shell script that has the state's sequence number in `$seq`, and notes each of its runs in a file.
fn script(runs: &Path, judge: &str) -> String {
    let runs = runs.display();
    format!("read -r line; seq=${{line#*:}}; seq=${{seq%%,*}}; echo $seq >> {runs}; {judge}")
}

/// The sequence numbers that a search has tried, in order, and its status, output and errors.
fn search(log: &Path, judge: &str) -> (Vec<u64>, (Option<i32>, String, String)) {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let result = call(log, &["bisect", "$LOG", "--", "sh", "-c", &script(&runs, judge)]);
    let tried = fs::read_to_string(runs).unwrap_or_default();
    (tried.lines().map(|line| line.parse().unwrap()).collect(), result)
}

#[test]
fn the_first_event_after_which_it_fails_is_shown() {
    for first in [1, 2, 100, 273, 274, 546, LAST] {
        let (tried, (status, out, errors)) = search(&golden(), &format!("test $seq -lt {first}"));
        let seq = first.to_string();
        let event = answers(&golden(), &["replay", "$LOG", "--from", &seq, "--until", &seq]);
        assert_eq!((status, &*out, &*errors), (Some(0), &*event, ""));
        assert_eq!(tried[..2], [0, LAST], "the ends come first");
        assert!(tried.len() <= 2 + 10, "{tried:?}");
    }
}

#[test]
fn the_command_is_given_the_state_and_need_not_read_all_of_it() {
    // Number 10005 is registered by an event of its own; grep stops reading where it finds it.
    let found = ["bisect", "$LOG", "--", "sh", "-c", "! grep -q '\"number\":10005,'"];
    let event = objects(&golden(), &["replay", "$LOG", "--kind", "registered"]).remove(4);
    assert_eq!(event["number"], 10_005);
    let (status, out, _) = call(&golden(), &found);
    assert_eq!((status, &*out), (Some(0), &*line_of(&event["seq"].to_string())));
    let json = [&["bisect", "$LOG", "--format", "json"], &found[2..]].concat();
    let (_, out, _) = call(&golden(), &json);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), event);
    // What is given is what replay shows.
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().display();
    let keep = format!("runs=$(ls {kept} | wc -l); cat > {kept}/$runs; test $runs -eq 0");
    call(&golden(), &["bisect", "$LOG", "sh", "-c", &keep]);
    let given = |run: &str| fs::read_to_string(folder.path().join(run)).unwrap();
    let shown = |until: &str| {
        answers(&golden(), &["replay", "$LOG", "--state", "--format", "json", "--until", until])
    };
    assert_eq!((given("0"), given("1"), given("2")), (shown("0"), shown("547"), shown("273")));
}

fn line_of(seq: &str) -> String {
    answers(&golden(), &["replay", "$LOG", "--from", seq, "--until", seq])
}

#[test]
fn what_the_command_prints_is_kept_apart() {
    let judge = "echo out; echo err >&2; test $seq -lt 300";
    let (tried, (status, out, errors)) = search(&golden(), judge);
    assert_eq!((status, out), (Some(0), line_of("300")));
    assert_eq!(errors, "out\nerr\n".repeat(tried.len()));
}

#[test]
fn where_it_cannot_tell_another_place_is_tried() {
    let judge = "case $seq in 273|299|301) exit 125;; esac; test $seq -lt 300";
    let (tried, (status, out, errors)) = search(&golden(), judge);
    assert_eq!(
        (status, &*errors),
        (
            Some(1),
            &*format!(
                "oicq-tools: {}: sh succeeds after 298 and fails \
        after 300, and cannot tell about those in between\n",
                golden().display()
            )
        )
    );
    assert_eq!((out, tried[2]), (String::new(), 273));
    let judge = "test $seq -ge 200 && test $seq -lt 290 && exit 125; test $seq -lt 300";
    let (tried, (status, out, _)) = search(&golden(), judge);
    assert_eq!((status, out), (Some(0), line_of("300")));
    assert!(tried.len() < 30, "{tried:?}");
}

#[test]
fn other_statuses_and_signals_stop_it() {
    for (judge, said) in [
        ("exit 128", "status 128, which is no verdict"),
        ("test $seq -eq 273 && exit 255; test $seq -lt 300", "sh ended with status 255"),
        ("test $seq -eq 273 && kill -9 $$; test $seq -lt 300", "sh ended by signal 9"),
    ] {
        let (tried, (status, out, errors)) = search(&golden(), judge);
        assert_eq!((status, &*out, errors.lines().count()), (Some(1), "", 1), "{errors}");
        assert!(errors.contains(said) && errors.contains("the search stops"), "{errors}");
        assert!(errors.contains(if tried.len() == 1 {
            "before the first event"
        } else {
            "after 273"
        }));
    }
    // 127 is what a shell answers that does not find a command.
    let (_, (status, out, _)) = search(&golden(), "test $seq -lt 300 || exit 127");
    assert_eq!((status, out), (Some(0), line_of("300")));
}

#[test]
fn ends_that_are_not_as_they_have_to_be_are_said() {
    let fails = |log: &Path, judge: &str, said: &str, runs: usize| {
        let (tried, (status, out, errors)) = search(log, judge);
        assert_eq!((status, &*out, tried.len()), (Some(1), "", runs), "{errors}");
        assert!(errors.contains(said) && errors.lines().count() == 1, "{said} in {errors}");
    };
    fails(&golden(), "false", "sh fails already before the first event", 1);
    fails(&golden(), "true", "sh succeeds at the end of the log too, after 547", 2);
    fails(&golden(), "exit 125", "sh cannot tell before the first event", 1);
    fails(&golden(), "test $seq -lt 300 || exit 125", "sh cannot tell after 547, the end", 2);
    fails(written(&[]).path(), "true", "there are no events to search", 0);
    fails(damaged().path(), "true", "oicq-tools verify", 1);
    super::fails(
        &golden(),
        &["bisect", "$LOG", "--", "/no/such/program"],
        1,
        &["cannot run /no/such/program"],
    );
    super::fails(&golden(), &["bisect", "$LOG"], 2, &["COMMAND"]);
    super::fails(&golden(), &["bisect", "$LOG", "--quick", "--", "true"], 2, &["--quick"]);
}

#[test]
fn a_compacted_log_is_searched_from_its_base_on() {
    let log = compacted("2003-04-13");
    let (tried, (status, out, errors)) = search(log.path(), "test $seq -lt 300");
    assert_eq!((status, &*out, &*errors), (Some(0), &*line_of("300"), ""));
    assert_eq!(tried[..2], [220, LAST]);
    let (_, (_, _, errors)) = search(log.path(), "false");
    assert!(
        errors.contains("fails already after 220, the first that compacting has left"),
        "{errors}"
    );
    let whole = copied();
    super::succeeds(&["compact", whole.path().to_str().unwrap()]);
    fails(whole.path(), &["bisect", "$LOG", "--", "true"], 1, &["there are no events to search"]);
}
