package doctor

import (
	"context"
	"fmt"
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
	var polling, webSocket []Finding
	var both sync.WaitGroup
	both.Go(func() { polling = p.idlePoll(ctx, hello) })
	both.Go(func() { webSocket = p.idleWebSocket(ctx, hello) })
	both.Wait()
	found := slices.Concat(polling, webSocket)
	if len(found) == 0 {
		return []Finding{ok("heartbeat", "Connections on which nothing happens last from one heartbeat to the next, %d s.", hello.PingInterval/1000)}
	}
	return found
}

const idleFix = "Make the proxy's timeouts longer than pingInterval (nginx: proxy_read_timeout, proxy_send_timeout; HAProxy: timeout client, server, tunnel; AWS: idle timeout), or pingInterval of the server shorter."

// idlePoll waits for the ping by polling.
func (p *patient) idlePoll(ctx context.Context, hello *handshake) []Finding {
	s, _, err := p.caller(true).open(ctx)
	if err != nil || s == nil {
		return nil // sticky says so
	}
	defer s.end(ctx)
	a, err := s.poll(ctx, hello.interval()+p.o.Timeout)
	early := a.took < hello.interval()*9/10
	switch {
	case err == nil && a.status == http.StatusOK:
		return nil
	case err == nil && strings.Contains(a.body, "Session ID unknown"):
		return nil // sticky says so
	case early:
		return []Finding{{
			Check: "heartbeat", Severity: Problem,
			Says: fmt.Sprintf("Something cuts a poll off after %d s, but the server may let it wait for %d s: clients lose their connection again and again.", int(a.took.Seconds()+0.5), hello.PingInterval/1000),
			Why:  reason(a, err), Fix: idleFix,
		}}
	default:
		return []Finding{{
			Check: "heartbeat", Severity: Problem, Says: fmt.Sprintf("No ping comes by polling in %d s.", int(a.took.Seconds()+0.5)),
			Why: reason(a, err), Fix: "A proxy may hold responses back: turn its buffering off for the path (nginx: proxy_buffering off).",
		}}
	}
}

// idleWebSocket waits for the ping on a WebSocket.
func (p *patient) idleWebSocket(ctx context.Context, hello *handshake) []Finding {
	ctx, cancel := context.WithTimeout(ctx, hello.interval()+p.o.Timeout)
	defer cancel()
	c, err := p.connect(ctx, "websocket")
	if err != nil {
		return nil // websocket or upgrade say so
	}
	defer func() { _ = c.Close() }()
	gone := make(chan error, 1)
	c.OnDisconnect(func(_ context.Context, cause error) {
		select {
		case gone <- cause:
		default:
		}
	})
	began := time.Now()
	select {
	case cause := <-gone:
		idle := time.Since(began)
		if client.ReasonOf(cause) == client.ServerDisconnect {
			return nil // it does not want the doctor
		}
		return []Finding{{
			Check: "heartbeat", Severity: Problem,
			Says: fmt.Sprintf("Something cuts a WebSocket off on which nothing happens for %d s, but the server pings every %d s: clients lose their connection again and again.", int(idle.Seconds()+0.5), hello.PingInterval/1000),
			Why:  cause.Error(), Fix: idleFix,
		}}
	case <-time.After(hello.interval() + time.Second): // the ping has come, or the client would have noticed
		return nil
	case <-ctx.Done():
		return nil
	}
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
	switch {
	case len(allowed) == 0:
		return problem("Pages of %s may not use the server: browsers block polling.", p.o.Origin)
	case len(allowed) > 1:
		return problem("Access-Control-Allow-Origin is there %d times: browsers block that.", len(allowed))
	case allowed[0] != "*" && allowed[0] != p.o.Origin:
		return problem("Pages of %s may not use the server, only those of %s.", p.o.Origin, allowed[0])
	}
	if hello, err := readHandshake(a.body); err == nil {
		(&session{c, hello.SID}).end(ctx)
	}
	if a.header.Get("Access-Control-Allow-Credentials") != "true" {
		return []Finding{ok("cors", "Pages of %s may use the server, without cookies.", p.o.Origin)}
	}
	return []Finding{ok("cors", "Pages of %s may use the server, also with cookies.", p.o.Origin)}
}
