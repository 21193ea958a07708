package nethttp

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// LongAgo is a deadline that has passed.
var LongAgo = time.Unix(1, 0)

// A SetDeadline sets the read deadline of a connection.
type SetDeadline func(time.Time) error

// An Upload is the reading of a request's body, of either HTTP stack. The zero
// value is ready for use, once. Abort may end it from another goroutine, by a read deadline; the mutex keeps that deadline from hitting
// whatever uses the connection after the body.
type Upload struct {
	mu      sync.Mutex // guards what follows
	active  bool       // Read runs
	aborted bool
}

// Read reads a body of which length bytes are announced; length is negative if
// it is not known. If it leaves something of the body unread, the server
// closes the connection: because there is so much of it, or because of the
// deadline, which has passed by then or soon will.
func (u *Upload) Read(body io.Reader, length, limit int64, set SetDeadline) ([]byte, error) {
	if !u.begin(set) {
		return nil, transports.ErrClientGone
	}
	data, err := readBody(body, length, limit)
	whole := err == nil
	if errors.Is(err, transports.ErrPayloadTooLarge) {
		whole = length <= limit+maxDiscard && u.discard(body, set)
	}
	if u.end(whole, set) && err == nil {
		return nil, transports.ErrClientGone
	}
	return data, err
}

// begin reports false if the upload has been aborted.
func (u *Upload) begin(set SetDeadline) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.active = !u.aborted
	if u.aborted {
		_ = set(LongAgo) // the server is not to wait for the body either
	}
	return u.active
}

// end reports whether the upload was aborted. Only if the whole body has been
// read can the connection be used further, without the deadline.
func (u *Upload) end(whole bool, set SetDeadline) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.active = false
	if u.aborted && whole {
		_ = set(time.Time{}) // fails only if the connection has ended
	}
	return u.aborted
}

// Abort ends a Read that is under way, or to come. It never blocks.
func (u *Upload) Abort(set SetDeadline) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.aborted = true
	if u.active {
		_ = set(LongAgo) // a connection without deadlines is read on until the client is done
	}
}

// What of an oversized body is still read, so that the client, which is
// writing, comes to read the answer. A client that sends more, or more slowly,
// may find its connection reset before it has seen the answer.
const (
	maxDiscard  = 32 << 20
	discardTime = 5 * time.Second
)

// discard reads the rest of a body and reports whether it came to its end.
func (u *Upload) discard(body io.Reader, set SetDeadline) bool {
	limit := func(t time.Time) bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return !u.aborted && set(t) == nil
	}
	if !limit(time.Now().Add(discardTime)) {
		return false
	}
	_, err := io.CopyN(io.Discard, body, maxDiscard)
	return errors.Is(err, io.EOF) && limit(time.Time{})
}

func readBody(body io.Reader, length, limit int64) ([]byte, error) {
	if length > limit {
		return nil, transports.ErrPayloadTooLarge
	}
	capacity := length
	if length < 0 {
		capacity = 512
	}
	// What is announced is believed only as far as it has come. The byte more
	// is for the read that finds the end.
	data := make([]byte, 0, min(capacity, limit, 64<<10)+1)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return nil, transports.ErrPayloadTooLarge
		case errors.Is(err, io.EOF) && (length < 0 || int64(len(data)) == length):
			return data, nil
		case err != nil:
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok { // of a handler in front
				return nil, transports.ErrPayloadTooLarge
			}
			return nil, transports.ErrClientGone // fasthttp has a plain EOF for a body that is cut short
		}
	}
}
