package plain

import (
	"errors"
	"testing"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/codec/codectest"
)

func TestConformance(t *testing.T) {
	codectest.Run(t, New, codectest.UntypedBinary)
}

// The suite knows nothing of the wire; this is it.
func TestLine(t *testing.T) {
	frames, err := New().Encode(nil, &codec.Packet{
		Type: codec.Event, Event: "message", ID: 0, HasID: true, Args: []any{map[string]string{"text": "<Hi>"}, []byte("bytes"), nil},
	})
	const want = `{"type":2,"nsp":"/","id":0,"data":["message",{"text":"<Hi>"},"Ynl0ZXM=",null]}`
	if err != nil || len(frames) != 1 || frames[0].Binary || string(frames[0].Data) != want {
		t.Fatalf("%+v, %v, want %s", frames, err, want)
	}
	for line, want := range map[string]error{
		`0{"sid":"x"}`:                               codec.ErrInvalidPayload, // a client of the JSON codec
		`{"nsp":"/"}`:                                codec.ErrUnknownType,
		`{"type":7,"nsp":"/"}`:                       codec.ErrUnknownType,
		`{"type":0}`:                                 codec.ErrInvalidNamespace,
		`{"type":0,"nsp":"/","data":[]}`:             codec.ErrInvalidPayload,
		`{"type":1,"nsp":"/","data":{}}`:             codec.ErrInvalidPayload,
		`{"type":2,"nsp":"/","data":[]}`:             codec.ErrInvalidPayload,
		`{"type":2,"nsp":"/","data":[null]}`:         codec.ErrInvalidPayload,
		`{"type":2,"nsp":"/","data":["disconnect"]}`: codec.ErrInvalidPayload,
		`{"type":4,"nsp":"/"}`:                       codec.ErrInvalidPayload,
		`{"type":2,"nsp":"/","id":9007199254740992,"data":["x"]}`: codec.ErrInvalidID,
	} {
		_, _, err := New().NewDecoder().Decode(codec.Frame{Data: []byte(line)})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", line, err, want)
		}
	}
}
