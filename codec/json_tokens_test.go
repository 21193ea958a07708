package codec

import (
	"fmt"
	"testing"
)

// A peer that came to know the secret could write tokens of its own. They are
// text, unless there is such an attachment.
func TestForgedTokens(t *testing.T) {
	forged := receiveTokens.appendJSON(nil, 1)
	data := []byte(`{"Any":` + string(forged) + `,"Text":` + string(forged) + `,"Data":` + string(forged) + `,"Real":{"_placeholder":true,"num":0}}`)
	b := &jsonBinary{attachments: [][]byte{[]byte("real")}}
	var v struct {
		Any        any
		Text       string
		Data, Real []byte
	}
	if err := b.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	text := string(forged[1 : len(forged)-1])
	if v.Any != text || v.Text != text || string(v.Data) != string(receiveTokens.bytes(1)) || string(v.Real) != "real" {
		t.Errorf("bound %+v", v)
	}
}

type shownText string

func (s shownText) String() string { return string(s) }

// What an interface with methods holds is never replaced: bytes do not fit.
func TestForgedTokenInInterface(t *testing.T) {
	forged := receiveTokens.appendJSON(nil, 0)
	held := shownText(forged[1 : len(forged)-1])
	v := struct {
		Shown fmt.Stringer
		Data  []byte
	}{Shown: held}
	b := &jsonBinary{attachments: [][]byte{[]byte("real")}}
	if err := b.Unmarshal([]byte(`{"Data":{"_placeholder":true,"num":0}}`), &v); err != nil {
		t.Fatal(err)
	}
	if v.Shown != held || string(v.Data) != "real" {
		t.Errorf("bound %+v", v)
	}
}

// Tokens are replaced where they are whole strings, and nowhere else.
func TestReplaceTokens(t *testing.T) {
	tokens := newTokens()
	token := string(tokens.appendJSON(nil, 7))
	bare := token[1 : len(token)-1]
	for in, want := range map[string]string{
		``:                              ``,
		token:                           `<7>`,
		`[` + token + `,` + token + `]`: `[<7>,<7>]`,
		bare:                            bare,
		`"` + bare:                      `"` + bare,
		bare + `"`:                      bare + `"`,
		`"x` + bare + `",` + token:      `"x` + bare + `",<7>`,
		`"` + bare + `x",` + token:      `"` + bare + `x",<7>`,
		`"` + tokens.prefix + `"`:       `"` + tokens.prefix + `"`,
		`"` + tokens.prefix + `é--"`:    `"` + tokens.prefix + `é--"`,
	} {
		got, err := tokens.replace(nil, []byte(in), func(dst []byte, i int) ([]byte, error) {
			return fmt.Appendf(dst, "<%d>", i), nil
		})
		if err != nil || string(got) != want {
			t.Errorf("%s became %s, %v, want %s", in, got, err, want)
		}
	}
}
