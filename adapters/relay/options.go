package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Options say how a server reaches the others, and is reached. Secret is needed,
// and Advertise or Servers; the zero value of every other field is its default.
type Options struct {
	// Secret is what the servers of the cluster share, at least 16 bytes that
	// nobody else knows: `openssl rand -hex 32`. It signs what one server passes on
	// to another and is not sent itself. All servers must have the same.
	Secret string
	// Advertise is the URL at which the other servers reach this one, without the
	// server's Path: "http://10.0.0.3:3000". It is the address of the process, not
	// of a balancer in front. The servers tell each other through the adapter.
	// Needed unless there are Servers.
	Advertise string
	// Servers are the URLs, as Advertise has them, of all servers by their
	// core.Options.SessionTag, for clusters that do not change; its own may be among
	// them. It takes the place of Advertise, and then no server asks another.
	Servers map[string]string
	// TLS is for URLs with https. Default: that of net/http.
	TLS *tls.Config

	// MaxRelayed is how many requests and WebSockets may be under way from this
	// server to the others. What is beyond it is answered with status 503. Default
	// 10,000.
	MaxRelayed int
	// MaxIdle is how many connections to one server are kept for the next request.
	// Default 256.
	MaxIdle int
	// MaxResponse is the largest answer, in bytes, that is taken from another
	// server. An answer is held in memory until the client has it. Default 32 MiB.
	MaxResponse int64
	// DialTimeout is how long connecting to another server may take. Default 2 s.
	DialTimeout time.Duration
	// Timeout is how long another server may take to answer a request. A poll waits
	// for up to PingInterval, and a data request for as long as the session's
	// handlers are behind. Default 2 minutes.
	Timeout time.Duration
	// WriteTimeout is how long a client may take to read 4 KiB of what comes to it
	// through a tunnelled WebSocket. Default 30 s.
	WriteTimeout time.Duration

	// AskTimeout is how long the others may take to say whose a tag is that this
	// server does not know. The request waits. Default 1 s.
	AskTimeout time.Duration
	// AskRate is how many such questions there may be in a second. Requests with
	// further tags are refused, as those of no server are. Default 10.
	AskRate int
	// UnknownTime is how long a tag that nobody has is not asked about again.
	// Default 5 s.
	UnknownTime time.Duration

	// Logger takes what goes wrong, at most one record of each kind in 10 seconds.
	// Default: nothing is logged.
	Logger *slog.Logger
}

// minSecret is the shortest Secret, in bytes.
const minSecret = 16

func (o Options) withDefaults() (Options, error) {
	for _, d := range []struct {
		name  string
		value *time.Duration
		other time.Duration
	}{
		{"DialTimeout", &o.DialTimeout, 2 * time.Second},
		{"Timeout", &o.Timeout, 2 * time.Minute},
		{"WriteTimeout", &o.WriteTimeout, 30 * time.Second},
		{"AskTimeout", &o.AskTimeout, time.Second},
		{"UnknownTime", &o.UnknownTime, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.other
		}
		if *d.value < 0 {
			return o, fmt.Errorf("relay: Options.%s is negative", d.name)
		}
	}
	for _, n := range []struct {
		name  string
		value *int
		other int
	}{
		{"MaxRelayed", &o.MaxRelayed, 10_000},
		{"MaxIdle", &o.MaxIdle, 256},
		{"AskRate", &o.AskRate, 10},
	} {
		if *n.value == 0 {
			*n.value = n.other
		}
		if *n.value < 0 {
			return o, fmt.Errorf("relay: Options.%s is negative", n.name)
		}
	}
	if o.MaxResponse == 0 {
		o.MaxResponse = 32 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.MaxResponse < 0:
		return o, errors.New("relay: Options.MaxResponse is negative")
	case len(o.Secret) < minSecret:
		return o, fmt.Errorf("relay: Options.Secret is shorter than %d bytes", minSecret)
	case o.Advertise == "" && len(o.Servers) == 0:
		return o, errors.New("relay: Options.Advertise is empty, and there are no Servers")
	}
	return o, nil
}

// target is where requests for a server with this URL go.
func target(base, path string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, fmt.Errorf("relay: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("relay: %q is not a URL with http or https", base)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("relay: %q is not a URL of scheme, host and path", base)
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+path, ""
	return u, nil
}
