//! Every bound in one place, each with its reason. Those that can be set at the start have their
//! defaults here; relations between them are asserted at compile time.

/// Bytes of a packet before its content. Protocol section 2.
pub const HEADER_BYTES: usize = 8;
/// Content from a client without a session, in bytes: enough for a registration with every string at its limit.
pub const CONTENT_BYTES_BEFORE_LOGIN: u32 = 8_192;
/// Content from a client in a session, in bytes: pieces of files are the largest. Protocol section 7.
pub const CONTENT_BYTES_IN_SESSION: u32 = 65_536;

/// Bytes of a nickname and of a group's name. Protocol section 4.
pub const NAME_BYTES: usize = 64;
/// Bytes of a password, at least.
pub const PASSWORD_BYTES_MIN: usize = 6;
/// Bytes of a password, at most: what Argon2 is fed with stays small.
pub const PASSWORD_BYTES_MAX: usize = 64;
/// Bytes of a description and of hobbies.
pub const LONG_TEXT_BYTES: usize = 1_024;
/// Bytes of every other string of a profile, and of the reason of a friend request.
pub const SHORT_TEXT_BYTES: usize = 255;
/// Years.
pub const AGE_MAX: u8 = 150;
/// A login reply carries the portrait in one byte.
pub const PORTRAIT_MAX: u16 = 255;
/// Bytes of a message.
pub const MESSAGE_BYTES: usize = 8_192;
/// Bytes of a file's name.
pub const FILE_NAME_BYTES: usize = 255;

/// The highest group number: a login reply counts groups in one byte.
pub const GROUP_NUMBER_MAX: u8 = 255;
/// Friends in one group: a login reply counts them in one byte.
pub const FRIENDS_PER_GROUP: usize = 255;
/// Friend requests that wait for one user: as many as fit a screen that one scrolls.
pub const REQUESTS_WAITING: usize = 255;

/// Undelivered messages of one user, unless the server is told otherwise.
pub const MAILBOX_MESSAGES: u32 = 1_000;
/// Text of one user's undelivered messages in bytes, unless the server is told otherwise.
pub const MAILBOX_BYTES: u64 = 1 << 20;

/// Bytes of a search statement: bounds the work for one user on record. Protocol section 5.
pub const STATEMENT_BYTES: usize = 1_024;
/// Levels of a search condition: bounds recursion.
pub const STATEMENT_LEVELS: usize = 32;
/// Users in a search's reply.
pub const SEARCH_RESULTS: usize = 50;
/// Searches that are under way by turns; the others wait until one of these is done. Only they hold users that they
/// have found.
pub const SEARCHES_AT_ONCE: usize = 64;
/// Steps of a search between two looks at the sockets. A step is about a nanosecond's work for each byte
/// or comparison, so a slice stays far below the 5 ms that nobody may wait longer than.
pub const SEARCH_SLICE_STEPS: u64 = 150_000;

/// Time for a connection to log in, in milliseconds, unless told otherwise.
pub const LOGIN_TIMEOUT_MS: u64 = 30_000;
/// Time without a byte after which a connection is closed, in milliseconds, unless told otherwise.
pub const IDLE_TIMEOUT_MS: u64 = 180_000;
/// Time in which a client must take something of what waits for it, in milliseconds, unless told otherwise.
pub const SLOW_TIMEOUT_MS: u64 = 30_000;
/// How long a stopping server waits for clients that do not read, in milliseconds.
pub const SHUTDOWN_MS: u64 = 10_000;
/// How long a connection that was told why it is closed may take to hang up, in milliseconds.
pub const LINGER_MS: u64 = 2_000;
/// How long a connection that is closed may take to read all that waits for it, in milliseconds, as long as it takes
/// some of it within the time that any other has for that: the most that can wait gets there at 28 KiB a second, and
/// whoever takes a byte at a time holds a connection for no longer.
pub const FLUSH_MS: u64 = 5 * 60_000;

