package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/upshift-go/upshift/client"
)

// websocket checks that a WebSocket can be opened, from the origin of clients.
func (p *patient) websocket(ctx context.Context, hello *handshake) []Finding {
	if !slices.Contains(hello.Upgrades, "websocket") {
		return []Finding{{
			Check: "websocket", Severity: Warning, Says: "The server does not offer WebSocket: all clients stay on polling.",
			Why: fmt.Sprintf("upgrades is %q", hello.Upgrades), Fix: "Allow the transport websocket at the server, unless that is meant.",
		}}
	}
	header := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":        {"dXBzaGlmdC1kb2N0b3IhIQ=="}, // any 16 bytes
		"Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"},
	}
	if p.o.Origin != "" {
		header.Set("Origin", p.o.Origin)
	}
	a, err := p.caller(true).switching(ctx, header)
	if err != nil {
		return []Finding{{
			Check: "websocket", Severity: Problem, Says: "A WebSocket cannot be opened: the connection ends.", Why: err.Error(),
			Fix: "A proxy or firewall may not let WebSocket through.",
		}}
	}
	if a.status != http.StatusSwitchingProtocols {
		return []Finding{noWebSocket(a, p.o.Origin)}
	}
	found := []Finding{ok("websocket", "A WebSocket opens in %d ms.", a.took.Milliseconds())}
	if extensions := a.header.Get("Sec-Websocket-Extensions"); strings.Contains(extensions, "permessage-deflate") {
		found = append(found, ok("compression", "WebSocket messages can be compressed (%s): that saves traffic and costs memory and CPU at the server.", extensions))
	} else {
		found = append(found, ok("compression", "WebSocket messages are not compressed."))
	}
	return found
}

// switching makes a request that is to become a WebSocket, and ends it.
func (c *caller) switching(ctx context.Context, header http.Header) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.p.o.Timeout)
	defer cancel()
	request, err := c.request(ctx, http.MethodGet, c.p.base.Path, query("", "websocket"), http.NoBody, header)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says which request
	}
	took := time.Since(began)
	defer func() { _ = response.Body.Close() }()
	a := &answer{status: response.StatusCode, header: response.Header, took: took}
	if a.status != http.StatusSwitchingProtocols {
		text := make([]byte, 1000)
		n, _ := response.Body.Read(text)
		a.body = string(text[:n])
	}
	return a, nil
}

// noWebSocket says why a request was answered by something else.
func noWebSocket(a *answer, origin string) Finding {
	f := Finding{Check: "websocket", Severity: Problem, Why: a.text()}
	r, refused := a.refusal()
	const badRequest, forbidden = 3, 4
	switch {
	case refused && *r.Code == badRequest, a.status == http.StatusUpgradeRequired:
		f.Says = "A proxy strips the headers Upgrade and Connection from WebSocket requests: clients stay on polling, and those with websocket alone cannot connect."
		f.Fix = "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; Apache: mod_proxy_wstunnel; AWS: an Application instead of a Classic Load Balancer."
	case origin != "" && (a.status == http.StatusForbidden || strings.Contains(a.body, "origin")), refused && *r.Code == forbidden:
		f.Says = "The WebSocket is refused, most likely for its origin."
		f.Fix = "Allow the origin at the server, and in whatever is in front of it."
	case a.status == http.StatusOK:
		f.Says = "The WebSocket request is answered as an ordinary one: something on the way does not know WebSocket."
		f.Fix = "Have the proxy pass upgrades on (HTTP/1.1, headers Upgrade and Connection)."
	case a.status >= 500:
		f.Says = fmt.Sprintf("The proxy fails with WebSocket: status %d.", a.status)
		f.Fix = "See its log; often the connection to the server is HTTP/1.0 or HTTP/2."
	default:
		f.Says = fmt.Sprintf("The WebSocket is refused with status %d.", a.status)
		f.Fix = "See the log of the server and of the proxy."
	}
	return f
}

// upgrade checks that a client that begins with polling comes to be on WebSocket.
func (p *patient) upgrade(ctx context.Context, hello *handshake) []Finding {
	if !slices.Contains(hello.Upgrades, "websocket") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*p.o.Timeout)
	defer cancel()
	began := time.Now()
	c, gone, err := p.connect(ctx, p.caller(true), "polling", "websocket")
	if refused, is := errors.AsType[*client.ConnectError](err); is {
		return []Finding{{
			Check: "upgrade", Severity: Skipped, Says: "The main namespace refuses the doctor: " + refused.Message + ".",
			Fix: "Give it what it wants with --auth or --header.",
		}}
	}
	if err != nil {
		return []Finding{{
			Check: "upgrade", Severity: Problem, Says: "A client that begins with polling cannot connect.", Why: err.Error(),
			Fix: "See what else was found.",
		}}
	}
	defer func() { _ = c.Close() }()
	for c.Transport() != "websocket" {
		select {
		case <-time.After(5 * time.Millisecond):
		case cause := <-gone:
			if client.ReasonOf(cause) == client.ServerDisconnect {
				return []Finding{{Check: "upgrade", Severity: Skipped, Says: "The main namespace disconnects the doctor.", Fix: "Give it what it wants with --auth or --header."}}
			}
			return []Finding{{
				Check: "upgrade", Severity: Problem, Says: "A client that begins with polling loses its connection before it is on WebSocket.", Why: cause.Error(),
				Fix: "See what was found for sticky, and the log of the server.",
			}}
		case <-ctx.Done():
			return []Finding{{
				Check: "upgrade", Severity: Problem, Says: "Clients connect, but stay on polling: the upgrade to WebSocket does not succeed.",
				Why: fmt.Sprintf("still on %s after %d s", c.Transport(), int(time.Since(began).Seconds())),
				Fix: "See what was found for websocket and sticky: the WebSocket must come to the server that has the session.",
			}}
		}
	}
	return []Finding{ok("upgrade", "A client that begins with polling is on WebSocket after %d ms.", time.Since(began).Milliseconds())}
}

// connect connects to the main namespace, by way of a caller. gone gets the cause when
// that is over.
func (p *patient) connect(ctx context.Context, by *caller, transports ...string) (c *client.Socket, gone <-chan error, err error) {
	o := client.Options{
		Path: p.base.Path, Header: p.o.Header, Transports: transports, FirstTransportOnly: true, Timeout: p.o.Timeout,
		HTTPClient:   by.client,
		Reconnection: client.Reconnection{Disabled: true},
	}
	if p.o.Auth != "" {
		o.Socket.Auth = json.RawMessage(p.o.Auth)
	}
	base := *p.base
	base.Path = "/"
	if c, err = client.New(base.String(), o); err != nil {
		return nil, nil, err
	}
	causes := make(chan error, 1) // it does not connect again
	c.OnDisconnect(func(_ context.Context, cause error) { causes <- cause })
	if err = c.Connect(ctx); err != nil {
		_ = c.Close() // it has no connection
		return nil, nil, err
	}
	return c, causes, nil
}
