package codec

import (
	"encoding/json"
	"strings"
	"testing"
)

// jsonTexts are seeds for whatever reads JSON.
var jsonTexts = []string{
	``, ` `, `null`, `true `, "\tfalse\n", `nul`, `0`, `-0`, `01`, `-`, `1.`, `1.5e+10`, `1e`, `.5`, `+1`, `1 2`, `"a`, `"a\"b\\"`,
	`"\u12aF"`, `"\u12g4"`, `"\u123"`, `"\x"`, "\"\x1f\"", "\"12345678\x00\"", "\"1234567\xff8\"", `"1234567\n"`, `[]`, `[ ]`, `[1,]`, `[,1]`, `[1 2]`,
	`[[1],[{}]]`, `{}`, `{ }`, `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":[{"b":null}],"c":"d"}`, `]`, `}`, `[}`, `{]`,
	`{"_placeholder":true,"num":0}`, "\ufeff1", `"` + strings.Repeat("0123456789", 10) + `"`,
}

func TestScannerKeepsDepth(t *testing.T) {
	for _, open := range []string{"[", `{"":`} {
		end := map[string]string{"[": "]", `{"":`: "1}"}[open]
		for depth := range 8 {
			text := strings.Repeat(open, depth) + map[string]string{"[": "", `{"":`: "1"}[open]
			text += strings.Repeat(end[len(end)-1:], depth)
			s := scanner{data: []byte(text), maxDepth: 4}
			if got, want := s.only(), json.Valid([]byte(text)) && depth <= 4; got != want || s.deep != (depth > 4) {
				t.Errorf("%s: valid %v, too deep %v, want %v", text, got, s.deep, want)
			}
		}
	}
}

func TestPlainPrefix(t *testing.T) {
	plain := "0123456789 \x7f\x80\xff!#[]^abcde\u00e9"
	for n := range len(plain) + 1 {
		for _, stop := range []string{"", "\"", "\\", "\x00", "\x1f", "\n\"", "\"01234567", "\x1f\xff\xff\xff\xff\xff\xff\xff"} {
			for _, text := range []string{plain[:n] + stop, plain[n:] + stop} {
				want := len(text) - len(stop)
				for _, before := range []int{0, 1, 40, 60, 64, 100, 4_000, 4_160, 4_200, 20_000} {
					long := strings.Repeat("x", before) + text
					if got := plainPrefix([]byte(long)); got != before+want {
						t.Errorf("plainPrefix(%d times x and %q) = %d, want %d", before, text, got, before+want)
					}
				}
			}
		}
	}
}

// The scanner and encoding/json agree on what is JSON, with and without a look
// at members.
func FuzzScanner(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want := json.Valid(data)
		for _, members := range []bool{false, true} {
			s := scanner{data: data, maxDepth: maxDepth, members: members}
			if got := s.only(); got != want {
				t.Fatalf("%q: valid %v, want %v", data, got, want)
			}
			if s.at < 0 || s.at > len(data) {
				t.Fatalf("%q: stopped at %d", data, s.at)
			}
			for _, m := range s.marks {
				var object map[string]any
				if err := json.Unmarshal(data[m.start:m.end], &object); err == nil && object[placeholderKey] != true && want {
					t.Fatalf("%q: %q is taken for a placeholder", data, data[m.start:m.end])
				}
			}
		}
	})
}

// The elements that the scanner finds are those that encoding/json finds.
func FuzzElements(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte("[" + text + "]"))
		f.Add([]byte(`["a" , ` + text + ` , 2 ]`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want []json.RawMessage
		if len(data) > 0 && data[0] != '[' || json.Unmarshal(data, &want) != nil {
			want = nil
		}
		var tail spans
		s := scanner{data: data, maxDepth: maxDepth}
		from, to, ok := s.elements(nil, &tail)
		if ok != (want != nil) {
			t.Fatalf("%q: an array: %v, want %v", data, ok, want != nil)
		}
		if !ok {
			return
		}
		if tail.n != len(want) || from > to || to > len(data) {
			t.Fatalf("%q: %d elements between %d and %d, want %d", data, tail.n, from, to, len(want))
		}
		for i, w := range want {
			sp := tail.at(i)
			if got := data[from+int(sp.start) : from+int(sp.end)]; string(got) != string(w) {
				t.Fatalf("%q: element %d is %q, want %q", data, i, got, w)
			}
		}
	})
}