/// The window in which failed logins, registrations and connections are counted, in milliseconds.
pub const RATE_WINDOW_MS: u64 = 60_000;
/// Connections of an address that come within this time, in milliseconds, are counted together, and count as if they
/// had come with the last of them: a minute of any address is some hundred bytes.
pub const RATE_SLOT_MS: u64 = 4_000;
/// Failed logins in a window, for a number or an address, unless told otherwise.
pub const LOGIN_FAILURES: u32 = 5;
/// Registrations in a window from an address, unless told otherwise.
pub const REGISTRATIONS: u32 = 10;
/// Connections in a window from an address, unless told otherwise.
pub const CONNECTIONS: u32 = 1_000;
/// The first time for which one is throttled, in milliseconds; it doubles from there.
pub const THROTTLE_MS_FIRST: u64 = 1_000;
/// The longest time for which one is throttled, in milliseconds.
pub const THROTTLE_MS_MAX: u64 = 15 * 60_000;
/// Numbers and addresses that are remembered for their failures: bounds memory under attack; beyond it
/// the one that was seen longest ago is forgotten.
pub const THROTTLED_KEYS: usize = 65_536;
/// Passwords that wait to be looked at, from which on no address may have more than a few among them: some seconds of
/// work, and nobody who waits can be seen to have hung up. One address alone may have all of them, which is what comes
/// from behind one when a server has been started again.
pub const PASSWORDS_WAITING: usize = 256;
/// Passwords of an address that may wait when very many do. As addresses take turns, more would only wait longer.
pub const PASSWORDS_WAITING_EACH: usize = 4;
/// How long an address that has no room for another password is told to wait, in milliseconds: most of those that wait
/// have been looked at by then.
pub const PASSWORDS_WAIT_MS: u64 = 5_000;
/// Requests of a session in a second, unless told otherwise.
pub const REQUESTS_PER_SECOND: u32 = 1_000;
/// Requests of a session at once, unless told otherwise.
pub const REQUESTS_BURST: u32 = 10_000;

