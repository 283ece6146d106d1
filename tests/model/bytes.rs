//! The protocol's field types, written once more for the model alone: what it predicts must not depend on
//! the server's own encoder.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

/// A packet's content that grows field by field.
#[derive(Clone, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn t(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub fn m(self, value: u16) -> Self {
        self.b(&value.to_be_bytes())
    }

    pub fn l(self, value: u32) -> Self {
        self.b(&value.to_be_bytes())
    }

    pub fn s(self, text: &[u8]) -> Self {
        let length = u16::try_from(text.len()).expect("strings are that short");
        self.m(length).b(text)
    }

    pub fn b(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn count(self, items: usize) -> Self {
        self.t(u8::try_from(items).expect("lists are that short"))
    }

    /// The packet of this content.
    pub fn framed(self, sender: u8, packet_type: u8) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("contents are that short");
        let header = Self::new().t(0x81).t(sender).t(0x01).t(packet_type).l(length);
        header.b(&self.0).0
    }
}

/// Whether bytes are text; `lines` where it may have more than one.
pub fn is_text(bytes: &[u8], lines: bool) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    text.chars().all(|c| match c {
        '\t' | '\r' | '\n' => lines,
        '\0'..='\u{1F}' | '\u{7F}' => false,
        _ => true,
    })
}
