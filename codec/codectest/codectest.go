// Package codectest tests whether a codec keeps the contract of package codec.
// A codec written elsewhere runs it as ours do:
//
//	func TestConformance(t *testing.T) {
//		codectest.Run(t, func() codec.Codec { return mycodec.New() })
//	}
//
// The suite knows nothing of the wire. It asks that structs are encoded by
// their json tags, and that a codec carries ten byte slices in a packet.
package codectest

import (
	"bytes"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// Run runs the suite as subtests of t. newCodec is called at least once for
// each of them.
func Run(t *testing.T, newCodec func() codec.Codec) {
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
		{"PassOn", testPassOn},
		{"Reset", testReset},
		{"WrongKind", testWrongKind},
		{"DecodersApart", testDecodersApart},
		{"ConcurrentEncode", testConcurrentEncode},
		{"Damaged", testDamaged},
		{"Junk", testJunk},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, newCodec()) })
	}
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
