// Package doctor finds out what is wrong with a deployment of a Socket.IO server: with
// the server itself, and with what stands between it and its clients.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Options say what to look at.
type Options struct {
	// URL is that of the server: http, https, ws or wss. Its path is not looked at;
	// its query is added to that of each request.
	URL string
	// Path is where the server is mounted. Default "/socket.io/".
	Path string
	// Origin is the origin of the page whose clients connect, if CORS is of interest.
	Origin string
	// Header is added to every request.
	Header http.Header
	// Auth is the payload of the connect request for the main namespace, as JSON.
	Auth string
	// Quick leaves out what takes as long as a heartbeat.
	Quick bool
	// Timeout is how long each request may take. Default 10 seconds.
	Timeout time.Duration
	// TLS is for the connections.
	TLS *tls.Config
}

// A Severity is how bad something is.
type Severity string

// The severities. A deployment with problems does not work for some of its clients;
// one with warnings does, as long as nothing unusual happens.
const (
	OK      Severity = "ok"
	Skipped Severity = "skipped"
	Warning Severity = "warning"
	Problem Severity = "problem"
)

// A Finding is what one check has found.
type Finding struct {
	// Check is its name, for programs: "reach", "protocol", "sticky", "websocket",
	// "upgrade", "heartbeat", "payload", "cors", "compression".
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	// Says is in a sentence what was found; Why is what it was seen by, and Fix
	// what to do.
	Says string `json:"says"`
	Why  string `json:"why,omitempty"`
	Fix  string `json:"fix,omitempty"`
}

// A Report is what all checks have found, in their order.
type Report struct {
	URL      string        `json:"url"`
	Findings []Finding     `json:"findings"`
	Took     time.Duration `json:"-"`
}

// Worst is the worst that was found.
func (r *Report) Worst() Severity {
	worst := OK
	for _, f := range r.Findings {
		if f.Severity == Problem || f.Severity == Warning && worst == OK {
			worst = f.Severity
		}
	}
	return worst
}

// Run looks at a deployment. The error is about the options.
func Run(ctx context.Context, o Options) (*Report, error) {
	p, err := newPatient(o)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r := &Report{URL: p.address()}
	hello, findings := p.reach(ctx)
	r.Findings = findings
	if hello != nil {
		checks := []func(context.Context, *handshake) []Finding{
			p.sticky, p.websocket, p.upgrade, p.heartbeat, p.payload, p.cors,
		}
		found := make([][]Finding, len(checks))
		var all sync.WaitGroup
		for i, check := range checks {
			all.Go(func() { found[i] = check(ctx, hello) })
		}
		all.Wait()
		for _, f := range found {
			r.Findings = append(r.Findings, f...)
		}
	}
	for i := range r.Findings {
		why := queryIn.ReplaceAllString(r.Findings[i].Why, "")
		r.Findings[i].Why = strings.ReplaceAll(why, "\n", "; ") // of several errors
	}
	r.Took = time.Since(began)
	return r, nil
}

// A patient is the deployment that is looked at.
type patient struct {
	o    Options
	base *url.URL // http or https, with the path
}

func newPatient(o Options) (*patient, error) {
	if !strings.Contains(o.URL, "://") {
		o.URL = "https://" + o.URL
	}
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	switch base.Scheme {
	case "http", "https":
	case "ws":
		base.Scheme = "http"
	case "wss":
		base.Scheme = "https"
	default:
		return nil, fmt.Errorf("doctor: scheme %q is none of http, https, ws and wss", base.Scheme)
	}
	if base.Host == "" {
		return nil, errors.New("doctor: the URL has no host")
	}
	if o.Path == "" {
		o.Path = "/socket.io/"
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	base.Path = o.Path
	return &patient{o: o, base: base}, nil
}

// queryIn matches the queries of requests in errors. They may have secrets in them.
var queryIn = regexp.MustCompile(`\?EIO=4[^"\s]*`)

// address is where the server is, without what may be secret.
func (p *patient) address() string {
	address := *p.base
	address.User, address.RawQuery = nil, ""
	return address.String()
}

// ok is the finding that all is well.
func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Severity: OK, Says: fmt.Sprintf(format, args...)}
}
