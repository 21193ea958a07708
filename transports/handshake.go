package transports

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"time"
)

// A Handshake is what is known of a session from the request that opened it.
// It is a copy: nothing in it belongs to an HTTP server.
type Handshake struct {
	// SessionID is the session that the request names: empty for a request
	// that opens one. It never appears in the handshake of a session.
	SessionID string
	// Header holds the request header fields.
	Header Header
	// Query holds the query parameters, those of the protocol included.
	Query Query
	// Path is the request path.
	Path string
	// RemoteAddr is the address of the TCP peer as "host:port".
	RemoteAddr string
	// Secure reports whether the request came over TLS.
	Secure bool
	// Time is when the request came.
	Time time.Time
	// Context carries values that whoever allows the handshake has found out,
	// to the contexts of the session's sockets. Only its values count. nil is
	// none.
	Context context.Context //nolint:containedctx // it is passed on, not used
}

// PeerAddress is whom a limit for each address counts a client for: the address of
// the TCP peer, without the port, and of an IPv6 address the network of 64 bits, since
// who has one has all of its addresses. It is empty if there is none. Behind a proxy it
// is the proxy's.
func (h *Handshake) PeerAddress() string {
	host, _, err := net.SplitHostPort(h.RemoteAddr)
	if err != nil {
		host = h.RemoteAddr // middleware that knows the proxy may have put an address there
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	const subscriber = 64
	network, _ := ip.Prefix(subscriber) // fails only for lengths that no address has
	return network.String()
}

// Values is Context without its end, or context.Background if it is nil.
func (h *Handshake) Values() context.Context {
	if h.Context == nil {
		return context.Background()
	}
	return context.WithoutCancel(h.Context)
}

// HandshakeOf copies what a Handshake holds from an exchange.
func HandshakeOf(ex Exchange) Handshake {
	var header strings.Builder
	for name, value := range ex.Headers() {
		appendField(&header, name, value)
	}
	query := ex.Query()
	return Handshake{
		SessionID:  query.Get("sid"),
		Header:     Header{fields: header.String()},
		Query:      query,
		Path:       ex.Path(),
		RemoteAddr: ex.RemoteAddr(),
		Secure:     ex.Secure(),
		Time:       time.Now(),
	}
}

// A Header holds the header fields of a request, compactly: a server keeps
// one for each session. It is immutable and safe for concurrent use.
type Header struct {
	fields string // "name:value\n" for each field, in the order they came
}

// NewHeader makes a Header of name, value pairs. Line ends in either, and colons
// in a name, become spaces.
func NewHeader(pairs ...string) Header {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		appendField(&b, pairs[i], pairs[i+1])
	}
	return Header{fields: b.String()}
}

// HTTP servers let no line ends through, and no colons in names. Should one do
// so, they must not become fields here.
var (
	fieldNames  = strings.NewReplacer("\r", " ", "\n", " ", ":", " ")
	fieldValues = strings.NewReplacer("\r", " ", "\n", " ")
)

// appendField writes one field.
func appendField(b *strings.Builder, name, value string) {
	b.WriteString(fieldNames.Replace(name))
	b.WriteByte(':')
	b.WriteString(fieldValues.Replace(value))
	b.WriteByte('\n')
}

// Get returns the first value of the named field, or "". The name is
// case-insensitive.
func (h Header) Get(name string) string {
	for n, v := range h.All() {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// Values returns every value of the named field.
func (h Header) Values(name string) []string {
	var values []string
	for n, v := range h.All() {
		if strings.EqualFold(n, name) {
			values = append(values, v)
		}
	}
	return values
}

// All yields the fields in the order they came, names in canonical form.
func (h Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range strings.Lines(h.fields) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			if !yield(textproto.CanonicalMIMEHeaderKey(name), value) {
				return
			}
		}
	}
}
