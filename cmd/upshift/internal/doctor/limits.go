package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/upshift-go/upshift/client"
)

// heartbeat checks that a connection on which nothing happens lasts until the server
// says something, on both transports.
func (p *patient) heartbeat(ctx context.Context, hello *handshake) []Finding {
	if p.o.Quick {
		return []Finding{{Check: "heartbeat", Severity: Skipped, Says: "It was not waited for a heartbeat."}}
	}
	var (
		both               sync.WaitGroup
		polling, webSocket []Finding
		polled, socketed   bool
	)
	both.Go(func() { polling, polled = p.idlePoll(ctx, hello) })
	both.Go(func() { webSocket, socketed = p.idleWebSocket(ctx, hello) })
	both.Wait()
	if found := slices.Concat(polling, webSocket); len(found) > 0 {
		return found
	}
	var lasted []string
	if polled {
		lasted = append(lasted, "polls")
	}
	if socketed {
		lasted = append(lasted, "WebSockets")
	}
	if len(lasted) == 0 {
		return []Finding{{Check: "heartbeat", Severity: Skipped, Says: "There is no connection on which a heartbeat could be waited for.", Fix: "See what else was found."}}
	}
	return []Finding{ok("heartbeat", "Connections on which nothing happens (%s) last from one heartbeat to the next, %d s.", strings.Join(lasted, " and "), hello.PingInterval/1000)}
}

const idleFix = "Make the proxy's timeouts longer than pingInterval (nginx: proxy_read_timeout, proxy_send_timeout; HAProxy: timeout client, server, tunnel; AWS: idle timeout), or pingInterval of the server shorter."

// idlePoll waits for the ping by polling, and reports whether it could.
func (p *patient) idlePoll(ctx context.Context, hello *handshake) (found []Finding, waited bool) {
	began := time.Now() // the ping is due an interval after the session is opened
	s, _, err := p.caller(true).open(ctx)
	if err != nil || s == nil {
		return nil, false // sticky says so
	}
	defer s.end(ctx)
	a, err := s.poll(ctx, hello.interval()+p.o.Timeout)
	took := time.Since(began)
	early := took < hello.interval()*9/10
	switch {
	case err == nil && a.status == http.StatusOK:
		return nil, true
	case err == nil && strings.Contains(a.body, "Session ID unknown"):
		return nil, false // sticky says so
	case early:
		return []Finding{{
			Check: "heartbeat", Severity: Problem,
			Says: fmt.Sprintf("Something cuts a poll off after %d s, but the server may let it wait for %d s: clients lose their connection again and again.", int(took.Seconds()+0.5), hello.PingInterval/1000),
			Why:  reason(a, err), Fix: idleFix,
		}}, true
	default:
		return []Finding{{
			Check: "heartbeat", Severity: Problem, Says: fmt.Sprintf("No ping comes by polling in %d s.", int(took.Seconds()+0.5)),
			Why: reason(a, err), Fix: "A proxy may hold responses back: turn its buffering off for the path (nginx: proxy_buffering off). Or a firewall forgets connections on which nothing happens: its time must be longer than pingInterval.",
		}}, true
	}
}

// idleWebSocket waits for the ping on a WebSocket, and reports whether it could.
func (p *patient) idleWebSocket(ctx context.Context, hello *handshake) (found []Finding, waited bool) {
	by, heard := p.caller(true).listening()
	began := time.Now()
	c, gone, err := p.connect(ctx, by, "websocket")
	if err != nil {
		return nil, false // websocket or upgrade say so
	}
	defer func() { _ = c.Close() }()
	late := time.NewTimer(hello.interval() + p.o.Timeout)
	defer late.Stop()
	forgotten := func() []Finding {
		return []Finding{{
			Check: "heartbeat", Severity: Problem,
			Says: fmt.Sprintf("No ping comes on a WebSocket in %d s, and no end: something forgets connections on which nothing happens, and tells nobody.", int(time.Since(began).Seconds()+0.5)),
			Why:  fmt.Sprintf("the server pings every %d s", hello.PingInterval/1000), Fix: idleFix,
		}}
	}
	for {
		select {
		case <-heard:
			if time.Since(began) >= hello.interval()*9/10 {
				return nil, true
			}
		case cause := <-gone:
			switch client.ReasonOf(cause) {
			case client.ServerDisconnect:
				return nil, false // it does not want the doctor
			case client.PingTimeout:
				return forgotten(), true
			default:
				return []Finding{{
					Check: "heartbeat", Severity: Problem,
					Says: fmt.Sprintf("Something cuts a WebSocket off on which nothing happens for %d s, but the server pings every %d s: clients lose their connection again and again.", int(time.Since(began).Seconds()+0.5), hello.PingInterval/1000),
					Why:  cause.Error(), Fix: idleFix,
				}}, true
			}
		case <-late.C:
			return forgotten(), true
		case <-ctx.Done():
			return nil, false
		}
	}
}

