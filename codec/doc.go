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
// Package codectest tests any codec against this contract.
package codec
