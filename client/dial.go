package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/ws"
)

// dial opens a conn of the named transport for the engine; sid is empty for a
// new session. The conn is attached, and the first that is received on it says
// what becomes of it.
func (e *engine) dial(ctx context.Context, name, sid string) error {
	l := &link{engine: e, name: name}
	if name == Polling {
		c := newPoll(e, l)
		l.conn, l.pause, l.resume = c, c.pause, c.resume
		l.started = true // it takes calls from the beginning
		if err := e.attach(l); err != nil {
			return err
		}
		e.owner.spawn(c.run)
		return nil
	}
	dialed, err := e.dialWebSocket(ctx, sid)
	if err != nil {
		return err
	}
	e.owner.spawn(func() {
		dialed.Serve(e.owner.options.MaxMessageBytes, func(conn transports.Conn) (transports.Sink, error) {
			l.conn = conn
			return l, e.attach(l)
		})
	})
	return nil
}

func (e *engine) dialWebSocket(ctx context.Context, sid string) (*ws.Dialed, error) {
	m := e.owner
	r, err := m.request(ctx, http.MethodGet, WebSocket, sid, nil)
	if err != nil {
		return nil, err
	}
	dialed, resp, err := m.dialer.Dial(m.http, r)
	if err == nil {
		return dialed, nil
	}
	if resp == nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, err
	}
	return nil, refused(WebSocket, resp)
}

// request makes a request to the server.
func (m *Manager) request(ctx context.Context, method, transport, sid string, body io.Reader) (*http.Request, error) {
	query := strings.Builder{}
	query.WriteString("EIO=4&transport=")
	query.WriteString(transport)
	if sid != "" {
		query.WriteString("&sid=")
		query.WriteString(url.QueryEscape(sid))
	}
	if transport == Polling {
		// There are caches that heed no header.
		query.WriteString("&t=")
		query.WriteString(strconv.FormatUint(requests.Add(1), 36))
	}
	if m.query != "" {
		query.WriteByte('&')
		query.WriteString(m.query)
	}
	r, err := http.NewRequestWithContext(ctx, method, m.endpoint+query.String(), body)
	if err != nil {
		return nil, err
	}
	for name, values := range m.options.Header {
		switch name = http.CanonicalHeaderKey(name); {
		case name == "Host" && len(values) > 0:
			r.Host = values[0]
		default:
			r.Header[name] = slices.Clone(values)
		}
	}
	return r, nil
}

// requests counts polls, so that no two have the same URL.
var requests atomic.Uint64

// refused reads what a server says that does not want to go on.
func refused(transport string, resp *http.Response) *RequestError {
	const enough = 4 << 10 // of what may as well be the page of a proxy
	e := &RequestError{Transport: transport, Status: resp.StatusCode, Code: -1}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, enough)) // what there is
	var said struct {
		Code    *int   `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil && said.Code != nil {
		e.Code, e.Message = *said.Code, said.Message
		return e
	}
	// A server refuses WebSockets with a line of text. Pages are not for here.
	const line = 256
	notInLine := func(r rune) bool { return r == '<' || !unicode.IsPrint(r) }
	if text := strings.TrimSpace(string(body)); len(text) < line && !strings.ContainsFunc(text, notInLine) {
		e.Message = text
	}
	return e
}

var (
	errScheme = errors.New("the scheme must be http, https, ws or wss")
	errHost   = errors.New("no host")
)

// parseURL splits a URL into the address of the server, the namespace and the
// query.
func parseURL(raw string) (endpoint, namespace string, query url.Values, err error) {
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", nil, err
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return "", "", nil, &url.Error{Op: "client", URL: raw, Err: errScheme}
	}
	if u.Hostname() == "" {
		return "", "", nil, &url.Error{Op: "client", URL: raw, Err: errHost}
	}
	address := url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}
	namespace = u.Path
	if namespace == "" {
		namespace = "/"
	}
	return address.String(), namespace, u.Query(), nil
}
