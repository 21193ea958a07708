package codec_test

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
)

// Dates are as the packages of other languages write them. The middle one was
// captured from notepack.io 3.
func TestMsgPackValueDates(t *testing.T) {
	for text, want := range map[string]string{
		"2023-11-14T22:13:20Z":     "d6ff6553f100",
		"2023-11-14T22:13:20.123Z": "d7ff1d5353006553f100",
		"1969-12-31T23:59:59.5Z":   "c70cff1dcd6500ffffffffffffffff",
		"2600-01-01T00:00:00Z":     "",
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		data, err := codec.AppendMsgPack(nil, []any{"a", map[string]any{"at": at}, []byte("\xd7\x00"), at})
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(data); want != "" && got[len(got)-len(want):] != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		raw, err := codec.ReadMsgPack(data)
		if err != nil {
			t.Fatal(err)
		}
		var got []any
		if err := raw.Bind(&got); err != nil {
			t.Fatal(err)
		}
		if want := []any{"a", map[string]any{"at": at}, []byte("\xd7\x00"), at}; !reflect.DeepEqual(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		// To a client it goes as clients know it, in either codec.
		p := event("e", raw)
		if received := unpacked(t, packed(t, p)); received.Args.Len() != 1 {
			t.Errorf("%v", received)
		}
		frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, p)
		if err != nil || len(frames) != 2 {
			t.Errorf("%d frames, %v", len(frames), err)
		}
	}
}

func TestMsgPackValue(t *testing.T) {
	type value struct {
		Name string    `json:"name"`
		Raw  codec.Raw `json:"raw"`
	}
	data, err := codec.AppendMsgPack([]byte("x"), map[string]any{"name": "n", "raw": []any{1, nil, []byte{2}}})
	if err != nil || data[0] != 'x' {
		t.Fatal(data, err)
	}
	raw, err := codec.ReadMsgPack(data[1:])
	if err != nil {
		t.Fatal(err)
	}
	clear(data) // which is not kept
	var v value
	if err := raw.Bind(&v); err != nil {
		t.Fatal(err)
	}
	args := v.Raw.Args()
	var list []any
	if err := args.Bind(&list); err != nil || v.Name != "n" || args.Len() != 1 || !reflect.DeepEqual(list, []any{int64(1), nil, []byte{2}}) {
		t.Errorf("%+v, %v, %v", v, list, err)
	}
	if n := (codec.Raw{}).Args().Len(); n != 0 {
		t.Errorf("%d arguments of nothing", n)
	}
	if _, err := codec.AppendMsgPack(nil, func() {}); err == nil {
		t.Error("a function was encoded")
	}
	for _, bad := range []string{"", "\xc1", "\x91", "\x01\x02", "\xd7\xff\x00"} {
		if _, err := codec.ReadMsgPack([]byte(bad)); !errors.Is(err, codec.ErrInvalidPayload) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReadMsgPack(f *testing.F) {
	for _, seed := range []string{"\x01", "\xd6\xff\x65\x53\xf1\x00", "\x92\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x01\xa1a", "\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		raw, err := codec.ReadMsgPack(data)
		if err != nil {
			return
		}
		again, err := codec.AppendMsgPack(nil, raw)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := codec.ReadMsgPack(again)
		if err != nil || string(twice.Bytes()) != string(raw.Bytes()) {
			t.Fatalf("%x became %x, %v", raw.Bytes(), twice.Bytes(), err)
		}
	})
}
