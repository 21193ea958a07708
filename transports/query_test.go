package transports_test

import (
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// Section 2.2.
func TestQueryLookup(t *testing.T) {
	for _, test := range []struct {
		query transports.Query
		name  string
		value string
		ok    bool
	}{
		{"", "sid", "", false},
		{"", "", "", false},
		{"EIO=4&transport=polling", "EIO", "4", true},
		{"EIO=4&transport=polling", "transport", "polling", true},
		{"EIO=4&transport=polling", "sid", "", false},
		{"EIO=4", "eio", "", false},
		// A38: an empty parameter is not a missing one.
		{"sid=", "sid", "", true},
		{"sid", "sid", "", true},
		{"sid=&EIO=4", "sid", "", true},
		// The last one counts, also if it is empty.
		{"sid=a&sid=b", "sid", "b", true},
		{"sid=a&x=1&sid=", "sid", "", true},
		{"sid=a&sid", "sid", "", true},
		// Encodings.
		{"a=%41+b%2B", "a", "A b+", true},
		{"%73id=x", "sid", "x", true},
		{"a=b=c", "a", "b=c", true},
		{"a=%E2%82%AC", "a", "€", true},
		{"a=%00", "a", "\x00", true},
		// Broken encodings are passed over.
		{"a=%", "a", "", false},
		{"a=%4", "a", "", false},
		{"a=%zz", "a", "", false},
		{"a=1&a=%zz", "a", "1", true},
		{"a=%zz&a=1", "a", "1", true},
		{"%zz=1&a=2", "a", "2", true},
		// Separators.
		{"&&a=1&&", "a", "1", true},
		{"&&a=1&&", "", "", false},
		{"=1", "", "1", true},
		{"a=1;b=2", "b", "", false},
		// Names that are properties of every object of the reference's language.
		{"__proto__=x", "__proto__", "x", true},
		{"a=1", "constructor", "", false},
	} {
		value, ok := test.query.Lookup(test.name)
		if value != test.value || ok != test.ok {
			t.Errorf("Query(%q).Lookup(%q) = %q, %t; want %q, %t", test.query, test.name, value, ok, test.value, test.ok)
		}
		if got := test.query.Get(test.name); got != test.value {
			t.Errorf("Query(%q).Get(%q) = %q, want %q", test.query, test.name, got, test.value)
		}
	}
}
