//! The engine under arbitrary inputs: whatever comes, it does not panic, what it sends are packets, closed
//! connections get nothing more, nobody gets an extension that it did not ask for, and the journal always
//! makes the same state again.
//!
//! `OICQ_SEED` runs the sequence of one seed, `OICQ_SEQUENCES` more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod chance;
#[path = "fuzz/bodies/engine.rs"]
mod engine;
mod kit;

use chance::Chance;
use kit::World;
use oicq::wire::Code;

#[test]
fn no_input_brings_the_engine_down() {
    for seed in chance::seeds(60) {
        // Shown when the test fails.
        println!("OICQ_SEED={seed}");
        engine::happen(&mut Chance::new(seed), 300);
    }
}

/// What can be wrong with a packet, in the order in which it is checked, and what is told of it.
const CHECKS: [(u8, Code); 9] = [
    (0x00, Code::Malformed),
    (0x00, Code::Malformed),
    (0x00, Code::Malformed),
    (0x03, Code::TooLarge),
    (0x99, Code::UnknownType),
    (0x03, Code::NotLoggedIn),
    (0x03, Code::Malformed),
    (0x03, Code::WrongNumber),
    (0x03, Code::UnknownNumber),
];

fn faulty(wrong: impl Fn(usize) -> bool, own: u32) -> Vec<u8> {
    let claimed = if wrong(7) { own + 1 } else { own };
    let receiver: u32 = if wrong(8) { 9 } else { own };
    let text = if wrong(6) { &[0, 9, b'a'][..] } else { &[0, 1, b'a'] };
    let content = [&claimed.to_be_bytes()[..], &receiver.to_be_bytes(), text].concat();
    let length: u32 =
        if wrong(3) { 65_537 } else { u32::try_from(content.len()).expect("it is short") };
    let header = [
        if wrong(0) { 0x18 } else { 0x81 },
        if wrong(1) { 0x01 } else { 0x0A },
        if wrong(2) { 0x0A } else { 0x01 },
        if wrong(4) { 0x99 } else { 0x03 },
    ];
    [&header[..], &length.to_be_bytes(), &content].concat()
}

#[test]
fn the_first_check_that_fails_is_told() {
    let (_, registration) = (0x01, [&[0, 1, b'n', 0, 7, 0, 6][..], b"secret", &[0; 27]].concat());
    for faults in 1_u32..1 << CHECKS.len() {
        let wrong = |check: usize| faults >> check & 1 == 1;
        let mut world = World::new();
        let id = world.connect();
        let length = u8::try_from(registration.len()).expect("it is short");
        world.send_bytes(id, &[&[0x81, 0x0A, 1, 1, 0, 0, 0, length][..], &registration].concat());
        if !wrong(5) {
            let log_in =
                [&[0x81, 0x0A, 1, 2, 0, 0, 0, 13, 0, 0, 0x27, 0x11, 0, 6][..], b"secret\0"];
            world.send_bytes(id, &log_in.concat());
        }
        let entered = world.take(id).len();
        assert_eq!(entered, if wrong(5) { 1 } else { 2 });
        world.send_bytes(id, &faulty(wrong, 10_001));
        let first = faults.trailing_zeros() as usize;
        let (packet_type, code) = CHECKS[first];
        let got = world.take(id);
        let [notice] = &got[..] else { panic!("{faults:09b}: {got:?}") };
        let (of, told, _) = notice.notice().expect("a notice");
        assert_eq!(told, code, "{faults:09b}: {notice:?}");
        // A type that nobody knows may be too large as well: the notice may name it or not.
        assert!(of == packet_type || first == 3 && wrong(4), "{faults:09b}: {notice:?}");
        let refusal = matches!(code, Code::UnknownType | Code::UnknownNumber);
        assert_eq!(world.is_closed(id), !refusal, "{faults:09b}");
    }
}
