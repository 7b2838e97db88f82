//! What a refused method comes to, for the tests of every capability.

use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::Encode;
use leveret_testkit::amqp091::Channel;

use crate::Blame as _;

/// Sends a method that must cost its channel, by this code and text; the server must blame the method.
#[track_caller]
pub(crate) fn assert_channel_lost(channel: &Channel, method: &impl Encode, code: ReplyCode, explanation: &str) {
    channel.send(method);
    let close = channel.expect_channel_error(code, explanation);
    assert_eq!(close.blame(), (method.class_id(), method.method_id()), "blame for {explanation}");
}

/// Sends a method that must cost its connection, by this code and text; the server must blame the method.
#[track_caller]
pub(crate) fn assert_connection_lost(channel: &Channel, method: &impl Encode, code: ReplyCode, explanation: &str) {
    channel.send(method);
    let close = channel.expect_connection_error(code, explanation);
    assert_eq!(close.blame(), (method.class_id(), method.method_id()), "blame for {explanation}");
}
