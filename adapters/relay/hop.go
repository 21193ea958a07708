package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/upshift-go/upshift/transports"
)

// header is the field that makes a request a relayed one: scheme and address of
// the client, and a signature. A request that has it is never passed on, so that
// there are no loops. In an answer it says what was wrong.
const header = "Upshift-Relay"

// What the field says in an answer.
const (
	notSigned = "refused" // the signature is wrong
	notHere   = "mistaken"
)

// A hop is what one server tells another of the client whose request it passes
// on.
type hop struct {
	scheme  string // "http" or "https"
	address string // of the client, as "host:port"
}

// hopOf is what is known here of a client.
func hopOf(ex transports.Exchange) hop {
	h := hop{scheme: "http", address: ex.RemoteAddr()}
	if ex.Secure() {
		h.scheme = "https"
	}
	if strings.ContainsFunc(h.address, func(c rune) bool { return c <= ' ' || c > '~' }) {
		h.address = "" // middleware has put something there that is no address
	}
	return h
}

// sign is the value of the field for a request. The signature is good for this
// method and query, and thus this session, alone: who has seen one learns no more
// by it than the session id, which is all it takes to speak for the client.
func (h hop) sign(secret, method, query string) string {
	return h.scheme + " " + h.mac(secret, method, query) + " " + h.address
}

// mac is the signature. No part but the last can contain a line end.
func (h hop) mac(secret, method, query string) string {
	m := hmac.New(sha256.New, []byte(secret))
	_, _ = m.Write([]byte(strings.Join([]string{"upshift relay 1", h.scheme, h.address, method, query}, "\n")))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// readHop returns what a field says, if it is signed with the secret for this
// request.
func readHop(field, secret, method, query string) (h hop, ok bool) {
	var mac string
	h.scheme, mac, _ = strings.Cut(field, " ")
	mac, h.address, ok = strings.Cut(mac, " ")
	if !ok || h.scheme != "http" && h.scheme != "https" || strings.Contains(method+h.address, "\n") {
		return hop{}, false
	}
	return h, hmac.Equal([]byte(mac), []byte(h.mac(secret, method, query)))
}

// A relayed exchange is one that another server has passed on, as if the client
// had come here itself.
type relayed struct {
	transports.Exchange
	hop hop
}

// RemoteAddr implements transports.Exchange.
func (r *relayed) RemoteAddr() string { return r.hop.address }

// Secure implements transports.Exchange.
func (r *relayed) Secure() bool { return r.hop.scheme == "https" }
