//! What the model knows of a user's account, and how packets carry it.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::fmt;

use super::bytes::{Bytes, is_text};

/// What a user tells about itself, with its password and its authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    pub nickname: Vec<u8>,
    pub portrait: u16,
    pub password: Vec<u8>,
    pub gender: u8,
    pub age: u8,
    pub country: u8,
    pub province: u8,
    pub education: u8,
    pub occupation: u8,
    /// Real name, address, zip code, phone, pager and email: what only friends see.
    pub private: [Vec<u8>; 6],
    pub city: Vec<u8>,
    pub school: Vec<u8>,
    pub hobbies: Vec<u8>,
    pub description: Vec<u8>,
    pub authentication: u8,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.texts().map(|(text, _)| text.len()).collect();
        write!(
            f,
            "{:?} auth {} password {:?} portrait {} gender {} age {} country {} texts {texts:?}",
            String::from_utf8_lossy(&self.nickname),
            self.authentication,
            String::from_utf8_lossy(&self.password),
            self.portrait,
            self.gender,
            self.age,
            self.country,
        )
    }
}

impl Person {
    pub fn plain(nickname: &str, authentication: u8) -> Self {
        Self {
            nickname: nickname.into(),
            portrait: 0,
            password: b"secret".to_vec(),
            gender: 0,
            age: 0,
            country: 0,
            province: 0,
            education: 0,
            occupation: 0,
            private: Default::default(),
            city: Vec::new(),
            school: Vec::new(),
            hobbies: Vec::new(),
            description: Vec::new(),
            authentication,
        }
    }

    /// The texts other than nickname and password, and how long each may be.
    fn texts(&self) -> impl Iterator<Item = (&Vec<u8>, usize)> {
        let short = self.private.iter().chain([&self.city, &self.school]).map(|text| (text, 255));
        short.chain([&self.hobbies, &self.description].map(|text| (text, 1_024)))
    }

    /// Whether the values are in range, but for the authentication.
    pub fn is_fit(&self) -> bool {
        (1..=64).contains(&self.nickname.len())
            && is_text(&self.nickname, false)
            && (6..=64).contains(&self.password.len())
            && is_text(&self.password, false)
            && self.portrait <= 255
            && self.gender <= 2
            && self.age <= 150
            && self
                .texts()
                .all(|(text, limit)| text.len() <= limit && is_text(text, limit == 1_024))
    }

    /// What a registration has of it, and a change behind the number.
    pub fn content(&self, bytes: Bytes) -> Bytes {
        let start = bytes.s(&self.nickname).m(self.portrait).s(&self.password);
        self.behind_portrait(start, true).t(self.authentication)
    }

    /// What a profile shows of it.
    pub fn profile(&self, bytes: Bytes, trusted: bool) -> Bytes {
        self.behind_portrait(bytes.s(&self.nickname).m(self.portrait), trusted)
    }

    fn behind_portrait(&self, bytes: Bytes, trusted: bool) -> Bytes {
        let private = |index: usize| if trusted { &self.private[index][..] } else { b"" };
        let bytes = bytes.t(self.gender).t(self.age).s(private(0));
        let bytes = bytes.t(self.country).t(self.province).s(&self.city).s(private(1));
        let bytes = bytes.s(private(2)).t(self.education).s(&self.school).t(self.occupation);
        let bytes = bytes.s(private(3)).s(private(4)).s(private(5));
        bytes.s(&self.hobbies).s(&self.description)
    }
}
