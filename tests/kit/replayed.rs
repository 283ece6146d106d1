//! Whether what a server has recorded of its input replays to the same output, byte for byte.

use std::path::Path;

use oicq::black_box::{Difference, Ended, FOLDER, LogHistory, Recording, Replay};
use oicq::log::DiskStorage;

/// Replays what the server on this data folder has recorded.
pub fn replay(data: &Path) -> Ended {
    let recording = Recording::open(&data.join(FOLDER)).expect("the recording can be read");
    let storage = DiskStorage::read_only(data);
    let wanted = recording.texts_wanted().expect("the recording can be read");
    let history = LogHistory::open(&storage, wanted).expect("the log can be read");
    Replay::new(&recording, history).run(&mut ()).expect("it can be replayed")
}

/// Replays it, and takes no difference. Answers how many steps that were.
pub fn identically(data: &Path) -> u64 {
    let ended = replay(data);
    if let Some(Difference { step, what }) = &ended.difference {
        panic!("{}: step {step} is replayed differently: {what:?}", data.display());
    }
    if let Some((path, why)) = ended.skipped.first() {
        panic!("{}: {why}", path.display());
    }
    assert_eq!(ended.missing, [], "steps are missing in {}", data.display());
    if let Some(engine) = &ended.engine {
        assert_eq!(engine.find_contradiction(), None, "{}", data.display());
        assert_eq!(engine.state().find_contradiction(), None, "{}", data.display());
    }
    ended.steps
}
