package transports_test

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/upshift-go/upshift/transports"
)

// Section 7.1, and 7.4 with GO's rule: invalid text is a parse error.
func TestParseTextMalformed(t *testing.T) {
	for _, text := range []string{
		"", "7", "8", "9", "b", "bAQID", "a", " 4", "-", "/", ":", "\x00", "\x04", "\xff", "é",
		"4\xff", "4\xc3", "4ab\xe2\x82", "4\xed\xa0\x80", "4\xc0\x80", "2\xf5\x80\x80\x80",
	} {
		p, err := transports.ParseText([]byte(text))
		if err == nil {
			t.Errorf("ParseText(%q) = %s %q", text, p.Type, p.Data)
			continue
		}
		ce, ok := errors.AsType[*transports.CloseError](err)
		if !ok || ce.Reason != transports.ParseError || !errors.Is(err, transports.ErrMalformed) {
			t.Errorf("ParseText(%q): %v", text, err)
		}
	}
}

func FuzzParseText(f *testing.F) {
	for _, seed := range []string{"", "4", "4hello", "2probe", "7", "b", "4\xff", "4\x1e", "0{}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		p, err := transports.ParseText(text)
		if !bytes.Equal(text, before) {
			t.Fatal("the input was changed")
		}
		if want := len(text) > 0 && text[0] >= '0' && text[0] <= '6' && utf8.Valid(text); want != (err == nil) {
			t.Fatalf("ParseText(%q): %v", text, err)
		}
		if err == nil && !bytes.Equal(p.AppendText(nil), text) {
			t.Fatalf("%q became %q", text, p.AppendText(nil))
		}
	})
}
