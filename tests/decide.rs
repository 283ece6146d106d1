//! What the server does for each request, as the protocol's sections 1 to 4, 6 and 7 have it: given a
//! world of users, when one of them asks for something, then these packets come and this changes.

#[cfg(test)]
mod kit;

#[cfg(test)]
mod decide {
    mod accounts;
    mod checkpoint;
    mod extensions;
    mod failures;
    mod files;
    mod friends;
    mod groups;
    mod limits;
    mod login;
    mod message_ids;
    mod messages;
    mod monitor;
    mod presence;
    mod presence_told;
    mod rehash;
    mod restart;
    mod search;
    mod slices;
    mod turns;
}