/// Bytes read from one connection in one turn: what a turn costs others stays bounded.
pub const READ_BYTES_PER_TURN: usize = 64 * 1_024;
/// Packets taken from one connection in one turn, for the same reason.
pub const PACKETS_EACH_MAX: usize = 256;
/// Packets taken in one turn from all connections, which they share; one from each is taken however many there are.
pub const PACKETS_PER_TURN: usize = 4_096;
/// How long taking in the packets of a turn may last: where it was longer, the next turn takes fewer.
pub const TURN_MS: u64 = 5;
/// Output of a turn, in bytes, after which no further packet is taken in it: bounds what is held back until the turn
/// is on disk.
pub const OUTBOX_BYTES_PER_TURN: usize = 16 << 20;
/// Messages posted in one turn, after which no further packet is taken in it that may be for many: a broadcast is as
/// much work as it has receivers.
pub const POSTED_PER_TURN: usize = 4_096;
/// Connections accepted from one listening address in one turn, for the same reason.
pub const ACCEPTS_PER_TURN: usize = 64;
/// How long no connection is accepted after the system had no file for one, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Files that connections leave to the log, the poller, the listeners and the standard streams.
pub const FILES_RESERVED: usize = 64;
/// Those of them that connections may take which have been closed, and which the other end has not hung up yet.
pub const FILES_LINGERING: usize = 32;
/// The first look at whether messages were acknowledged comes this long after they were sent, in
/// milliseconds; the time doubles from look to look.
pub const ACKNOWLEDGED_MS_MIN: u64 = 1;
/// The longest time between two looks at what was acknowledged, in milliseconds.
pub const ACKNOWLEDGED_MS_MAX: u64 = 250;
/// Output of a turn, in bytes, those that go to many counted for each of them, after which no further packet is taken
/// in it that may be for many, and what is said to many is put off: it is copied to the connections' buffers.
/// What was put off before, and what waits for slow clients, has an eighth of that in any case.
pub const COPIED_BYTES_PER_TURN: usize = 1 << 20;
/// How long a turn writes to connections, and how long to those that earlier turns have left over, in milliseconds: a
/// write takes 5 to 20 us. Whoever it does not come to follows in the turns after it.
pub const WRITING_MS: u64 = 2;
/// Bytes that the system is handed at once for one connection: the longest friend list takes several turns.
pub const WRITE_BYTES_MAX: usize = 1 << 20;
/// Connections that are looked at in one turn for what they have acknowledged, or because something is due with them.
pub const LOOKS_AT_ONCE: usize = 512;
/// Friends that a turn adds to the reply to a login: a slice of a longer list takes about a millisecond.
pub const FRIENDS_PER_SLICE: usize = 4_096;
/// How many are told the same in the turn in which it comes up.
pub const TOLD_AT_ONCE: usize = 512;
/// How many of the others are told in each turn after it: they are written to in that turn, mostly.
pub const TOLD_PER_TURN: usize = 128;
/// How friends are seen, and what else a client was not told for a while: how much of it is looked at in one step. It
/// may all have come to nothing.
pub const UNTOLD_PER_STEP: usize = 256;
/// Output waiting for a connection, in bytes, above which nothing more is read from it, nor from those whose next
/// packet would be passed on to it.
pub const OUTPUT_BYTES_HIGH: usize = 256 * 1_024;
/// Output waiting, in bytes, below which reading goes on: apart from the high mark, so that it does not flutter.
pub const OUTPUT_BYTES_LOW: usize = 64 * 1_024;
/// Output waiting for a connection, in bytes, beyond which it is closed as slow at once: the last resort against memory
/// without end. Nobody else's packets lead to it. Above the high mark messages and what is monitored wait in the log,
/// offers, answers and pieces of files with their senders, and of friends' states and ended transfers only the latest
/// are kept. Beyond it comes no more than the reply to one request of its own, of which a full friend list is the
/// largest, with what one step sends of all that waits.
pub const OUTPUT_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Memory for what waits of all connections, their input and their output, in bytes: beyond it those that have the most
/// of it are given up, however little that is. A thousand clients may be as slow as one may be.
pub const BUFFERS_BYTES_MAX: usize = 512 << 20;
/// Memory that was freed, in bytes, from which on it is given back to the system, at a time when there is nothing else
/// to do: the allocator would keep it.
pub const FREED_BYTES: usize = 1 << 20;
/// How long after that, in milliseconds: more may be freed meanwhile.
pub const FREED_MS: u64 = 500;
/// The shortest time between two times of that, in milliseconds: all that is kept is looked through each time.
pub const FREED_PAUSE_MS: u64 = 5_000;
/// What the end of a connection frees beside its buffers, in bytes, as far as it counts for the same.
pub const FREED_BYTES_OF_CONNECTION: usize = 16 << 10;
/// Mail handed to a connection at once, in bytes, when what waited is sent after login.
pub const MAIL_BYTES_PER_STEP: usize = 64 * 1_024;
/// Messages that an operator is still to be sent, as references into the log: a few MiB for an operator who
/// has fallen behind. One who falls behind further is closed as slow.
pub const MONITORED_WAITING: usize = 1 << 18;
/// How long a delivery may wait for a batch to go along with, in milliseconds.
pub const DELIVERY_DELAY_MS: u64 = 50;
/// How long a delivery may wait for a turn in which nobody waits for its sync, in milliseconds.
pub const DELIVERY_DELAY_MS_MAX: u64 = 1_000;
/// Receivers in one delivery event: bounds the event.
pub const DELIVERIES_PER_EVENT: usize = 4_096;

/// Passwords that wait for a new hash once their login is done: bounds how many are held for longer than that. Who
/// finds no room has another chance with its next login.
pub const RENEWALS_WAITING: usize = 64;

/// Argon2id's memory for new passwords in KiB, unless told otherwise (OWASP's first recommendation).
pub const PASSWORD_MEMORY_KIB: u32 = 19_456;
/// Argon2id's passes for new passwords, unless told otherwise.
pub const PASSWORD_PASSES: u32 = 2;

