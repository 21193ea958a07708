package transports

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestParseText(t *testing.T) { // engine-io 7.1, 7.4
	for text, want := range map[string]Packet{
		"4hello":   {Type: Message, Data: []byte("hello")},
		"4":        {Type: Message, Data: []byte{}},
		"2probe":   {Type: Ping, Data: []byte("probe")},
		"6":        {Type: Noop, Data: []byte{}},
		"41\u20ac": {Type: Message, Data: []byte("1\xe2\x82\xac")},
	} {
		p, err := ParseText([]byte(text))
		if err != nil || p.Type != want.Type || string(p.Data) != string(want.Data) || p.Binary {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
		if back := string(p.AppendText(nil)); back != text {
			t.Errorf("%q: written as %q", text, back)
		}
	}
	for _, text := range []string{"", "7", "a", "/", "bAQ==", "4\xff", "\x00"} {
		if p, err := ParseText([]byte(text)); !errors.Is(err, ErrMalformed) || AsCloseError(err).Reason != ParseError {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
	}
}

func TestTypes(t *testing.T) {
	names := make([]string, 0, Noop+2)
	for typ := range Noop + 2 {
		names = append(names, fmt.Sprintf("%c=%s", typ.Digit(), typ))
	}
	if got := strings.Join(names, " "); got != "0=open 1=close 2=ping 3=pong 4=message 5=upgrade 6=noop 7=invalid" {
		t.Error(got)
	}
}

func TestQuery(t *testing.T) { // engine-io 2.2, A38
	q := Query("a=1&b=&a=2&c&%64=x%20y+z&bad=%zz&bad=%&=empty&EIO=4")
	for name, want := range map[string]string{"a": "2", "b": "", "c": "", "d": "x y z", "bad": "", "none": "", "A": "", "EIO": "4", "": "empty"} {
		if got := q.Get(name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]bool{"b": true, "c": true, "none": false, "bad": false} {
		if _, ok := q.Lookup(name); ok != want {
			t.Errorf("Lookup(%s) found: %v", name, ok)
		}
	}
	if got := Query("a=1&a=2").Values()["a"]; !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("Values: %q", got)
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("EIO=4&transport=polling&sid=abc", "sid")
	f.Add("a=%41&a=%zz&;=&&=", "a")
	f.Fuzz(func(t *testing.T, query, name string) {
		got, ok := Query(query).Lookup(name)
		values, err := url.ParseQuery(query)
		if err != nil {
			return // ours passes over what is broken, and reads the rest
		}
		all := values[name]
		if ok != (len(all) > 0) || ok && got != all[len(all)-1] {
			t.Errorf("Lookup(%q) in %q: %q %v, want the last of %q", name, query, got, ok, all)
		}
	})
}

func TestHeader(t *testing.T) {
	h := NewHeader("host", "a:80", "X-Two", "1", "x-two", "2", "Empty", "", "Evil", "a\r\nInjected: b", "Bad\nName", "c")
	for name, want := range map[string]string{"Host": "a:80", "x-TWO": "1", "empty": "", "none": "", "injected": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := h.Values("X-Two"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("Values: %q", got)
	}
	var names []string
	for name := range h.All() {
		names = append(names, name)
	}
	if len(names) != 6 || names[0] != "Host" {
		t.Errorf("All: %q", names)
	}
}

func TestSharedFormIsMadeOnceForAll(t *testing.T) {
	var s Shared
	type key struct{ n int }
	var wg sync.WaitGroup
	values := make([]any, 100)
	for i := range values {
		wg.Go(func() {
			values[i] = s.Form(key{i % 2}, func() any { return new(int) })
		})
	}
	wg.Wait()
	for i, v := range values {
		if v != values[i%2] || v != s.Form(key{i % 2}, func() any { t.Error("made again"); return nil }) {
			t.Fatalf("value %d differs", i)
		}
	}
	if values[0] == values[1] {
		t.Error("two keys share a value")
	}
}

func TestCloseError(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &CloseError{Reason: TransportError, Err: ErrOverlap})
	for target, want := range map[error]bool{
		&CloseError{Reason: TransportError}:                  true,
		&CloseError{Reason: TransportClose}:                  false,
		&CloseError{Reason: TransportError, Err: ErrOverlap}: false,
		ErrOverlap:   true,
		ErrMalformed: false,
	} {
		if got := errors.Is(err, target); got != want {
			t.Errorf("Is(%v): %v", target, got)
		}
	}
	if got := AsCloseError(err); got.Reason != TransportError || got.Error() != "transport error: overlap from client" {
		t.Errorf("AsCloseError: %v", got)
	}
	if got := AsCloseError(nil); got.Reason != TransportClose || got.Error() != "transport close" {
		t.Errorf("AsCloseError(nil): %v", got)
	}
	if got := AsCloseError(ErrOverlap); got.Reason != TransportError || !errors.Is(got, ErrOverlap) {
		t.Errorf("AsCloseError of any error: %v", got)
	}
	if got := Malformed("x", 3).Error(); got != "parse error: malformed packet: x at byte 3" {
		t.Error(got)
	}
}
