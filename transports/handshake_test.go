package transports_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/transports"
)

type fields [][2]string

func (f fields) all() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, pair := range f {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}

func collect(h transports.Header) fields {
	var got fields
	for name, value := range h.All() {
		got = append(got, [2]string{name, value})
	}
	return got
}

// One field must not look like two, whatever an Exchange lets through.
func TestHeaderInjection(t *testing.T) {
	pairs := []string{
		"X-A", "1\nX-Admin: yes",
		"X-B", "2\r\nX-Admin: yes\r\n",
		"X-C", "\x00\n",
		"X-D\nX-Admin", "yes",
		"X-Admin: yes\nX-E", "5",
		"X-Admin:", "yes",
		"X-F\r", "yes",
		"", "yes",
		"X-H", ":: a:b :",
	}
	want := fields{
		{"X-A", "1 X-Admin: yes"},
		{"X-B", "2  X-Admin: yes  "},
		{"X-C", "\x00 "},
		{"X-D X-Admin", "yes"},
		{"X-Admin  yes X-E", "5"},
		{"X-Admin ", "yes"},
		{"X-F ", "yes"},
		{"", "yes"},
		{"X-H", ":: a:b :"},
	}
	h := transports.NewHeader(pairs...)
	if diff := cmp.Diff(want, collect(h)); diff != "" {
		t.Error(diff)
	}
	if got := h.Get("X-Admin"); got != "" {
		t.Errorf("a field was smuggled in: %q", got)
	}

	var request fields
	for i := 0; i < len(pairs); i += 2 {
		request = append(request, [2]string{pairs[i], pairs[i+1]})
	}
	if diff := cmp.Diff(want, collect(transports.HandshakeOf(exchange{fields: request}).Header)); diff != "" {
		t.Error(diff)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add("Host", "example.org:80", "X-A", "1\nX-B: 2")
	f.Add("", ":", "A:B", "\r\n\x00")
	f.Add("a\xff:", "\xff\n", "0", "")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		clean := func(text string, characters ...string) string {
			for _, c := range characters {
				text = strings.ReplaceAll(text, c, " ")
			}
			return text
		}
		want := []string{clean(value1, "\r", "\n"), clean(value2, "\r", "\n")}
		var got []string
		for name, value := range transports.NewHeader(name1, value1, name2, value2).All() {
			if from := []string{name1, name2}[min(len(got), 1)]; !strings.EqualFold(name, clean(from, "\r", "\n", ":")) {
				t.Errorf("field %q is from %q", name, from)
			}
			got = append(got, value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// An exchange has what HandshakeOf asks for.
type exchange struct {
	transports.Exchange
	fields fields
}

func (ex exchange) Query() transports.Query            { return "EIO=4&sid=a&sid=S&token=t" }
func (ex exchange) Headers() iter.Seq2[string, string] { return ex.fields.all() }
func (ex exchange) Path() string                       { return "/socket.io/" }
func (ex exchange) RemoteAddr() string                 { return "192.0.2.1:1234" }
func (ex exchange) Secure() bool                       { return true }
func (ex exchange) Context() context.Context           { return context.Background() }

func TestHandshakeOf(t *testing.T) {
	h := transports.HandshakeOf(exchange{fields: fields{{"host", "example.org"}, {"Cookie", "a"}, {"Cookie", "b"}}})
	if diff := cmp.Diff(fields{{"Host", "example.org"}, {"Cookie", "a"}, {"Cookie", "b"}}, collect(h.Header)); diff != "" {
		t.Error(diff)
	}
	if h.SessionID != "S" || h.Query.Get("token") != "t" || h.Path != "/socket.io/" ||
		h.RemoteAddr != "192.0.2.1:1234" || !h.Secure || h.Time.IsZero() {
		t.Errorf("got %+v", h)
	}
}

func TestPeerAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:4000":              "192.0.2.1",
		"192.0.2.1":                   "192.0.2.1",
		"[2001:db8::1]:4000":          "2001:db8::/64",
		"[2001:db8:0:1:2::3]:4000":    "2001:db8:0:1::/64",
		"[fe80::1%eth0]:4000":         "fe80::/64",
		"[::ffff:192.0.2.1]:4000":     "192.0.2.1",
		"@":                           "",
		"":                            "",
		"203.0.113.7, 192.0.2.1:4000": "",
	} {
		h := transports.Handshake{RemoteAddr: remote}
		if got := h.PeerAddress(); got != want {
			t.Errorf("%q counts for %q, want %q", remote, got, want)
		}
	}
}
