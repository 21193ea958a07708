package codectest

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// substitute changes a word in frames. ok is false if it is in none of them.
func substitute(frames []codec.Frame, from, to string) (changed []codec.Frame, ok bool) {
	for _, f := range frames {
		ok = ok || bytes.Contains(f.Data, []byte(from))
		f.Data = bytes.Replace(f.Data, []byte(from), []byte(to), 1)
		changed = append(changed, f)
	}
	return changed, ok
}

// decodeAll decodes frames up to the first error.
func decodeAll(d codec.Decoder, frames []codec.Frame) (packets []codec.Received, err error) {
	for _, f := range frames {
		r, ok, err := d.Decode(f)
		if err != nil {
			return packets, err
		}
		if ok {
			packets = append(packets, r)
		}
	}
	return packets, nil
}

// checkRefusal checks an error of Decode.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("Decode took it")
		return
	}
	e, ok := err.(*codec.DecodeError) //nolint:errorlint // the contract says this type, not one around it
	if !ok || e.Reason == "" || e.Err == nil || e.Offset < 0 {
		t.Errorf("Decode returned %T %+v, want a complete *codec.DecodeError", err, err)
	}
}

// samples are packets of every kind.
func samples() []*codec.Packet {
	return []*codec.Packet{
		{Type: codec.Connect, Namespace: "/admin", Data: map[string]string{"token": "x"}},
		{Type: codec.Disconnect, Namespace: "/admin"},
		{Type: codec.ConnectError, Data: "refused"},
		{Type: codec.Event, Namespace: "/admin", Event: "event", ID: 12, HasID: true, Args: []any{record{Text: "text"}, 1.5}},
		{Type: codec.Ack, ID: 3, HasID: true, Args: []any{"x", nil}},
		event(newFile()),
		event([]byte("one"), []any{[]byte("two")}),
	}
}

// C11, B39: Reset drops half a packet, and the decoder is as good as new. So it
// is after an error.
func testReset(t *testing.T, c codec.Codec) {
	whole := encode(t, c, event([]byte("one"), []byte("two")))
	for n := range len(whole) + 1 {
		d := c.NewDecoder()
		if _, err := decodeAll(d, whole[:n]); err != nil {
			t.Fatalf("after %d frames: %v", n, err)
		}
		d.Reset()
		for _, p := range samples() {
			decode(t, d, encode(t, c, p))
		}
	}
	d := c.NewDecoder()
	for n := range whole {
		if _, err := decodeAll(d, whole[:n]); err != nil {
			t.Fatalf("after %d frames: %v", n, err)
		}
		if _, err := decodeAll(d, []codec.Frame{{}, {Binary: true}, {}}); err == nil {
			t.Fatal("empty frames are packets")
		}
		decode(t, d, whole)
	}
}

// A frame of the wrong kind, text for binary or the other way, is refused.
func testWrongKind(t *testing.T, c codec.Codec) {
	for _, p := range samples() {
		frames := encode(t, c, p)
		for i := range frames {
			wrong := append([]codec.Frame(nil), frames...)
			wrong[i].Binary = !wrong[i].Binary
			_, err := decodeAll(c.NewDecoder(), wrong)
			checkRefusal(t, err)
		}
	}
}

// Frames of two connections do not mix.
func testDecodersApart(t *testing.T, c codec.Codec) {
	a, b := c.NewDecoder(), c.NewDecoder()
	of := func(text string) []codec.Frame { return encode(t, c, event([]byte(text), []byte("second"))) }
	framesA, framesB := of("a"), of("b")
	last := len(framesA) - 1
	for i := range last {
		for d, f := range map[codec.Decoder]codec.Frame{a: framesA[i], b: framesB[i]} {
			if _, ok, err := d.Decode(f); ok || err != nil {
				t.Fatalf("frame %d: %v, %v", i, ok, err)
			}
		}
	}
	for want, got := range map[string]codec.Received{
		"a": decode(t, a, framesA[last:]),
		"b": decode(t, b, framesB[last:]),
	} {
		var text []byte
		bind(t, got, &text)
		if string(text) != want {
			t.Errorf("decoder %s received %q", want, text)
		}
	}
}

// Encode and Bind are safe for concurrent use. The race detector helps here.
func testConcurrentEncode(t *testing.T, c codec.Codec) {
	shared := event(newFile(), "text")
	received := transfer(t, c, shared)
	done := make(chan error)
	const workers = 8
	for range workers {
		go func() {
			var f file
			_, err := c.Encode(nil, shared)
			if err == nil {
				err = received.Args.Bind(&f)
			}
			if err == nil {
				_, err = c.Encode(nil, event(received.Args))
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Damage to any byte, and any cut, is survived: an error or some packet, no
// panic, and the decoder goes on to work.
func testDamaged(t *testing.T, c codec.Codec) {
	good := event("good", []byte("bytes"))
	for _, p := range samples() {
		frames := encode(t, c, p)
		for i, f := range frames {
			for at := range f.Data {
				for _, damaged := range [][]byte{
					f.Data[:at],
					append(bytes.Clone(f.Data[:at]), f.Data[at+1:]...),
					append(append(bytes.Clone(f.Data[:at]), f.Data[at]^0x10), f.Data[at+1:]...),
					append(append(bytes.Clone(f.Data[:at]), 0xff), f.Data[at+1:]...),
				} {
					sent := append([]codec.Frame(nil), frames...)
					sent[i].Data = damaged
					survive(t, c, sent, good)
				}
			}
		}
	}
}

// Random frames are survived.
func testJunk(t *testing.T, c codec.Codec) {
	source := rand.NewChaCha8([32]byte{}) // the same junk every time
	random := rand.New(source)            //nolint:gosec // it is junk
	good := event("good", []byte("bytes"))
	for range 2000 {
		sent := make([]codec.Frame, 1+random.IntN(4))
		for i := range sent {
			data := make([]byte, random.IntN(40))
			_, _ = source.Read(data) // it never fails
			sent[i] = codec.Frame{Binary: random.IntN(2) == 0, Data: data}
		}
		survive(t, c, sent, good)
	}
}

// survive decodes hostile frames, binds what comes out, and then expects the
// same decoder to take a good packet.
func survive(t *testing.T, c codec.Codec, frames []codec.Frame, good *codec.Packet) {
	t.Helper()
	d := c.NewDecoder()
	packets, err := decodeAll(d, frames)
	if err != nil {
		checkRefusal(t, err)
	}
	for _, r := range packets {
		if err := codec.CheckEvent(r.Event); err != nil {
			t.Errorf("%+v was decoded: %v", frames, err)
		}
		var (
			value any
			f     file
		)
		_ = r.Data.Bind(&value)
		for i := range r.Args.Len() {
			_ = r.Args.Raw(i).Bind(&value)
			_ = r.Args.Raw(i).Bind(&f)
		}
	}
	d.Reset()
	decode(t, d, encode(t, c, good))
}
