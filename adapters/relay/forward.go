package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/upshift-go/upshift/transports"
)

var (
	errNotSigned = errors.New("it does not accept the signature: is Options.Secret the same?")
	errNotHere   = errors.New("the session is not of that server")
	errNotAsked  = errors.New("it leaves HTTP though it was not asked to")
	errTooLarge  = errors.New("the answer is larger than Options.MaxResponse")
)

// upgradeTime is how long another server may take to answer an upgrade, which it
// does at once.
const upgradeTime = 10 * time.Second

// An answer is what another server has answered.
type answer struct {
	status int
	header http.Header
	body   []byte
	stream io.ReadWriteCloser // of a 101, instead of a body
}

// forward passes a request on and answers it.
func (r *Relay) forward(ex transports.Exchange, o *owner) {
	if !r.enter() {
		r.stats.busy.Add(1)
		r.warn(&r.quiet.busy, "a request was not passed on: there are Options.MaxRelayed", remote(ex))
		ex.SetHeader("Retry-After", "1")
		respond(ex, http.StatusServiceUnavailable, `{"code":3,"message":"Bad request"}`)
		return
	}
	req, status := r.request(ex, o)
	switch {
	case status != 0:
		r.leave()
		_ = ex.Respond(status, nil)
	case req.Header.Get("Upgrade") != "":
		r.upgrade(ex, o, req)
	default:
		r.exchange(ex, o, req)
		r.leave()
	}
}

// request is the request for the other server, or the status of the answer if what
// the client sends is no use.
func (r *Relay) request(ex transports.Exchange, o *owner) (*http.Request, int) {
	url := *o.target
	url.RawQuery = string(ex.Query())
	req := &http.Request{
		Method: ex.Method(), URL: &url, Host: ex.Header("Host"), Header: requestHeader(ex),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: once{bytes.NewReader(nil)},
	}
	req.Header.Set(header, hopOf(ex).sign(r.options.Secret, req.Method, url.RawQuery))
	if req.Method != http.MethodPost {
		return req, 0
	}
	body, err := ex.ReadBody(r.server.MaxPayload())
	switch {
	case errors.Is(err, transports.ErrPayloadTooLarge):
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		return nil, http.StatusBadRequest
	case len(body) == 0:
		req.Body = http.NoBody
	default:
		// The connection may be written to for a moment longer than the request
		// lasts, and the body is fasthttp's.
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(bytes.Clone(body))), int64(len(body))
	}
	return req, 0
}

// once is a body that net/http cannot send again. It would do so with a GET whose
// answer got lost, and the packets in that with it.
type once struct{ io.Reader }

// Close implements io.Closer.
func (once) Close() error { return nil }

// exchange passes on a request and waits for the answer, or until the client has
// gone.
func (r *Relay) exchange(ex transports.Exchange, o *owner, req *http.Request) {
	ctx, cancel := context.WithTimeout(r.ctx, r.options.Timeout)
	defer cancel()
	var (
		a    answer
		err  error
		done = make(chan struct{})
	)
	go func() { // ends with ctx at the latest; it is waited for
		defer close(done)
		defer ex.Unpark()
		a, err = r.ask(req.WithContext(ctx))
	}()
	gone := ex.Park()
	if gone != nil {
		cancel()
	}
	<-done
	switch {
	case gone != nil: // there is nobody to answer, and the other server sees it too
	case err != nil:
		r.failed(ex, o, err)
	default:
		a.respond(ex)
	}
}

// ask sends a request to another server.
func (r *Relay) ask(req *http.Request) (answer, error) {
	r.stats.requests.Add(1)
	resp, err := r.transport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		stream, ok := resp.Body.(io.ReadWriteCloser)
		if !ok || req.Header.Get("Upgrade") == "" {
			return a, errors.Join(errNotAsked, resp.Body.Close())
		}
		a.stream = stream
		return a, nil
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.Header.Get(header) {
	case notSigned:
		return a, errNotSigned
	case notHere:
		return a, errNotHere
	}
	a.body, err = readAll(resp, r.options.MaxResponse)
	return a, err
}

// readAll reads the whole body.
func readAll(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, errTooLarge
	}
	if resp.ContentLength >= 0 {
		body := make([]byte, resp.ContentLength)
		_, err := io.ReadFull(resp.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if int64(len(body)) > limit {
		return nil, errTooLarge
	}
	return body, err
}

// respond gives the client what the other server has answered.
func (a *answer) respond(ex transports.Exchange) {
	for name, values := range withoutHops(a.header) {
		if name == "Content-Length" || name == "Date" {
			continue // of this server
		}
		for i, value := range values {
			if i > 0 || name == "Set-Cookie" || name == "Vary" { // middleware in front may have set others
				ex.AddHeader(name, value)
			} else {
				ex.SetHeader(name, value)
			}
		}
	}
	_ = ex.Respond(a.status, a.body) // the session finds out itself that the client has gone
}

// failed answers a request that could not be passed on. The session is lost: what
// the other server has sent or taken is not known.
func (r *Relay) failed(ex transports.Exchange, o *owner, err error) {
	op, _ := errors.AsType[*net.OpError](err)
	switch {
	case r.ctx.Err() != nil: // Close
	case errors.Is(err, errNotHere):
		r.stats.unknown.Add(1)
		r.directory.forget(o)
	case op != nil && op.Op == "dial":
		r.stats.unknown.Add(1)
		r.directory.away(o)
		r.warn(&r.quiet.failed, "another server cannot be connected to", slog.String("url", o.base), slog.Any("error", err))
	case errors.Is(err, errNotSigned):
		r.stats.failed.Add(1)
		r.warn(&r.quiet.refused, "another server refuses what is passed on to it", slog.String("url", o.base), slog.Any("error", err))
	default:
		r.stats.failed.Add(1)
		r.warn(&r.quiet.failed, "another server has not answered a request", slog.String("url", o.base), slog.Any("error", err))
	}
	r.server.Serve(ex) // which says that the session is unknown
}

func remote(ex transports.Exchange) slog.Attr { return slog.String("remote", ex.RemoteAddr()) }

// requestHeader is the header of a request as it is passed on: all of what the
// client, and the proxies before this server, have sent.
func requestHeader(ex transports.Exchange) http.Header {
	all := make(http.Header)
	for name, value := range ex.Headers() {
		all.Add(name, value)
	}
	upgrade := all.Get("Upgrade")
	upgrading := upgrade != "" && names(all, "Upgrade")
	all = withoutHops(all)
	for _, name := range []string{"Host", "Content-Length", "Expect"} { // of each connection
		delete(all, name)
	}
	if upgrading {
		all.Set("Connection", "Upgrade")
		all.Set("Upgrade", upgrade)
	}
	if _, ok := all["User-Agent"]; !ok {
		all["User-Agent"] = nil // net/http would name itself
	}
	return all
}

// withoutHops is h without the fields that concern one connection alone. It changes
// h.
func withoutHops(h http.Header) http.Header {
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", header,
	} {
		delete(h, name)
	}
	return h
}

// names reports whether the Connection field names another one.
func names(h http.Header, name string) bool {
	for _, value := range h["Connection"] {
		for n := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(n), name) {
				return true
			}
		}
	}
	return false
}
