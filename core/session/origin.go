package session

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ErrOrigin is behind the refusal of a request that comes from a page of an origin
// that may not connect.
var ErrOrigin = errors.New("origin not allowed")

// An asker is what a request says of where it comes from.
type asker struct {
	origin    string // the Origin field
	host      string // the Host field
	fetchSite string // the Sec-Fetch-Site field
	secure    bool   // came over TLS, as far as this process knows
}

// mayConnect reports whether a request may come from where it comes from: a page of
// the same origin, one of an origin that the CORS options name, or no page at all.
// Browsers send cookies along with a WebSocket to any site and let the page read
// what it says, so without this check any page could speak for its visitors.
func (m *Manager) mayConnect(a asker) bool {
	switch {
	case a.origin == "":
		return true // not a browser: it can say what it likes anyway
	case a.fetchSite == "same-origin":
		return true // the browser says so, and scripts cannot
	case a.sameOrigin():
		return true
	default:
		return m.options.CORS.allows(a.origin)
	}
}

// sameOrigin compares the origin with the host that was asked. The scheme of a
// request that has come without TLS is not known: a proxy may have ended it.
func (a *asker) sameOrigin() bool {
	scheme, host, ok := strings.Cut(strings.ToLower(a.origin), "://")
	if !ok || a.secure && scheme != "https" {
		return false
	}
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	asked := strings.ToLower(a.host)
	return host != "" && strings.TrimSuffix(host, port) == strings.TrimSuffix(asked, port)
}

// allows reports whether pages of an origin may connect. A nil CORS allows none.
func (c *CORS) allows(origin string) bool {
	switch {
	case c == nil:
		return false
	case c.AllowOrigin != nil:
		return c.AllowOrigin(origin)
	case c.any():
		return true
	}
	origin = strings.ToLower(origin)
	for _, pattern := range c.Origins {
		if matchOrigin(strings.ToLower(pattern), origin) {
			return true
		}
	}
	return false
}

// matchOrigin compares an origin with a pattern, both in lower case.
func matchOrigin(pattern, origin string) bool {
	scheme, domain, wild := strings.Cut(pattern, "://*.")
	if !wild {
		return origin == pattern
	}
	name, ok := strings.CutPrefix(origin, scheme+"://")
	if !ok {
		return false
	}
	name, ok = strings.CutSuffix(name, "."+domain)
	return ok && name != "" && !strings.ContainsAny(name, "/:@")
}

// checkOrigin reports what is wrong with a pattern that can never match.
func checkOrigin(pattern string) error {
	if pattern == "*" || pattern == "null" {
		return nil
	}
	u, err := url.Parse(strings.Replace(pattern, "://*.", "://", 1))
	if err != nil || u.Scheme == "" || u.Host == "" && u.Scheme != "file" || u.Path != "" || u.RawQuery != "" || u.User != nil ||
		strings.Contains(u.Host, "*") {
		return fmt.Errorf(`session: CORS: %q is no origin: it has to be as in "https://example.com" or "https://*.example.com"`, pattern)
	}
	return nil
}
