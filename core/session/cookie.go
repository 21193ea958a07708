package session

import (
	"fmt"
	"net/http"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// A Cookie is set on the response to a polling handshake and holds the
// session id. The server never reads it; it is there for load balancers that
// route by cookie.
type Cookie struct {
	// Name. Default "io".
	Name string
	// Path. Default "/". "-" leaves the attribute out.
	Path string
	// Domain. Default none.
	Domain string
	// MaxAge. Default 0: the cookie ends with the browser's session.
	MaxAge time.Duration
	// Secure sends the cookie over TLS only. Default false.
	Secure bool
	// Script lets scripts read the cookie. Default false: it is HttpOnly.
	Script bool
	// SameSite. Default http.SameSiteLaxMode.
	SameSite http.SameSite
}

func (c *Cookie) validate() error {
	if c == nil {
		return nil
	}
	if err := c.cookie("x").Valid(); err != nil {
		return fmt.Errorf("session: Cookie: %w", err)
	}
	return nil
}

func (c *Cookie) cookie(id string) *http.Cookie {
	cookie := &http.Cookie{ //nolint:gosec // the attributes are the user's choice, with safe defaults
		Name: c.Name, Value: id, Path: c.Path, Domain: c.Domain,
		MaxAge: int(c.MaxAge / time.Second), Secure: c.Secure, HttpOnly: !c.Script, SameSite: c.SameSite,
	}
	setDefault(&cookie.Name, "io")
	setDefault(&cookie.Path, "/")
	setDefault(&cookie.SameSite, http.SameSiteLaxMode)
	if cookie.Path == "-" {
		cookie.Path = ""
	}
	return cookie
}

func (c *Cookie) set(ex transports.Exchange, id string) {
	if c != nil {
		ex.AddHeader("Set-Cookie", c.cookie(id).String())
	}
}
