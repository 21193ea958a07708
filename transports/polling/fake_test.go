package polling

import (
	"context"
	"iter"
	"maps"
	"net"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// A fakeExchange is a request without a server, for what cannot be timed with
// one.
type fakeExchange struct {
	method     string
	body       string
	woken      chan struct{} // closed by Unpark
	parkErr    error         // what Park returns, after it was woken if it ever is
	respondErr error
	onHeader   func() // called by Header

	once   sync.Once
	read   bool // ReadBody was called
	aborts int
	status int
	answer string
}

var _ transports.Exchange = (*fakeExchange)(nil)

func (e *fakeExchange) Method() string           { return e.method }
func (e *fakeExchange) Path() string             { return "/engine.io/" }
func (e *fakeExchange) Query() transports.Query  { return "" }
func (e *fakeExchange) RemoteAddr() string       { return "" }
func (e *fakeExchange) Secure() bool             { return false }
func (e *fakeExchange) Context() context.Context { return context.Background() }

func (e *fakeExchange) Header(string) string {
	if e.onHeader != nil {
		e.onHeader()
	}
	return ""
}

func (e *fakeExchange) Headers() iter.Seq2[string, string] {
	return maps.All(map[string]string(nil))
}

func (e *fakeExchange) ResponseHeaders() iter.Seq2[string, string] {
	return maps.All(map[string]string(nil))
}

func (e *fakeExchange) ReadBody(int64) ([]byte, error) {
	e.read = true
	return []byte(e.body), nil
}

func (e *fakeExchange) SetHeader(string, string) {}
func (e *fakeExchange) AddHeader(string, string) {}

func (e *fakeExchange) Respond(status int, body []byte) error {
	e.status, e.answer = status, string(body)
	return e.respondErr
}

func (e *fakeExchange) Park() error {
	if e.parkErr == nil {
		<-e.woken
	}
	return e.parkErr
}

func (e *fakeExchange) Unpark() { e.once.Do(func() { close(e.woken) }) }
func (e *fakeExchange) Abort()  { e.aborts++ }

func (e *fakeExchange) Hijack(func(net.Conn, []byte)) error { return nil }
