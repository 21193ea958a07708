package ws

import (
	"encoding/base64"
	"iter"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/upshift-go/upshift/transports"
)

// version is the only version of the WebSocket protocol there is.
const version = "13"

// A hello is what a WebSocket handshake says in its header. Fields that are
// lists are joined if they came on several lines.
type hello struct {
	upgrade    string
	connection string
	key        string
	version    string
	extensions string
	protocols  string
}

func readHello(ex transports.Exchange) hello {
	var h hello
	for name, value := range ex.Headers() {
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Upgrade":
			join(&h.upgrade, value)
		case "Connection":
			join(&h.connection, value)
		case "Sec-Websocket-Key":
			join(&h.key, value)
		case "Sec-Websocket-Version":
			join(&h.version, value)
		case "Sec-Websocket-Extensions":
			join(&h.extensions, value)
		case "Sec-Websocket-Protocol":
			join(&h.protocols, value)
		}
	}
	return h
}

func join(list *string, value string) {
	if *list != "" {
		*list += ", "
	}
	*list += strings.TrimSpace(value)
}

// check returns what is wrong with the handshake (RFC 6455 section 4.2.1), or
// "".
func (h *hello) check(method string) string {
	switch {
	case method != http.MethodGet:
		return "A WebSocket handshake has the method GET"
	case !hasToken(h.connection, "upgrade"):
		return "The Connection header field does not name Upgrade"
	case h.version != version:
		return "Missing or unsupported Sec-WebSocket-Version header field"
	}
	if nonce, err := base64.StdEncoding.DecodeString(h.key); err != nil || len(nonce) != 16 {
		return "Missing or invalid Sec-WebSocket-Key header field"
	}
	return ""
}

// request is the handshake as gws wants to see it, which has been checked
// already.
func (h *hello) request() *http.Request {
	header := make(http.Header, 5)
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	header.Set("Sec-WebSocket-Version", version)
	header.Set("Sec-WebSocket-Key", h.key)
	return &http.Request{Method: http.MethodGet, Header: header}
}

// responseFields returns the lines that the head of the 101 gets besides
// those of gws: the subprotocol, and the fields that were set on the exchange,
// several of one name included.
func (t *transport) responseFields(h hello, set iter.Seq2[string, string]) []byte {
	var lines []byte
	if offered := tokens(h.protocols); len(offered) > 0 {
		if chosen := t.options.SelectSubprotocol(offered); slices.Contains(offered, chosen) {
			lines = appendField(lines, "Sec-WebSocket-Protocol", chosen)
		}
	}
	for name, value := range set {
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Upgrade", "Connection", "Content-Length", "Content-Type", "Transfer-Encoding",
			"Sec-Websocket-Accept", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol":
			continue // a 101 has no body, and the handshake is ours
		}
		if isToken(name) {
			lines = appendField(lines, name, value)
		}
	}
	return lines
}

// appendField appends a header line. Line ends in the value become spaces, so
// that nobody can add lines through it.
func appendField(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	for i := range len(value) {
		switch c := value[i]; c {
		case '\r', '\n', 0:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, "\r\n"...)
}

// hasToken reports whether a comma-separated list names the token, in any
// case.
func hasToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(item), token) {
			return true
		}
	}
	return false
}

// tokens returns the tokens of a comma-separated list.
func tokens(list string) []string {
	var found []string
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); isToken(item) {
			found = append(found, item)
		}
	}
	return found
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
