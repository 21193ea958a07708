package doctor

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// How many sessions are opened, and how many requests are made in each, to find out
// whether all come to the same server.
const (
	stickySessions = 3
	stickyRequests = 4
)

// sticky checks that the requests of a session come to the server that has it.
func (p *patient) sticky(ctx context.Context, _ *handshake) []Finding {
	const unknownSession = "Session ID unknown"
	for _, cookies := range []bool{false, true} {
		lost, why := 0, ""
		for range stickySessions {
			s, a, err := p.caller(cookies).open(ctx)
			if err != nil || s == nil {
				return []Finding{{
					Check: "sticky", Severity: Problem, Says: "Not every handshake succeeds.", Why: reason(a, err),
					Fix: "A server behind the balancer is down or another version: look at each of them.",
				}}
			}
			for range stickyRequests {
				a, err = s.post(ctx, "6") // it means nothing
				if err != nil || a.status != http.StatusOK {
					lost++
					why = reason(a, err)
					break
				}
			}
			s.end(ctx)
		}
		switch {
		case lost == 0 && !cookies:
			return []Finding{ok("sticky", "%d requests in %d sessions, each over a connection of its own, have come to the right server.", stickySessions*stickyRequests, stickySessions)}
		case lost == 0:
			return []Finding{{
				Check: "sticky", Severity: OK, Says: "Sessions stick to their server by a cookie.",
				Why: "It works with cookies and does not without.",
				Fix: "Clients on another origin need withCredentials: true, and CORS must allow credentials. Clients other than browsers must keep cookies.",
			}}
		case cookies && strings.Contains(why, unknownSession):
			return []Finding{{
				Check: "sticky", Severity: Problem,
				Says: "Several servers, and no sticky sessions: requests of one session come to servers that do not know it. Polling fails, and with it the connection of every client that begins with it.",
				Why:  fmt.Sprintf("%d of %d sessions were lost: %s", lost, stickySessions, why),
				Fix:  "Have the balancer send all requests of a client to one server: by a cookie, or by the query parameter sid or the address (nginx: hash $remote_addr consistent; ip_hash). Or use clients with transports: [\"websocket\"].",
			}}
		case cookies:
			return []Finding{{
				Check: "sticky", Severity: Problem, Says: "The second request of a session fails.", Why: why,
				Fix: "See the log of the server and of the proxy. POST must be allowed, and the query passed on unchanged.",
			}}
		}
	}
	return nil
}

// reason says why a request has failed.
func reason(a *answer, err error) string {
	if err != nil {
		return err.Error()
	}
	return a.text()
}
