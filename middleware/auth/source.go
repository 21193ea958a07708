package auth

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/upshift-go/upshift/core"
)

// A Source is a place where a client's token can be. It returns "" if there is
// none, and an error if there is something else in its place.
type Source func(s *core.Socket) (token string, err error)

// Payload is the named field of the connect payload: of the "auth" option of
// official clients.
func Payload(field string) Source {
	return func(s *core.Socket) (string, error) {
		var payload map[string]any
		if err := s.Auth(&payload); err != nil {
			return "", fmt.Errorf("%w: connect payload: %w", ErrInvalid, err)
		}
		value, ok := payload[field]
		if !ok || value == nil {
			return "", nil
		}
		token, ok := value.(string)
		if !ok {
			return "", fmt.Errorf("%w: %q of the connect payload is no string", ErrInvalid, field)
		}
		return token, nil
	}
}

// Bearer is the Authorization header of the handshake, with the scheme Bearer.
// Browsers cannot set it for WebSocket. A header with another scheme counts as
// none, and two of them as an attempt to confuse.
func Bearer() Source {
	return func(s *core.Socket) (string, error) {
		fields := s.Handshake().Header.Values("Authorization")
		switch len(fields) {
		case 0:
			return "", nil
		case 1:
		default:
			return "", fmt.Errorf("%w: %d Authorization headers", ErrInvalid, len(fields))
		}
		scheme, token, _ := strings.Cut(strings.TrimSpace(fields[0]), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", nil
		}
		return strings.TrimSpace(token), nil
	}
}

// Cookie is the named cookie of the handshake, the first if there are several.
// Browsers send it for pages of other sites, too: those that core.Options.CORS
// names connect with it, any other is refused.
func Cookie(name string) Source {
	return func(s *core.Socket) (string, error) {
		for _, field := range s.Handshake().Header.Values("Cookie") {
			cookies, err := http.ParseCookie(field)
			if err != nil {
				continue // others may be readable
			}
			for _, c := range cookies {
				if c.Name == name {
					return c.Value, nil
				}
			}
		}
		return "", nil
	}
}

// Query is the named parameter of the handshake's query, the last if there are
// several. Proxies log it: use it only where nothing else can be had.
func Query(name string) Source {
	return func(s *core.Socket) (string, error) { return s.Handshake().Query.Get(name), nil }
}

// find returns the token of a socket, from the first of the sources that has
// one. A bad token is not made good by another one further on.
func (g *Guard) find(s *core.Socket) (token string, err error) {
	for _, source := range g.options.Sources {
		if token, err = source(s); err != nil || token != "" {
			break
		}
	}
	return token, err
}