// listening has a caller tell, by a channel that is never full, when something comes over
// one of its connections.
func (c *caller) listening() (*caller, <-chan struct{}) {
	heard := make(chan struct{}, 1)
	transport := c.client.Transport.(*http.Transport) //nolint:forcetypeassert // caller makes it
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &heardConn{conn, heard}, err //nolint:wrapcheck // it says what
	}
	return c, heard
}

// A heardConn tells when something comes.
type heardConn struct {
	net.Conn
	heard chan<- struct{}
}

// Read implements io.Reader.
func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		select {
		case c.heard <- struct{}{}:
		default: // it has been told
		}
	}
	return n, err //nolint:wrapcheck // as it is
}

// payload checks that what the server takes comes through, by polling.
func (p *patient) payload(ctx context.Context, hello *handshake) []Finding {
	const step, most = 4, 16 << 20
	limit := min(hello.MaxPayload, most)
	s, _, err := p.caller(true).open(ctx)
	if err != nil || s == nil || limit < 1024 {
		return nil // sticky says so
	}
	defer s.end(ctx)
	if a, err := s.post(ctx, p.join()); err != nil || a.status != http.StatusOK {
		return nil // the same
	}
	sizes := []int64{limit}
	for size := limit / step; size >= 1024; size /= step {
		sizes = append(sizes, size)
	}
	var refused int64
	var why string
	for _, size := range slices.Backward(sizes) {
		const frame = `42["upshift:doctor",""]`
		a, err := s.post(ctx, `42["upshift:doctor","`+strings.Repeat("x", int(size)-len(frame))+`"]`)
		if err != nil || a.status != http.StatusOK {
			if refusal, own := answerRefusal(a, err); own {
				return []Finding{{Check: "payload", Severity: Skipped, Says: "The server ends the doctor's session: " + refusal + "."}}
			}
			refused, why = size, reason(a, err)
			break
		}
	}
	if refused == 0 {
		return []Finding{ok("payload", "Payloads of %d bytes come through.", limit)}
	}
	return []Finding{{
		Check: "payload", Severity: Problem,
		Says: fmt.Sprintf("The server takes payloads of %d bytes, but one of %d does not come through.", hello.MaxPayload, refused),
		Why:  why, Fix: "Raise the limit of the proxy (nginx: client_max_body_size), or lower maxHttpBufferSize or MaxPayload of the server.",
	}}
}

// answerRefusal reports whether it is the Socket.IO server that refuses.
func answerRefusal(a *answer, err error) (string, bool) {
	if err != nil {
		return "", false
	}
	r, own := a.refusal()
	return r.Message, own
}

// cors checks that pages of an origin may use the server.
func (p *patient) cors(ctx context.Context, _ *handshake) []Finding {
	if p.o.Origin == "" {
		return nil
	}
	origin := http.Header{"Origin": {p.o.Origin}}
	c := p.caller(false)
	a, err := c.do(ctx, p.o.Timeout, http.MethodGet, p.base.Path, query("", "polling"), nil, origin)
	if err != nil {
		return nil // it worked a moment ago
	}
	fix := "Allow the origin once: at the server (core.Options.CORS; cors.origin in Node) or in the proxy."
	allowed := a.header.Values("Access-Control-Allow-Origin")
	problem := func(format string, args ...any) []Finding {
		return []Finding{{
			Check: "cors", Severity: Problem, Says: fmt.Sprintf(format, args...),
			Why: fmt.Sprintf("Access-Control-Allow-Origin is %q, %s", allowed, a.text()), Fix: fix,
		}}
	}
	if hello, err := readHandshake(a.body); err == nil {
		(&session{c, hello.SID}).end(ctx)
	}
	switch {
	case a.status != http.StatusOK:
		return problem("The server refuses requests from pages of %s: status %d.", p.o.Origin, a.status)
	case len(allowed) == 0:
		return problem("Pages of %s may not use the server: browsers block polling.", p.o.Origin)
	case len(allowed) > 1:
		return problem("Access-Control-Allow-Origin is there %d times: browsers block that.", len(allowed))
	case allowed[0] != "*" && allowed[0] != p.o.Origin:
		return problem("Pages of %s may not use the server, only those of %s.", p.o.Origin, allowed[0])
	}
	// A wildcard is not for requests with cookies, whatever else is said.
	if a.header.Get("Access-Control-Allow-Credentials") != "true" || allowed[0] == "*" {
		return []Finding{ok("cors", "Pages of %s may use the server, without cookies.", p.o.Origin)}
	}
	return []Finding{ok("cors", "Pages of %s may use the server, also with cookies.", p.o.Origin)}
}
