// Package exchange is the two front doors: a request of net/http, or of
// fasthttp, as a transports.Exchange. Neither goes through an adaptor of the
// other.
package exchange

import (
	"net/http"

	"github.com/upshift-go/upshift/internal/exchange/nethttp"
	"github.com/upshift-go/upshift/transports"
)

// HTTP returns the exchange of a net/http request. See nethttp.New.
func HTTP(w http.ResponseWriter, r *http.Request) transports.Exchange { return nethttp.New(w, r) }
