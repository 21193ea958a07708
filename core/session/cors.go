package session

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// CORS says pages of which other origins may connect. It is for polling, which
// browsers ask for permission, and for WebSocket, which they do not: requests of
// pages that are of neither the server's own origin nor one of these are refused,
// whatever the transport. Requests without an Origin, which are not those of pages,
// are let through.
//
// Its fields are set on every response, those of refused requests and of upgrades
// included, since a browser hides an error from a page that may not read it.
type CORS struct {
	// Origins that may connect: "*" alone for all, exact origins such as
	// "https://example.com", and "https://*.example.com" for all subdomains of
	// example.com, at any depth, but not for itself. "null" is the origin of
	// pages in files and in sandboxes.
	Origins []string
	// AllowOrigin decides instead of Origins when it is set. It is called for
	// every request of a page, once or twice, and must not block.
	AllowOrigin func(origin string) bool
	// Credentials allows cookies and HTTP authentication. It cannot go
	// together with "*", which browsers refuse then.
	Credentials bool
	// Methods that a preflight allows. Default GET, HEAD, PUT, PATCH, POST,
	// DELETE.
	Methods []string
	// AllowedHeaders that a preflight allows. Default: those it asks for.
	AllowedHeaders []string
	// ExposedHeaders are response fields that scripts may read. Default
	// none.
	ExposedHeaders []string
	// MaxAge is how long a browser may keep the answer to a preflight.
	// Default 0: the browser's own rule.
	MaxAge time.Duration
	// PreflightStatus is the status of the answer to a preflight. Default
	// 204.
	PreflightStatus int
}

func (c *CORS) validate() error {
	switch {
	case c == nil:
		return nil
	case len(c.Origins) == 0 && c.AllowOrigin == nil:
		return errors.New("session: CORS allows no origin: set Origins or AllowOrigin")
	case c.any() && c.Credentials:
		return errors.New(`session: CORS: browsers refuse Credentials with the origin "*"; name the origins or set AllowOrigin`)
	case slices.Contains(c.Origins, "*") && len(c.Origins) > 1:
		return errors.New(`session: CORS: "*" stands alone in Origins`)
	}
	for _, origin := range c.Origins {
		if err := checkOrigin(origin); err != nil {
			return err
		}
	}
	return nil
}

func (c *CORS) any() bool {
	return c.AllowOrigin == nil && len(c.Origins) == 1 && c.Origins[0] == "*"
}

// Apply sets the CORS fields of a response and reports whether it has answered
// the request, which it does to a preflight. Manager.Serve calls it; it is
// exported for what is served beside sessions. A nil CORS does nothing.
func (c *CORS) Apply(ex transports.Exchange) (answered bool) {
	if c == nil {
		return false
	}
	vary := []string{"Origin"}
	switch origin := ex.Header("Origin"); {
	case c.any():
		ex.SetHeader("Access-Control-Allow-Origin", "*")
		vary = nil
	case origin != "" && c.allows(origin):
		ex.SetHeader("Access-Control-Allow-Origin", origin)
	}
	if c.Credentials {
		ex.SetHeader("Access-Control-Allow-Credentials", "true")
	}
	if len(c.ExposedHeaders) > 0 {
		ex.SetHeader("Access-Control-Expose-Headers", strings.Join(c.ExposedHeaders, ","))
	}
	preflight := ex.Method() == "OPTIONS"
	if preflight {
		methods := c.Methods
		if len(methods) == 0 {
			methods = []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"}
		}
		ex.SetHeader("Access-Control-Allow-Methods", strings.Join(methods, ","))
		headers := strings.Join(c.AllowedHeaders, ",")
		if headers == "" {
			headers = ex.Header("Access-Control-Request-Headers")
			vary = append(vary, "Access-Control-Request-Headers")
		}
		if headers != "" {
			ex.SetHeader("Access-Control-Allow-Headers", headers)
		}
		if c.MaxAge > 0 {
			ex.SetHeader("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge/time.Second)))
		}
	}
	if len(vary) > 0 {
		ex.AddHeader("Vary", strings.Join(vary, ", "))
	}
	if preflight {
		status := c.PreflightStatus
		setDefault(&status, 204)
		_ = ex.Respond(status, nil) // a client that has gone needs no answer
	}
	return preflight
}
