//! The rules of extensions: results, message ids, presence.

use super::*;

pub const RESULTS: u8 = 1;
pub const IDS: u8 = 2;
pub const PRESENCE: u8 = 4;

/// Which message a confirmation names, counted from the last that its session was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The id 0.
    Nothing,
    /// The highest id that there is.
    Everything,
    /// The id of a message; of the last one for 0.
    Message(usize),
    /// One id before that message's.
    Before(usize),
}

impl Connection {
    pub const fn has(&self, extension: u8) -> bool {
        self.extensions & extension != 0
    }

    /// The message that is named; none where there is no such message.
    pub fn named(&self, back: usize) -> Option<u64> {
        let index = self.sent.len().checked_sub(back + 1)?;
        Some(self.sent[index])
    }
}

impl Model {
    fn has(&self, slot: Slot, extension: u8) -> bool {
        self.connections.get(&slot).is_some_and(|connection| connection.has(extension))
    }

    /// A packet has been done. Asking for extensions is the one packet without a result.
    pub(super) fn succeed(&mut self, slot: Slot, packet_type: u8) {
        if self.has(slot, RESULTS) && packet_type != 0x40 && !self.answered {
            let change = self.last_change;
            let result = Expected::Result { packet_type, success: true, change, codes: vec![] };
            self.emit(slot, result);
        }
        self.answered = true;
    }

    /// A packet has been done, but for what the code says.
    pub(super) fn succeed_partly(&mut self, slot: Slot, packet_type: u8, code: &'static str) {
        if self.has(slot, RESULTS) {
            let (success, change, codes) = (true, self.last_change, vec![code]);
            self.emit(slot, Expected::Result { packet_type, success, change, codes });
        } else {
            self.notice(slot, packet_type, vec![code]);
        }
        self.answered = true;
    }

    /// A packet has not been done.
    pub(super) fn fail(&mut self, slot: Slot, packet_type: u8, codes: Vec<&'static str>) {
        if self.has(slot, RESULTS) && packet_type != 0x40 {
            let result = Expected::Result { packet_type, success: false, change: 0, codes };
            self.emit(slot, result);
        } else {
            self.notice(slot, packet_type, codes);
        }
    }

    pub(super) fn sum(&self, slot: Slot) -> Bytes {
        Bytes::new().l(self.connections[&slot].extensions.into())
    }

    pub(super) fn want(&mut self, slot: Slot, wanted: u32) -> Done {
        let known = u8::try_from(wanted % 8).expect("it is below 8");
        self.connections.get_mut(&slot).expect("it asks").extensions = known;
        let sum = self.sum(slot);
        self.packet(slot, 0x40, sum);
        Ok(())
    }

    pub(super) fn arrived(&mut self, slot: Slot, own: Number, named: Named) -> Done {
        let connection = &self.connections[&slot];
        let is_covered = |id: &u64| match named {
            Named::Nothing => false,
            Named::Everything => true,
            Named::Message(back) => connection.named(back).is_some_and(|named| *id <= named),
            Named::Before(back) => connection.named(back).is_some_and(|named| *id < named),
        };
        let covered: Vec<u64> = connection.sent.iter().copied().filter(is_covered).collect();
        self.user_mut(own).mailbox.retain(|mail| !covered.contains(&mail.id));
        Ok(())
    }

    pub(super) fn send_mail(&mut self, slot: Slot, number: Number, mail: &Mail) {
        let sign = if mail.kind == 0 { 2 } else { 1 };
        let content = Bytes::new().t(sign).l(mail.from).s(&mail.text).t(mail.kind);
        if self.has(slot, IDS) {
            self.emit(slot, Expected::Mail { id: mail.id, content: content.0 });
            self.connections.get_mut(&slot).expect("it has a session").sent.push(mail.id);
            return;
        }
        self.packet(slot, 0x03, content);
        let connection = self.connections.get_mut(&slot).expect("it has a session");
        if connection.deaf {
            // The oldest that waits decides: an earlier login's are late however many follow.
            connection.unacknowledged.push((number, mail.id));
        } else {
            self.user_mut(number).mailbox.retain(|waiting| waiting.id != mail.id);
        }
    }

    /// How everybody looks to others.
    pub fn seen(&self) -> BTreeMap<Number, u8> {
        self.users.keys().map(|number| (*number, self.visible(*number).unwrap_or(4))).collect()
    }

    /// Tells of what looks otherwise than it did.
    pub fn tell(&mut self, before: &BTreeMap<Number, u8>) {
        for (number, state) in self.seen() {
            if before.get(&number).is_some_and(|was| *was != state) {
                let slots: Vec<Slot> = self.connections.keys().copied().collect();
                for slot in slots {
                    self.tell_one(slot, number, state);
                }
            }
        }
    }

    fn tell_one(&mut self, slot: Slot, number: Number, state: u8) {
        let Some(Session { number: own, .. }) = self.session(slot) else { return };
        if self.has(slot, PRESENCE) && self.user(own).friends.contains_key(&number) {
            self.packet(slot, 0x43, Bytes::new().l(number).t(state));
        }
    }

    /// A friend was added.
    pub(super) fn tell_new_friend(&mut self, owner: Number, friend: Number) {
        let state = self.visible(friend).unwrap_or(4);
        if let Some(slot) = self.slot_of(owner) {
            self.tell_one(slot, friend, state);
        }
    }
}
