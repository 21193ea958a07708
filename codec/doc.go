// Package codec turns Socket.IO packets into messages of the session below,
// and back. Most programs need only package core, which encodes and decodes
// for them; this package is for who writes a codec of their own, a proxy, or
// a tool that reads the wire.
//
// A [Codec] encodes. It is stateless and shared by every connection. A
// [Decoder] belongs to one connection, because a packet with binary values
// arrives in several messages:
//
//	Packet ──► Codec.Encode ──► Frame, Frame, …        (header, then attachments)
//	Frame  ──► Decoder.Decode ──► Received             (once the last one is there)
//
// Decoding has stages. The decoder finds the type, namespace, id and event
// name and checks the structure of the payload; the arguments stay as they
// came, in [Args], until somebody binds them to Go values. What nobody reads
// is never decoded, and what is passed on (an echo, a relay) is copied through
// as it is.
//
// [JSON] is the default codec of Socket.IO, protocol revision 5. Byte slices
// anywhere in the arguments of an event or ack travel as binary attachments.
// [MsgPack] is the other that official clients know: one binary message for
// each packet, in which bytes and times are values like others. Handlers see
// little of the difference: both go by the json tags of structs, and what was
// received with the one can be sent with the other.
//
// The two ends of a connection must use the same codec, and the wire does not
// tell which. A client that uses another one is refused with its first packet,
// by a [DecodeError] whose hint says so.
//
// Package codectest tests any codec against this contract;
// examples/customcodec has one that was written elsewhere.
package codec
