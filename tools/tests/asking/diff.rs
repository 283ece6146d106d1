//! `diff`: both directions, both formats, and points that are not there.

use super::{LAST, answers, compacted, damaged, fails, golden, objects};

fn diff(arguments: &[&str]) -> String {
    answers(&golden(), &[&["diff", "$LOG"], arguments].concat())
}

#[test]
fn what_changed_is_told_user_by_user() {
    let words = diff(&["289", "350", "--user", "10003", "--user", "10004"]);
    let expected = "\
from 289, 2003-04-12T09:25:04.638Z, to 350, 2003-04-13T01:15:22.828Z
10003 \"mandy\"
  hobbies: \"text adventures, tea, hill walking\" → \"text adventures, tea, hill walking, azimuth screws\"
  description: \"My first computer had 48K and rubber keys.\\r\\nIt still works!\" → \"My first computer had \
48K and rubber keys.\\r\\nIt works again, thanks to Mr Xie!\"
  password changed, or hashed anew
10004 \"小胖\"
  friend added to group 1: 10006 \"阿珍打字复印\"
  friend added to group 1: 10011 \"王奶奶\"
";
    assert_eq!(words, expected);
    let back = diff(&["350", "289", "--user", "10004"]);
    assert!(back.ends_with("  friend deleted from group 1: 10011 \"王奶奶\"\n"), "{back}");
    let all = diff(&["0", "547"]);
    assert!(!all.contains("$argon2"), "no hash");
    assert_eq!(all.matches("  registered: ").count(), 11);
    assert_eq!(diff(&["547", "0"]).matches("  not registered yet\n").count(), 11);
    assert!(diff(&["7", "7"]).ends_with("\nnothing is different\n"));
}

#[test]
fn in_json_there_is_an_object_for_each_user_that_differs() {
    let all = objects(&golden(), &["diff", "$LOG", "500", "547"]);
    let numbers: Vec<_> = all.iter().map(|object| object["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [10_001, 10_002, 10_003, 10_004, 10_007, 10_008, 10_009, 10_011]);
    let message = &all[1]["messages_come"][0];
    assert_eq!((&message["seq"], &message["from"]), (&541.into(), &10_001.into()));
    assert_eq!(all[4]["authentication"], serde_json::json!({ "from": "open", "to": "closed" }));
    assert!(objects(&golden(), &["diff", "$LOG", "7", "7"]).is_empty());
}

#[test]
fn points_that_are_not_there_are_said() {
    let last = format!("the last is {LAST}");
    fails(&golden(), &["diff", "$LOG", "5", "548"], 1, &["no sequence number 548", &last]);
    fails(&golden(), &["diff", "$LOG", "548", "5"], 1, &["no sequence number 548", &last]);
    let unknown = ["no user 10012", "10001 to 10011"];
    fails(
        &golden(),
        &["diff", "$LOG", "5", "6", "--user", "10012"],
        1,
        &["no user 10012", "10001 to"],
    );
    fails(&golden(), &["diff", "$LOG", "5", "547", "--user", "10012"], 1, &unknown);
    fails(&golden(), &["diff", "$LOG", "5"], 2, &["two sequence numbers"]);
    fails(&golden(), &["diff", "$LOG", "5", "6", "7"], 2, &["\"7\""]);
    fails(&golden(), &["diff", "$LOG", "5", "x"], 2, &["\"x\""]);
    fails(&golden(), &["diff", "$LOG", "5", "6", "--from", "7"], 2, &["--from"]);
}

#[test]
fn a_compacted_log_is_compared_from_its_base_on() {
    let log = compacted("2003-04-13");
    let first = objects(log.path(), &["replay", "$LOG"])[0]["seq"].as_u64().unwrap();
    let base = (first - 1).to_string();
    for arguments in [["diff", "$LOG", &base, "547"], ["diff", "$LOG", "547", &base]] {
        assert_eq!(answers(log.path(), &arguments), answers(&golden(), &arguments));
    }
    let said =
        format!("compacting has dropped sequence number 5, the first that can be shown is {base}");
    fails(log.path(), &["diff", "$LOG", "5", "547"], 1, &[&said]);
    fails(log.path(), &["diff", "$LOG", "547", "5"], 1, &[&said]);
}

#[test]
fn a_damage_behind_both_points_does_not_matter() {
    let log = damaged();
    let arguments = ["diff", "$LOG", "100", "221"];
    assert_eq!(answers(log.path(), &arguments), answers(&golden(), &arguments));
    let said = ["00000000000000000221.log", "oicq-tools verify"];
    assert_eq!(fails(log.path(), &["diff", "$LOG", "100", "547"], 1, &said), "");
}
