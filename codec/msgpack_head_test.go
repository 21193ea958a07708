package codec

import (
	"strings"
	"testing"
)

// C15, B40: a length is believed only if there is room for it, so that nobody
// behind readHead has to ask again.
func TestReadHeadRoom(t *testing.T) {
	for _, tt := range []struct {
		head string
		room int64 // bytes that have to follow
	}{
		{"\x82", 4},
		{"\xde\x00\x03", 6},
		{"\xdf\x00\x00\x00\x03", 6},
		{"\xdf\x80\x00\x00\x00", 1 << 32},
		{"\x92", 2},
		{"\xdc\x00\x03", 3},
		{"\xdd\x00\x00\x00\x03", 3},
		{"\xdd\xff\xff\xff\xff", 1<<32 - 1},
		{"\xa2", 2},
		{"\xd9\x03", 3},
		{"\xda\x00\x03", 3},
		{"\xdb\x00\x00\x00\x03", 3},
		{"\xdb\x80\x00\x00\x00", 1 << 31},
		{"\xc4\x03", 3},
		{"\xc5\x00\x03", 3},
		{"\xc6\x00\x00\x00\x03", 3},
		{"\xc6\xff\xff\xff\xff", 1<<32 - 1},
		{"\xc7\x03", 4},
		{"\xc8\x00\x03", 4},
		{"\xc9\x00\x00\x00\x03", 4},
		{"\xc9\xff\xff\xff\xff", 1 << 32},
		{"\xd4", 2},
		{"\xd5", 3},
		{"\xd6", 5},
		{"\xd7", 9},
		{"\xd8", 17},
		{"\xca", 4},
		{"\xcb", 8},
		{"\xcc", 1},
		{"\xcd", 2},
		{"\xce", 4},
		{"\xcf", 8},
		{"\xd0", 1},
		{"\xd1", 2},
		{"\xd2", 4},
		{"\xd3", 8},
	} {
		const enough = 100
		if tt.room < enough {
			data := []byte(tt.head + strings.Repeat("\x00", int(tt.room)))
			if h, ok := readHead(data, 0); !ok || h.end > len(data) {
				t.Errorf("%q and %d bytes: %v, %+v", tt.head, tt.room, ok, h)
			}
		}
		data := []byte(tt.head + strings.Repeat("\x00", int(min(tt.room-1, enough))))
		if h, ok := readHead(data, 0); ok {
			t.Errorf("%q and %d bytes: %+v", tt.head, len(data)-len(tt.head), h)
		}
	}
	for _, data := range []string{"", "\xc1", "\xc1\x00"} {
		if h, ok := readHead([]byte(data), 0); ok {
			t.Errorf("%q: %+v", data, h)
		}
	}
}
