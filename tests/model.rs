//! Random sequences of what clients do, compared step by step with an independent model of the protocol:
//! each connection gets exactly the packets that the model predicts, in its order.
//!
//! `OICQ_SEED` runs the sequence of one seed, `OICQ_SEQUENCES` more of them, `OICQ_STEPS` longer ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

#[path = "model/bytes.rs"]
mod bytes;
mod chance;
mod kit;
#[path = "model/person.rs"]
mod person;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/run.rs"]
mod run;
#[path = "model/steps.rs"]
mod steps;

use chance::Chance;
use rules::{FIRST_NUMBER, Limits, Number};
use run::{Run, shrink};
use steps::{Ask, Mangle, Person, Step, Text};

fn limits(chance: &mut Chance) -> Limits {
    let (mail_messages, mail_bytes) =
        chance.pick(&[(3, 200), (4, 90), (5, 9_000), (1_000, 50_000)]);
    Limits {
        mail_messages,
        mail_bytes,
        operators: [FIRST_NUMBER + 1, FIRST_NUMBER + 4].into(),
        services: vec![(0x05, FIRST_NUMBER + 5), (0x02, FIRST_NUMBER + 50)],
        open: true,
    }
}

/// At the end everybody logs in, so that what should still wait is seen.
fn everybody_logs_in(run: &Run) -> Vec<Step> {
    let mut steps = vec![Step::Restart];
    for (slot, (number, user)) in run.model.users.iter().enumerate() {
        let service = run.model.limits.services.iter().find(|one| one.1 == *number);
        let password = Text(user.person.password.clone());
        steps.push(Step::Connect(slot, service.map_or(0x0A, |one| one.0)));
        let log_in = Ask::LogIn { number: *number, password, mode: 0 };
        steps.push(Step::Ask(slot, log_in, Mangle::Nothing));
    }
    steps
}

fn sequence(
    limits: &Limits,
    chance: &mut Chance,
    length: usize,
) -> Result<(), (Vec<Step>, String)> {
    let mut run = Run::new(limits.clone());
    let mut steps = Vec::new();
    let mut take = |run: &mut Run, step: Step| {
        let step_again = step.clone();
        steps.push(step);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.step(&step_again)));
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err((steps.clone(), error)),
            Err(_) => Err((steps.clone(), "panic".into())),
        }
    };
    for _ in 0..length {
        let step = steps::next(chance, &run.model);
        take(&mut run, step)?;
    }
    for step in everybody_logs_in(&run) {
        take(&mut run, step)?;
    }
    Ok(())
}

fn fail(seed: u64, limits: &Limits, steps: Vec<Step>, why: String) -> ! {
    let (steps, why) = match shrink(limits, steps.clone()) {
        // A failure that does not come again is told as it was.
        (_, nothing) if nothing.is_empty() => (steps, why),
        shrunk => shrunk,
    };
    let lines: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
    let lines = lines.join("\n  ");
    panic!("OICQ_SEED={seed}\n{limits:?}\n  {lines}\nThen:\n  {why}");
}

#[test]
fn every_connection_gets_what_the_protocol_says() {
    let length = chance::asked("OICQ_STEPS").map_or(400, |steps| steps.try_into().unwrap());
    for seed in chance::seeds(120) {
        let mut chance = Chance::new(seed);
        let limits = limits(&mut chance);
        if let Err((steps, why)) = sequence(&limits, &mut chance, length) {
            fail(seed, &limits, steps, why);
        }
    }
}

fn run_all(steps: Vec<Step>) {
    let limits = Limits {
        mail_messages: 10,
        mail_bytes: 10_000,
        operators: [].into(),
        services: vec![],
        open: true,
    };
    if let Err((index, why)) = run::run(&limits, &steps) {
        panic!("{:?}\nThen:\n  {why}", steps[index]);
    }
}

fn ask(ask: Ask) -> Step {
    Step::Ask(0, ask, Mangle::Nothing)
}

fn log_in(number: Number) -> [Step; 3] {
    let password = text("secret");
    [Step::End(0), Step::Connect(0, 0x0A), ask(Ask::LogIn { number, password, mode: 0 })]
}

fn text(text: &str) -> Text {
    Text(text.as_bytes().to_vec())
}

/// Registers as many users as fill a list, and one more; the first ones let anyone add them, or ask first.
fn crowd(authentication: u8) -> Vec<Step> {
    let mut steps = vec![Step::Connect(0, 0x0A)];
    for index in 0..258 {
        let person = Person::plain(&format!("user {index}"), authentication);
        steps.push(ask(Ask::Register(person)));
    }
    steps
}

