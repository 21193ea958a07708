package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// misfit is the error of a value that v cannot hold.
func misfit(h packHead, v reflect.Value) error {
	return fmt.Errorf("%s does not fit into %s", h.kind, v.Type())
}

// A bindError is an error with the way to the value that it is about. What a
// peer has written is in it only as an excerpt, since errors are logged.
type bindError struct {
	path []string // from the value outwards
	err  error
}

// within adds to err that it happened in a member or element. The outermost
// steps of a long way are left out: a peer chooses how deep values are nested.
func within(step string, err error) error {
	const most = 10
	e, ok := err.(*bindError) //nolint:errorlint // only what within itself has made
	if !ok {
		e = &bindError{err: err}
	}
	if len(e.path) < most {
		e.path = append(e.path, step)
	}
	return e
}

func (e *bindError) Error() string {
	path := slices.Clone(e.path)
	slices.Reverse(path)
	return strings.Join(path, ": ") + ": " + e.err.Error()
}

func (e *bindError) Unwrap() error { return e.err }

// excerpt quotes the beginning of text that a peer has written.
func excerpt(text []byte) string {
	const most = 40
	if len(text) > most {
		return strconv.Quote(string(text[:most])) + "…"
	}
	return strconv.Quote(string(text))
}
