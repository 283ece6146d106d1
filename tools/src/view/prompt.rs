//! The line in which something is typed, and what can be typed there.
//!
//! Owns the text and what is offered for it, and the forms of a point in the log.

use oicq::id::{Seq, UnixMillis};

use crate::show::Time;
use crate::times;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asks {
    /// A place in the log.
    Point,
    /// What to search for.
    Text,
    User,
}

impl Asks {
    /// What stands in front of the text.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Point => ":",
            Self::Text => "/",
            Self::User => "user ",
        }
    }
}

/// A text that is being typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Prompt {
    asks: Asks,
    text: String,
    /// What may be meant, the text being one of them until something is typed.
    offers: Vec<String>,
    offered: Option<usize>,
}

impl Prompt {
    /// Nothing has been typed yet.
    pub(super) const fn new(asks: Asks) -> Self {
        Self { asks, text: String::new(), offers: Vec::new(), offered: None }
    }

    /// The first of these is offered.
    pub(super) fn offering(asks: Asks, offers: Vec<String>) -> Self {
        let text = offers.first().cloned().unwrap_or_default();
        let offered = (!offers.is_empty()).then_some(0);
        Self { asks, text, offers, offered }
    }

    pub(super) const fn asks(&self) -> Asks {
        self.asks
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What helps to type.
    pub(super) fn hint(&self) -> String {
        match self.asks {
            Asks::Point => "a sequence number, 2026-11-22, 2026-11-22 03:12 or 03:12".to_owned(),
            Asks::Text => "in kinds and words of events".to_owned(),
            Asks::User if self.offers.len() > 1 => {
                format!("Tab offers the {} of this event", self.offers.len())
            }
            Asks::User => "a service number".to_owned(),
        }
    }

    /// A character behind the text, or in the place of what is offered.
    pub(super) fn type_in(&mut self, character: char) {
        if self.offered.take().is_some() {
            self.text.clear();
        }
        self.text.push(character);
    }

    pub(super) fn rub(&mut self) {
        self.offered = None;
        self.text.pop();
    }

    pub(super) fn rub_all(&mut self) {
        self.offered = None;
        self.text.clear();
    }

    pub(super) fn offer_next(&mut self) {
        let next = self.offered.map_or(0, |offered| (offered + 1) % self.offers.len().max(1));
        if let Some(offer) = self.offers.get(next) {
            self.text.clone_from(offer);
            self.offered = Some(next);
        }
    }
}

/// A place in the log, as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Point {
    Seq(Seq),
    Time(UnixMillis),
}

impl Point {
    /// Reads a sequence number, a date or a time; a time of day is of the day of `now`.
    pub(super) fn parse(text: &str, now: Option<UnixMillis>) -> Result<Self, String> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(Seq(seq)));
        }
        let of_that_day = || {
            let now = Time(now?).to_string();
            times::parse(&format!("{}T{text}", now.get(..10)?))
        };
        times::parse(text).or_else(of_that_day).map(Self::Time).ok_or_else(|| {
            format!("{text:?} was given, expected a sequence number, or {}", times::FORMS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_numbers_dates_and_times_of_the_day() {
        let day = 1_050_105_600_000; // 2003-04-12
        let now = Some(UnixMillis(day + 5));
        for (text, point) in [
            ("17", Some(Point::Seq(Seq(17)))),
            ("2003-04-12", Some(Point::Time(UnixMillis(day)))),
            ("2003-04-12 08:30", Some(Point::Time(UnixMillis(day + 30_600_000)))),
            ("08:30", Some(Point::Time(UnixMillis(day + 30_600_000)))),
            ("08:30:01.5", Some(Point::Time(UnixMillis(day + 30_601_500)))),
            ("-1", None),
            ("noon", None),
        ] {
            assert_eq!(Point::parse(text, now).ok(), point, "{text}");
        }
        assert!(Point::parse("08:30", None).is_err());
        assert!(Point::parse("noon", now).unwrap_err().contains("\"noon\" was given, expected"));
    }

    #[test]
    fn an_offer_gives_way_to_what_is_typed() {
        let mut prompt = Prompt::offering(Asks::User, vec!["10001".to_owned(), "10002".to_owned()]);
        assert_eq!((prompt.text(), &*prompt.hint()), ("10001", "Tab offers the 2 of this event"));
        prompt.offer_next();
        assert_eq!(prompt.text(), "10002");
        prompt.offer_next();
        assert_eq!(prompt.text(), "10001");
        prompt.type_in('7');
        prompt.type_in('8');
        assert_eq!(prompt.text(), "78");
        prompt.rub();
        assert_eq!(prompt.text(), "7");
        prompt.offer_next();
        assert_eq!(prompt.text(), "10001");
        prompt.rub_all();
        assert_eq!(prompt.text(), "");
        let mut empty = Prompt::new(Asks::Point);
        empty.rub();
        empty.offer_next();
        assert_eq!(empty.text(), "");
    }
}
