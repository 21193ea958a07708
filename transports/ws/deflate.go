package ws

import (
	"math/bits"
	"runtime"
	"strconv"
	"strings"

	"github.com/lxzan/gws"
)

const extension = "permessage-deflate"

// A deflate is the outcome of negotiating permessage-deflate.
type deflate struct {
	enabled        bool
	serverTakeover bool
	clientTakeover bool
}

// negotiate accepts the first offer of permessage-deflate in the
// Sec-WebSocket-Extensions field that this side can keep to (RFC 7692 section
// 7.1). An offer that would have the server use a smaller window is passed
// over, because gws cannot change its window for one connection, and so is one
// with parameters that the specification does not know.
func negotiate(extensions string, takeover bool) deflate {
	for offer := range strings.SplitSeq(extensions, ",") {
		name, parameters, _ := strings.Cut(offer, ";")
		if !strings.EqualFold(strings.TrimSpace(name), extension) {
			continue
		}
		if d, ok := acceptOffer(parameters, takeover); ok {
			return d
		}
	}
	return deflate{}
}

func acceptOffer(parameters string, takeover bool) (deflate, bool) {
	d := deflate{enabled: true, serverTakeover: takeover, clientTakeover: takeover}
	if strings.TrimSpace(parameters) == "" {
		return d, true
	}
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, valued := strings.Cut(strings.TrimSpace(parameter), "=")
		window, err := strconv.Atoi(strings.Trim(value, `"`))
		switch {
		case key == "server_no_context_takeover" && !valued:
			d.serverTakeover = false
		case key == "client_no_context_takeover" && !valued:
			d.clientTakeover = false
		case key == "server_max_window_bits" && err == nil && window == 15:
		case key == "client_max_window_bits" && !valued:
		case key == "client_max_window_bits" && err == nil && 8 <= window && window <= 15:
		default:
			return deflate{}, false
		}
	}
	return d, true
}

// offer writes what was negotiated as the offer that gws is shown; it agrees
// to it.
func (d deflate) offer() string {
	s := extension
	if !d.serverTakeover {
		s += "; server_no_context_takeover"
	}
	if !d.clientTakeover {
		s += "; client_no_context_takeover"
	}
	return s
}

// permessageDeflate configures gws. The windows are 15 bits whatever the
// client said, since a smaller one for the client may be asked for only if it
// offered that.
func (t *transport) permessageDeflate() gws.PermessageDeflate {
	c := t.options.Compression
	return gws.PermessageDeflate{
		Enabled:               c.Enabled,
		Level:                 c.Level,
		Threshold:             c.Threshold,
		PoolSize:              1 << bits.Len(uint(runtime.GOMAXPROCS(0))), // contention is low, and each holds some 100 KiB
		ServerContextTakeover: c.ContextTakeover,
		ClientContextTakeover: c.ContextTakeover,
		ServerMaxWindowBits:   15,
		ClientMaxWindowBits:   15,
	}
}