#[test]
fn a_group_holds_255_friends() {
    let mut steps = crowd(0);
    let friend = |index: u32| FIRST_NUMBER + index;
    let add = |index: u32| ask(Ask::AddFriend { friend: friend(index) });
    let move_to = |moves: &[(u32, u8)]| {
        ask(Ask::Move { moves: moves.iter().map(|one| (friend(one.0), one.1)).collect() })
    };
    steps.extend(log_in(FIRST_NUMBER));
    // The 256th is refused.
    steps.extend((1..=256).map(add));
    steps.push(ask(Ask::AddGroup { name: text("more") }));
    steps.push(move_to(&[(3, 2)]));
    steps.push(add(256));
    // Group 1 is full again: nothing can be moved there, unless another goes.
    steps.push(ask(Ask::DeleteGroup { group: 2 }));
    steps.push(move_to(&[(3, 1)]));
    steps.push(move_to(&[(3, 1), (4, 2)]));
    steps.push(move_to(&[(4, 1), (4, 2)]));
    steps.push(ask(Ask::Broadcast { group: 0, text: text("to all") }));
    steps.extend(log_in(FIRST_NUMBER));
    steps.push(ask(Ask::DeleteFriend { friend: friend(9) }));
    steps.push(ask(Ask::DeleteGroup { group: 2 }));
    steps.push(Step::Restart);
    steps.extend(log_in(FIRST_NUMBER));
    run_all(steps);
}

#[test]
fn groups_are_numbered_up_to_255() {
    let mut steps = crowd(0);
    steps.truncate(3);
    steps.extend(log_in(FIRST_NUMBER));
    steps.extend((1..=255).map(|_| ask(Ask::AddGroup { name: text("another") })));
    steps.push(ask(Ask::DeleteGroup { group: 77 }));
    steps.extend((0..2).map(|_| ask(Ask::AddGroup { name: text("in its place") })));
    steps.extend(log_in(FIRST_NUMBER));
    run_all(steps);
}

#[test]
fn requests_of_255_wait_for_one_user() {
    let mut steps = crowd(1);
    let asked = FIRST_NUMBER + 257;
    for index in 0..256 {
        steps.extend(log_in(FIRST_NUMBER + index));
        steps.push(ask(Ask::RequestFriend { friend: asked, reason: text("please") }));
    }
    // Asking again takes no more room; one that is answered makes some.
    steps.extend(log_in(FIRST_NUMBER));
    steps.push(ask(Ask::AddFriend { friend: asked }));
    steps.extend(log_in(asked));
    steps.push(ask(Ask::Answer { asker: FIRST_NUMBER + 255, consent: 1 }));
    steps.push(ask(Ask::Answer { asker: FIRST_NUMBER + 7, consent: 0 }));
    steps.extend(log_in(FIRST_NUMBER + 255));
    steps.push(ask(Ask::AddFriend { friend: asked }));
    steps.push(Step::Restart);
    steps.extend(log_in(asked));
    steps.push(ask(Ask::Answer { asker: FIRST_NUMBER + 255, consent: 1 }));
    steps.extend(log_in(FIRST_NUMBER + 255));
    run_all(steps);
}

#[test]
fn a_full_first_group_refuses_whoever_agrees() {
    let mut steps = crowd(0);
    let asked = FIRST_NUMBER + 256;
    let asker = log_in(FIRST_NUMBER);
    steps.extend(log_in(asked));
    steps.push(ask(Ask::Change(Person::plain("asks first", 1))));
    steps.extend(asker.clone());
    steps.push(ask(Ask::AddFriend { friend: asked }));
    steps.extend((1..=255).map(|index| ask(Ask::AddFriend { friend: FIRST_NUMBER + index })));
    steps.extend(log_in(asked));
    let agree = ask(Ask::Answer { asker: FIRST_NUMBER, consent: 1 });
    steps.push(agree.clone());
    steps.extend(asker.clone());
    steps.push(ask(Ask::DeleteFriend { friend: FIRST_NUMBER + 100 }));
    steps.extend(log_in(asked));
    steps.push(agree);
    steps.extend(asker);
    run_all(steps);
}

#[test]
fn a_server_that_takes_no_new_users_says_so() {
    let limits = Limits { open: false, ..limits(&mut Chance::new(1)) };
    let steps = [
        Step::Connect(0, 0x0A),
        ask(Ask::Register(Person::plain("ann", 0))),
        ask(Ask::LogIn { number: FIRST_NUMBER, password: text("secret"), mode: 0 }),
    ];
    assert_eq!(run::run(&limits, &steps), Ok(()));
}
