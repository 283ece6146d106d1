//! What is searched for in lines.
//!
//! Owns what counts as a match. Where is looked, and in which direction, is settled in `history`.

use oicq::id::Seq;

/// A text that is looked for, in small letters and capitals alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Needle {
    text: String,
    /// In small letters.
    folded: String,
}

/// How a search has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    At {
        seq: Seq,
        /// It lies on the other side of the log's end.
        is_round: bool,
    },
    Nowhere,
    BrokenOff,
}

impl Needle {
    /// A needle, if there is anything to look for.
    pub(super) fn new(text: &str) -> Option<Self> {
        let folded = text.to_lowercase();
        (!text.is_empty()).then(|| Self { text: text.to_owned(), folded })
    }

    /// As it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a line holds it.
    pub(super) fn is_in(&self, line: &str) -> bool {
        if !self.folded.is_ascii() {
            return line.to_lowercase().contains(&self.folded);
        }
        let (line, folded) = (line.as_bytes(), self.folded.as_bytes());
        let Some(first) = folded.first() else { return true };
        let is_here =
            |at: &[u8]| at[0].eq_ignore_ascii_case(first) && at.eq_ignore_ascii_case(folded);
        line.windows(folded.len()).any(is_here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_small_and_large_in_any_script() {
        for (needle, line, found) in [
            ("ANN", r#"10001 "ann" to 10002"#, true),
            ("ann\"", r#"10001 "Ann""#, true),
            ("anna", "ann", false),
            ("ÄRGER", "kein ärger", true),
            ("ärger", "KEIN ÄRGER", true),
            ("你好", "10001: \"你好\"", true),
            ("好你", "10001: \"你好\"", false),
            ("привет", "ПРИВЕТ", true),
            ("x", "", false),
        ] {
            assert_eq!(Needle::new(needle).unwrap().is_in(line), found, "{needle} in {line}");
        }
        assert_eq!(Needle::new(""), None);
    }
}
