//! The rules of file transfers.

use super::*;

impl Model {
    pub(super) fn offer(&mut self, own: Number, to: Number, name: &[u8], length: u32) -> Done {
        let allowed = self.user(own).friends.contains_key(&to) || self.is_service(to);
        check(&[
            (!is_file_name(name), "bad-value"),
            (!self.users.contains_key(&to), "unknown-number"),
            (!allowed, "unknown-friend"),
            (self.visible(to).is_none(), "not-online"),
            (self.transfers.contains_key(&(own, to)), "limit"),
        ])?;
        self.transfers.insert((own, to), Transfer { left: u64::from(length), flows: false });
        let slot = self.slot_of(to).expect("it is online");
        self.packet(slot, 0x13, Bytes::new().l(own).s(name).l(length));
        Ok(())
    }

    pub(super) fn answer_file(&mut self, own: Number, friend: Number, allow: u8) -> Done {
        check(&[(allow > 1, "bad-value")])?;
        let slot = self.slot_of(friend);
        if allow == 1 {
            let Some(transfer) = self.transfers.get_mut(&(friend, own)) else {
                return no("no-transfer");
            };
            check(&[(transfer.flows, "no-transfer")])?;
            transfer.flows = true;
            if transfer.left == 0 {
                self.transfers.remove(&(friend, own));
            }
        } else if self.transfers.remove(&(friend, own)).is_none() {
            // Both at once never meet here: the steps avoid what the protocol leaves open.
            check(&[(self.transfers.remove(&(own, friend)).is_none(), "no-transfer")])?;
        }
        self.packet(slot.expect("transfers end with sessions"), 0x14, Bytes::new().l(own).t(allow));
        Ok(())
    }

    pub(super) fn piece(&mut self, own: Number, to: Number, data: &[u8]) -> Done {
        let Some(transfer) = self.transfers.get_mut(&(own, to)).filter(|one| one.flows) else {
            return no("no-transfer");
        };
        let slot = self
            .connections
            .iter()
            .find(|(_, one)| one.session.is_some_and(|session| session.number == to))
            .map(|(slot, _)| *slot)
            .expect("transfers end with sessions");
        let length = data.len() as u64;
        if length > transfer.left {
            self.transfers.remove(&(own, to));
            self.notice(slot, 0, vec!["no-transfer"]);
            return no("no-transfer");
        }
        transfer.left -= length;
        if transfer.left == 0 {
            self.transfers.remove(&(own, to));
        }
        self.packet(slot, 0x15, Bytes::new().l(own).b(data));
        Ok(())
    }
}

fn is_file_name(name: &[u8]) -> bool {
    (1..=255).contains(&name.len())
        && is_text(name, false)
        && !name.iter().any(|byte| matches!(byte, b'/' | b'\\'))
        && name != b"."
        && name != b".."
}
