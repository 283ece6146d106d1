//! Packets in both directions: what a server takes from a client's bytes, and a client from a server's.
//!
//! The first byte chooses direction and kind, the others are the stream. What is cut is cut only once it is there;
//! whatever decodes is encoded to the very bytes that came, and decodes with fillers in place of its texts.

#![allow(missing_docs, unreachable_pub, reason = "a part of tests, and of a fuzz target")]

use oicq::limits::{CONTENT_BYTES_IN_SESSION, HEADER_BYTES};
use oicq::wire::{
    ClientPacket, Expected, Frame, FrameError, Kind, RequestType, ServerPacket, cut, cut_for_client,
};

const KINDS: [Kind; 5] = [Kind::User, Kind::Web, Kind::Fax, Kind::Print, Kind::Chat];

pub fn run(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else { return };
    let kind = KINDS[usize::from(choice) / 4 % KINDS.len()];
    match choice % 4 {
        0 => from_client(stream, None),
        1 => from_client(stream, Some(kind)),
        _ => from_server(stream, kind),
    }
}

fn from_client(mut stream: &[u8], mut kind: Option<Kind>) {
    loop {
        let expected = Expected { kind, content_bytes_max: CONTENT_BYTES_IN_SESSION };
        let Some(frame) = next(stream, &|bytes| cut(bytes, expected)) else { return };
        kind = Some(frame.header.kind);
        if let Some(packet_type) = RequestType::from_byte(frame.header.packet_type)
            && let Ok(packet) = ClientPacket::decode(packet_type, frame.content)
        {
            let mut bytes = Vec::new();
            packet.encode(frame.header.kind, &mut bytes);
            assert_eq!(bytes, stream[..frame.length()], "{packet:?}");
        }
        stream = &stream[frame.length()..];
    }
}

fn from_server(mut stream: &[u8], kind: Kind) {
    while let Some(frame) =
        next(stream, &|bytes| cut_for_client(bytes, kind, CONTENT_BYTES_IN_SESSION))
    {
        let packet_type = frame.header.packet_type;
        if let Ok(packet) = ServerPacket::decode(packet_type, frame.content) {
            let receiver = if stream[2] == Kind::User as u8 { Kind::User } else { kind };
            let mut bytes = Vec::new();
            packet.encode(receiver, &mut bytes);
            assert_eq!(bytes, stream[..frame.length()], "{packet:?}");
            bytes.clear();
            packet.blanked().encode(receiver, &mut bytes);
            assert_eq!(bytes.len(), frame.length(), "{packet:?}");
            let blanked = ServerPacket::decode(packet_type, &bytes[HEADER_BYTES..]);
            assert!(blanked.is_ok(), "{packet:?}");
        }
        stream = &stream[frame.length()..];
    }
}

/// The packet that a stream begins with. Of less than all of it, nothing else is said.
fn next<'a>(
    stream: &'a [u8],
    cut: &dyn Fn(&'a [u8]) -> Result<Option<Frame<'a>>, FrameError>,
) -> Option<Frame<'a>> {
    let whole = cut(stream);
    let length = whole.as_ref().map_or(0, |frame| frame.map_or(0, |frame| frame.length()));
    for part in (0..=HEADER_BYTES.min(stream.len())).chain([length.saturating_sub(1)]) {
        match (cut(&stream[..part]), &whole) {
            (Ok(None), _) => {}
            (Err(early), Err(error)) => assert_eq!(early, *error, "{part} bytes"),
            (Ok(Some(early)), Ok(Some(frame))) => assert_eq!(early, *frame, "{part} bytes"),
            (early, whole) => panic!("{part} bytes: {early:?}, and then {whole:?}"),
        }
    }
    whole.ok().flatten()
}
