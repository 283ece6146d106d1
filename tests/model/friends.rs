//! The rules of groups and friends.

use super::*;

impl Model {
    pub(super) fn groups(&mut self, slot: Slot, own: Number, ask: &Ask) -> Done {
        let known = |group: &u8| self.user(own).groups.contains_key(group);
        match ask {
            Ask::AddGroup { name } => {
                let free = (2..=255).find(|group| !known(group));
                check(&[(!is_name(name), "bad-value"), (free.is_none(), "limit")])?;
                self.change()?;
                let group = free.expect("it was checked");
                self.user_mut(own).groups.insert(group, name.to_vec());
                self.packet(slot, 0x05, Bytes::new().t(1).t(group).s(name));
            }
            Ask::RenameGroup { group, name } => {
                check(&[(!is_name(name), "bad-value"), (!known(group), "unknown-group")])?;
                if self.user(own).groups[group] != name.to_vec() {
                    self.change()?;
                }
                self.user_mut(own).groups.insert(*group, name.to_vec());
                self.packet(slot, 0x06, Bytes::new().t(1).t(*group).s(name));
            }
            Ask::DeleteGroup { group } => {
                check(&[(*group == 1, "not-allowed"), (!known(group), "unknown-group")])?;
                let together = self.in_group(own, 1) + self.in_group(own, *group);
                check(&[(together > PER_GROUP, "limit")])?;
                self.change()?;
                let user = self.user_mut(own);
                user.groups.remove(group);
                user.friends.values_mut().filter(|of| *of == group).for_each(|of| *of = 1);
                self.packet(slot, 0x07, Bytes::new().t(1).t(*group));
            }
            _ => unreachable!("only what is about groups comes here"),
        }
        Ok(())
    }

    pub(super) fn move_friends(&mut self, slot: Slot, own: Number, moves: &[(Number, u8)]) -> Done {
        let user = self.user(own);
        check(&[
            (moves.iter().any(|(friend, _)| !user.friends.contains_key(friend)), "unknown-friend"),
            (moves.iter().any(|(_, group)| !user.groups.contains_key(group)), "unknown-group"),
        ])?;
        let mut friends = user.friends.clone();
        friends.extend(moves.iter().copied());
        let crowded = user
            .groups
            .keys()
            .any(|group| friends.values().filter(|of| *of == group).count() > PER_GROUP);
        check(&[(crowded, "limit")])?;
        if user.friends != friends {
            self.change()?;
        }
        self.user_mut(own).friends = friends;
        self.packet(slot, 0x08, Bytes::new().t(1));
        Ok(())
    }

    pub(super) fn request(&mut self, own: Number, friend: Number, reason: &[u8]) -> Done {
        check(&[
            (own == friend, "bad-value"),
            (reason.len() > 255 || !is_text(reason, true), "bad-value"),
            (!self.users.contains_key(&friend), "unknown-number"),
            (self.user(own).friends.contains_key(&friend), "already-friend"),
        ])?;
        match self.user(friend).person.authentication {
            0 => {
                check(&[(self.in_group(own, 1) >= PER_GROUP, "limit")])?;
                self.change()?;
                self.befriend(own, friend);
                self.post(friend, own, 1, b"");
            }
            1 => {
                let requests = &self.user(friend).requests;
                let crowded = requests.len() >= REQUESTS && !requests.contains(&own);
                check(&[(crowded, "limit")])?;
                self.change()?;
                self.user_mut(friend).requests.insert(own);
                self.post(friend, own, 2, reason);
            }
            _ => {
                self.change()?;
                self.post(own, friend, 4, b"");
            }
        }
        Ok(())
    }

    fn befriend(&mut self, asker: Number, friend: Number) {
        self.user_mut(asker).friends.insert(friend, 1);
        self.user_mut(friend).requests.remove(&asker);
        self.post(asker, friend, 3, b"");
        self.tell_new_friend(asker, friend);
    }

    pub(super) fn answer(&mut self, own: Number, asker: Number, consent: u8) -> Done {
        let unknown = !self.users.contains_key(&asker);
        check(&[
            (consent > 1, "bad-value"),
            (unknown, "unknown-number"),
            (!self.user(own).requests.contains(&asker), "no-request"),
        ])?;
        if consent == 1 {
            check(&[(self.in_group(asker, 1) >= PER_GROUP, "limit")])?;
            self.change()?;
            self.befriend(asker, own);
        } else {
            self.change()?;
            self.user_mut(own).requests.remove(&asker);
            self.post(asker, own, 4, b"");
        }
        Ok(())
    }

    pub(super) fn delete_friend(&mut self, own: Number, friend: Number) -> Done {
        let known = self.user(own).friends.contains_key(&friend);
        check(&[(!known, "unknown-friend")])?;
        self.change()?;
        self.user_mut(own).friends.remove(&friend);
        Ok(())
    }
}

fn is_name(text: &[u8]) -> bool {
    (1..=64).contains(&text.len()) && is_text(text, false)
}
