package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// A handshake is what a server says first.
type handshake struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int64    `json:"maxPayload"`
}

func (h *handshake) interval() time.Duration { return time.Duration(h.PingInterval) * time.Millisecond }

// payloads is how large payloads may be; servers before Engine.IO 6.2 do not say.
func (h *handshake) payloads() string {
	if h.MaxPayload <= 0 {
		return "nothing about payloads"
	}
	return fmt.Sprintf("payloads up to %d bytes", h.MaxPayload)
}

var errNoHandshake = errors.New("it is no handshake of Engine.IO 4")

func readHandshake(body string) (*handshake, error) {
	text, ok := strings.CutPrefix(body, "0{")
	if !ok {
		return nil, errNoHandshake
	}
	text, _, _ = strings.Cut("{"+text, "\x1e")
	h := new(handshake)
	if err := json.Unmarshal([]byte(text), h); err != nil || h.SID == "" {
		return nil, errNoHandshake
	}
	return h, nil
}

// version3 is how a server of Engine.IO 3 writes the handshake: with its length.
var version3 = regexp.MustCompile(`^\d+:0\{|^\x00[\x00-\x09]+\xff0\{`)

// reach checks that there is a server, of the right version.
func (p *patient) reach(ctx context.Context) (*handshake, []Finding) {
	c := p.caller(false)
	a, err := c.do(ctx, p.o.Timeout, http.MethodGet, p.base.Path, query("", "polling"), nil, nil)
	if err != nil {
		return nil, []Finding{unreachable(err, a.took)}
	}
	hello, err := readHandshake(a.body)
	if a.status == http.StatusOK && err == nil {
		(&session{c, hello.SID}).end(ctx)
		return hello, []Finding{
			ok("reach", "The server answers at %s in %d ms.", p.base.Path, a.took.Milliseconds()),
			ok("protocol", "It speaks Engine.IO 4, which is Socket.IO 3 and 4: pings every %d ms, %d ms for the answer, %s.",
				hello.PingInterval, hello.PingTimeout, hello.payloads()),
		}
	}
	const unknownTransport = 0
	if r, refused := a.refusal(); refused && *r.Code == unknownTransport {
		return nil, append([]Finding{{
			Check: "reach", Severity: Warning, Says: "The server does not offer polling: clients that begin with it, as those in browsers do, cannot connect.",
			Why: a.text(), Fix: `Give clients transports: ["websocket"], or allow the transport polling at the server. Only the WebSocket has been looked at.`,
		}}, p.websocket(ctx, &handshake{Upgrades: []string{"websocket"}})...)
	}
	return nil, []Finding{p.explain(ctx, c, a)}
}

// unreachable says why there was no answer at all.
func unreachable(err error, took time.Duration) Finding {
	f := Finding{Check: "reach", Severity: Problem, Why: err.Error()}
	var (
		dns     *net.DNSError
		op      *net.OpError
		record  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
	)
	switch {
	case errors.As(err, &dns):
		f.Says = fmt.Sprintf("The name %s cannot be resolved.", dns.Name)
		f.Fix = "Check the host of the URL, and the DNS record."
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &host):
		f.Says = "The certificate of the server is not accepted."
		f.Fix = "Serve the full chain of a certificate for this host that has not expired."
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		f.Says = "The server does not speak TLS on this port."
		f.Fix = "Use http://, or terminate TLS here."
	case errors.Is(err, context.DeadlineExceeded):
		f.Says = fmt.Sprintf("There is no answer within %d s.", int(took.Seconds()+0.5))
		f.Fix = "Check firewalls, and that the proxy reaches the server."
	case errors.As(err, &op) && op.Op == "dial":
		f.Says = "Nothing listens there."
		f.Fix = "Check host and port, and that the server runs."
	default:
		f.Says = "The connection ends before there is an answer."
		f.Fix = "Check the log of whatever is in front of the server."
	}
	return f
}

// explain says why an answer is no handshake.
func (p *patient) explain(ctx context.Context, c *caller, a *answer) Finding {
	f := Finding{Check: "reach", Severity: Problem, Why: a.text()}
	r, refused := a.refusal()
	const unsupported = 5
	switch {
	case version3.MatchString(a.body), refused && *r.Code == unsupported:
		f.Check = "protocol"
		f.Says = "The server speaks Engine.IO 3, which is Socket.IO 2: clients of version 3 and 4 cannot connect."
		f.Fix = "Upgrade the server to Socket.IO 4, or use clients of version 2."
	case refused:
		f.Says = "There is a Socket.IO server, and it refuses: " + r.Message + "."
		f.Fix = "Its middleware or a limit of it says so; see its log."
	case a.status == http.StatusBadRequest && p.base.Scheme == "http" && strings.Contains(a.body, "HTTPS"):
		f.Says = "The server speaks TLS on this port."
		f.Fix = "Use https://."
	case a.status >= 300 && a.status < 400:
		f.Says = fmt.Sprintf("The server sends clients elsewhere, to %s: browsers follow that for polling, but never for WebSocket.", a.header.Get("Location"))
		f.Fix = "Use the final URL in clients."
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		f.Says = "Something refuses the request before it comes to the Socket.IO server."
		f.Fix = "Let requests for the path through, or give the doctor what they need with --header."
	case a.status >= 500:
		f.Says = fmt.Sprintf("The proxy has no server behind it, or that fails: status %d.", a.status)
		f.Fix = "Check that the server runs, and where the proxy sends requests for the path."
	default:
		f.Says = fmt.Sprintf("There is something else than a Socket.IO server at %s.", p.base.Path)
		f.Fix = "Check option path of the server and of the clients, and that the proxy passes the path on unchanged."
		if elsewhere := p.elsewhere(ctx, c); elsewhere != "" {
			f.Says += fmt.Sprintf(" There is one at %s.", elsewhere)
			f.Fix = fmt.Sprintf("Set option path of the clients to %q, or that of the server.", elsewhere)
		}
	}
	return f
}

// elsewhere looks for the server in usual places.
func (p *patient) elsewhere(ctx context.Context, c *caller) string {
	for _, path := range []string{"/socket.io/", "/socket.io", "/engine.io/", "/api/socket.io/", "/ws/", "/ws", "/socket/", "/realtime/"} {
		if path == p.base.Path {
			continue
		}
		a, err := c.do(ctx, p.o.Timeout, http.MethodGet, path, query("", "polling"), nil, nil)
		if err != nil {
			return ""
		}
		if hello, err := readHandshake(a.body); err == nil {
			s := &session{c, hello.SID}
			_, _ = s.do(ctx, p.o.Timeout, http.MethodPost, path, query(hello.SID, "polling"), []byte("1"), nil)
			return path
		}
	}
	return ""
}
