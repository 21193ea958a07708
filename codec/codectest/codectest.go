// Package codectest tests whether a codec keeps the contract of package codec.
// A codec written elsewhere runs it as ours do:
//
//	func TestConformance(t *testing.T) {
//		codectest.Run(t, func() codec.Codec { return mycodec.New() })
//	}
//
// The suite knows nothing of the wire. It asks that structs are encoded by
// their json tags, and that a codec carries ten byte slices in a packet. A codec
// that does without a part of the contract says so with a Limit.
package codectest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// A Limit is a part of the contract that a codec does without, and documents.
type Limit int

// UntypedBinary is what a codec lacks whose wire does not tell bytes from text: a
// byte slice arrives as one where a byte slice is expected, but in an any it
// arrives as something else, such as base64 text.
const UntypedBinary Limit = 1

// Run runs the suite as subtests of t, but for what the codec does without.
// newCodec is called at least once for each of them.
func Run(t *testing.T, newCodec func() codec.Codec, without ...Limit) {
	t.Helper()
	for _, s := range []struct {
		name string
		test func(*testing.T, codec.Codec)
	}{
		{"Name", testName},
		{"RoundTrip", testRoundTrip},
		{"Values", testValues},
		{"EventNames", testEventNames},
		{"ReservedOnTheWire", testReservedOnTheWire},
		{"InvalidPackets", testInvalidPackets},
		{"Unencodable", testUnencodable},
		{"Binding", testBinding},
		{"Binary", testBinary},
		{"BinaryAtDepth", testBinaryAtDepth},
		{"BinaryAcks", testBinaryAcks},
		{"InputUntouched", testInputUntouched},
		{"FramesOwned", testFramesOwned},
		{"FramesLent", testFramesLent},
		{"PassOn", testPassOn},
		{"Reset", testReset},
		{"WrongKind", testWrongKind},
		{"DecodersApart", testDecodersApart},
		{"ConcurrentEncode", testConcurrentEncode},
		{"Damaged", testDamaged},
		{"Junk", testJunk},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, subject{newCodec(), without}) })
	}
}

// A subject is the codec that is tested.
type subject struct {
	codec.Codec
	without []Limit
}

// lacks reports whether a subject does without a part of the contract.
func lacks(c codec.Codec, l Limit) bool {
	s, ok := c.(subject)
	return ok && slices.Contains(s.without, l)
}

// encode encodes a packet that must encode.
func encode(t testing.TB, c codec.Codec, p *codec.Packet) []codec.Frame {
	t.Helper()
	frames, err := c.Encode(nil, p)
	if err != nil {
		t.Fatalf("Encode(%+v): %v", p, err)
	}
	if len(frames) == 0 {
		t.Fatalf("Encode(%+v) made no frame", p)
	}
	return frames
}

// decode decodes the frames of one packet. The buffer of each frame is
// overwritten as soon as it has been decoded, as a transport would.
func decode(t testing.TB, d codec.Decoder, frames []codec.Frame) codec.Received {
	t.Helper()
	var r codec.Received
	for i, f := range frames {
		buffer := bytes.Clone(f.Data)
		got, ok, err := d.Decode(codec.Frame{Binary: f.Binary, Data: buffer})
		if err != nil {
			t.Fatalf("Decode of frame %d of %d, %q: %v", i+1, len(frames), f.Data, err)
		}
		if last := i == len(frames)-1; ok != last {
			t.Fatalf("Decode of frame %d of %d, %q: ok = %v", i+1, len(frames), f.Data, ok)
		}
		for j := range buffer {
			buffer[j] = 'X'
		}
		r = got
	}
	return r
}

// transfer encodes a packet and decodes it again.
func transfer(t testing.TB, c codec.Codec, p *codec.Packet) codec.Received {
	t.Helper()
	return decode(t, c.NewDecoder(), encode(t, c, p))
}

// event returns an event with arguments.
func event(args ...any) *codec.Packet {
	return &codec.Packet{Type: codec.Event, Event: "event", Args: args}
}

// bind binds the arguments of a packet that must bind.
func bind(t testing.TB, r codec.Received, dsts ...any) {
	t.Helper()
	if err := r.Args.Bind(dsts...); err != nil {
		t.Fatalf("Bind: %v", err)
	}
}
