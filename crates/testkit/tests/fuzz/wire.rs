//! What a server may send, whatever it was sent: frames, their order, and nothing on a channel that is not open.

use std::collections::HashMap;

use leveret_protocol::amqp091::{ContentHeader, FRAME_OVERHEAD, Frame, FrameKind, Method, RawProperties};

/// A method with the body of its content, if it carries any.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) channel: u16,
    pub(crate) method: Method<'a>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Openness {
    Open,
    /// The server closed it; only the answer to a close that crossed may come.
    Closed,
}

/// What is known about a connection from what the server sent.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    channels: HashMap<u16, (Openness, u64)>,
    is_started: bool,
    is_closed: bool,
    /// Largest frame agreed on, in octets.
    frame_max: usize,
}

impl Wire {
    pub(crate) fn new(frame_max: usize) -> Self {
        Self { frame_max, ..Self::default() }
    }

    /// Takes what the server sent in a turn, which always ends with a whole frame.
    pub(crate) fn take<'a>(&mut self, mut octets: &'a [u8]) -> Vec<Sent<'a>> {
        let mut all = Vec::new();
        if !self.is_started && octets.len() == 8 && octets.starts_with(b"AMQP") {
            return all;
        }
        while !octets.is_empty() {
            let frame = next(&mut octets);
            if frame.kind == FrameKind::Heartbeat {
                assert!(frame.channel == 0 && frame.payload.is_empty(), "{frame:?}");
                continue;
            }
            self.is_started = true;
            assert_eq!(frame.kind, FrameKind::Method, "content without a method");
            let method = Method::decode(frame.payload).unwrap_or_else(|error| panic!("{error}: {:?}", frame.payload));
            let body = if has_content(&method) { self.content(frame.channel, &mut octets) } else { Vec::new() };
            self.check(frame.channel, &method);
            all.push(Sent { channel: frame.channel, method, body });
        }
        all
    }

    /// Header and body, which follow their method at once.
    fn content(&self, channel: u16, octets: &mut &[u8]) -> Vec<u8> {
        let frame = next(octets);
        assert_eq!((frame.kind, frame.channel), (FrameKind::Header, channel), "a header has to follow");
        let header = ContentHeader::decode(frame.payload).unwrap();
        RawProperties::decode(header.properties).unwrap();
        let size = usize::try_from(header.body_size).unwrap();
        let mut body = Vec::new();
        while body.len() < size {
            let frame = next(octets);
            assert_eq!((frame.kind, frame.channel), (FrameKind::Body, channel), "a body has to follow");
            assert!(frame.payload.len() + FRAME_OVERHEAD <= self.frame_max, "a frame of {}", frame.payload.len());
            body.extend_from_slice(frame.payload);
        }
        assert_eq!(body.len(), size);
        body
    }

    fn check(&mut self, channel: u16, method: &Method<'_>) {
        let ends = matches!(method, Method::ConnectionCloseOk(_));
        assert!(ends || !self.is_closed, "{method:?} on a closed connection");
        if channel == 0 {
            assert_eq!(method.ids().0, 10, "{method:?} on channel 0");
            self.is_closed |= ends || matches!(method, Method::ConnectionClose(_));
            return;
        }
        let state = self.channels.get(&channel).map(|(openness, _)| *openness);
        match method {
            Method::ChannelOpenOk(_) => {
                assert_ne!(state, Some(Openness::Open), "channel {channel} opened twice");
                self.channels.insert(channel, (Openness::Open, 0));
            }
            Method::ChannelClose(_) => {
                assert_eq!(state, Some(Openness::Open), "{method:?} on channel {channel}");
                self.channels.insert(channel, (Openness::Closed, 0));
            }
            Method::ChannelCloseOk(_) => {
                assert!(state.is_some(), "{method:?} on channel {channel}");
                if state == Some(Openness::Open) {
                    self.channels.remove(&channel);
                }
            }
            _ => assert_eq!(state, Some(Openness::Open), "{method:?} on channel {channel}"),
        }
        let tag = match method {
            Method::BasicDeliver(deliver) => deliver.delivery_tag,
            Method::BasicGetOk(ok) => ok.delivery_tag,
            _ => return,
        };
        let (_, last) = self.channels.get_mut(&channel).unwrap();
        assert_eq!(tag, *last + 1, "a delivery tag on channel {channel}");
        *last = tag;
    }
}

fn next<'a>(octets: &mut &'a [u8]) -> Frame<'a> {
    let decoded = Frame::decode(octets, usize::MAX).unwrap_or_else(|error| panic!("{error:?} in {octets:?}"));
    let (frame, used) = decoded.unwrap_or_else(|| panic!("a frame is cut short: {octets:?}"));
    *octets = &octets[used..];
    frame
}

fn has_content(method: &Method<'_>) -> bool {
    matches!(method, Method::BasicDeliver(_) | Method::BasicGetOk(_) | Method::BasicReturn(_))
}
