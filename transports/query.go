package transports

import (
	"net/url"
	"strings"
)

// A Query is the query of a request as it was sent, without the question
// mark. It is read when asked, because most of it never is.
type Query string

// Get returns the value of the named parameter, or "". When the parameter is
// repeated the last one counts, as in the reference implementation. A
// parameter whose encoding is broken is passed over.
func (q Query) Get(name string) string {
	value, _ := q.Lookup(name)
	return value
}

// Lookup is Get that tells an empty parameter from a missing one.
func (q Query) Lookup(name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(string(q), "&") {
		key, raw, _ := strings.Cut(pair, "=")
		if k, err := url.QueryUnescape(key); err != nil || k != name || pair == "" {
			continue
		}
		if v, err := url.QueryUnescape(raw); err == nil {
			value, ok = v, true
		}
	}
	return value, ok
}

// Values returns all parameters. Broken ones are left out.
func (q Query) Values() url.Values {
	values, _ := url.ParseQuery(string(q)) // it returns what it could read besides the error
	return values
}
