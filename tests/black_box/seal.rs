//! Makes the checksums of a recording's file right after its bytes were changed.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a part of tests, and of a fuzz target"
)]

use std::ops::Range;

/// Bytes of a file's header, and where its checksum begins.
pub const HEADER: Range<usize> = 52..56;

/// The length that stands at this place.
pub fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..at + 4)?.try_into().unwrap();
    Some(u32::from_be_bytes(length).try_into().unwrap())
}

/// Makes the checksums right that stand behind or before so many bytes.
pub fn seal(bytes: &mut [u8]) {
    let mut sum = crc32fast::hash(&bytes[..HEADER.start]);
    bytes[HEADER].copy_from_slice(&sum.to_be_bytes());
    let chained = |sum, parts: [&[u8]; 2]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(sum);
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finalize()
    };
    sum = crc32fast::hash(&bytes[..HEADER.end]);
    let kept_len = length(bytes, 44).unwrap();
    let Some(mut at) = HEADER.end.checked_add(kept_len).filter(|at| *at + 4 <= bytes.len()) else {
        return;
    };
    sum = chained(sum, [&bytes[HEADER.end..at], b""]);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    at += 4;
    while let Some(count) = length(bytes, at).filter(|count| *count > 0)
        && let Some(entries) = bytes.get(at + 8..).and_then(|rest| rest.get(..count))
    {
        sum = chained(sum, [&bytes[at..at + 4], entries]);
        bytes[at + 4..at + 8].copy_from_slice(&sum.to_be_bytes());
        at += 8 + count;
    }
}