/// The most memory in KiB that a new hash may cost: one is worked on at a time.
pub const PASSWORD_MEMORY_KIB_MAX: u32 = 1 << 18;
/// The most memory in KiB times passes that a new hash may cost: about a second, in which nobody else can log in.
pub const PASSWORD_WORK_KIB_MAX: u64 = 1 << 20;
/// The most memory in KiB that a hash on record may cost. Earlier servers made them at whatever cost they were told:
/// the dearest that are recommended anywhere are 2 GiB (RFC 9106), and 1 GiB with 4 passes (libsodium). What is
/// beyond that was made by nobody; a log that was tampered with shall not take the machine's memory.
pub const RECORDED_MEMORY_KIB_MAX: u32 = 1 << 21;
/// The most memory in KiB times passes that a hash on record may cost: some seconds for each wrong password, as many as
/// the limit of failed logins lets in, and for the first right one, with which the hash is made anew.
pub const RECORDED_WORK_KIB_MAX: u64 = 1 << 22;

/// Bytes of the latest input that are kept for replay, unless told otherwise: some minutes of a busy server,
/// days of a small one.
pub const BLACK_BOX_BYTES: u64 = 64 << 20;

/// What a server counts as long as it runs, such as its steps or the bytes of a connection, never comes to this, nor
/// does a log's sequence number. A recording, or a log's file, that says more is damaged.
pub const COUNT_MAX: u64 = 1 << 62;

/// Bytes of one log file, unless told otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes at the end of a log file which, as long as there is no room for another file, are left to a server that
/// stops: what was delivered and who no longer monitors. Many deliveries of the most receivers fit.
pub const LOG_RESERVE_BYTES: u64 = 1 << 20;
/// The reserve is at most this part of a log file, so that a small one is not kept free for its sake. What does
/// not fit into it is sent again.
pub const LOG_RESERVE_PART: u64 = 16;

const _: () = {
    // The log, the recording, the poller and what wakes it take some 15 files, and each listener another.
    assert!(FILES_LINGERING + 20 <= FILES_RESERVED);
    assert!(LINGER_MS <= SHUTDOWN_MS && SHUTDOWN_MS <= FLUSH_MS);
    assert!(OUTPUT_BYTES_LOW < OUTPUT_BYTES_HIGH && OUTPUT_BYTES_HIGH < OUTPUT_BYTES_MAX);
    // A friend has up to 72 bytes in the reply to a login, and a step sends from each of three lists and a packet more.
    assert!(
        OUTPUT_BYTES_HIGH
            + GROUP_NUMBER_MAX as usize * (NAME_BYTES + 8 + FRIENDS_PER_GROUP * (NAME_BYTES + 8))
            + 3 * (MAIL_BYTES_PER_STEP + CONTENT_BYTES_IN_SESSION as usize)
            < OUTPUT_BYTES_MAX
    );
    assert!(PASSWORD_MEMORY_KIB <= PASSWORD_MEMORY_KIB_MAX);
    assert!(PASSWORD_MEMORY_KIB as u64 * PASSWORD_PASSES as u64 <= PASSWORD_WORK_KIB_MAX);
    assert!(PASSWORD_MEMORY_KIB_MAX <= RECORDED_MEMORY_KIB_MAX);
    assert!(PASSWORD_WORK_KIB_MAX <= RECORDED_WORK_KIB_MAX);
    // A message and its header fields fit the content of a session's packet, and so does a piece of a file.
    assert!(MESSAGE_BYTES + 16 < CONTENT_BYTES_IN_SESSION as usize);
    // A receiver and its sequence number have 12 bytes in a delivery.
    assert!(LOG_RESERVE_BYTES >= 16 * 12 * DELIVERIES_PER_EVENT as u64);
    assert!(LOG_RESERVE_BYTES <= SEGMENT_BYTES / LOG_RESERVE_PART);
    // One turn's reading takes at least one packet of the largest size, over at most two turns.
    assert!(READ_BYTES_PER_TURN * 2 >= HEADER_BYTES + CONTENT_BYTES_IN_SESSION as usize);
    // A registration with every string at its limit fits what is taken before login.
    assert!(
        NAME_BYTES + PASSWORD_BYTES_MAX + 2 * LONG_TEXT_BYTES + 10 * (SHORT_TEXT_BYTES + 2) + 32
            < CONTENT_BYTES_BEFORE_LOGIN as usize
    );
};
